package pgretry

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// SQLSTATEs that decide.
const (
	serializationFailure  = "40001"
	deadlockDetected      = "40P01"
	lockNotAvailable      = "55P03"
	readOnlyTransaction   = "25006"
	idleInTransaction     = "25P03"
	idleSession           = "57P05"
	queryCanceled         = "57014"
	inFailedTransaction   = "25P02"
	featureNotSupported   = "0A000"
	tooManyConnections    = "53300"
	adminShutdown         = "57P01"
	crashShutdown         = "57P02"
	cannotConnectNow      = "57P03"
	undefinedTable        = "42P01"
	undefinedColumn       = "42703"
	insufficientPrivilege = "42501"
	nameTooLong           = "42622"
	protocolViolation     = "08P01"
	completionUnknown     = "40003"
	connectionExceptions  = "08" // a class
)

// What else the server says, in words and letters of the protocol.
const (
	severityError         = "ERROR"
	severityFatal         = "FATAL"
	severityPanic         = "PANIC"
	transactionStatusIdle = 'I'
	transactionStatusFail = 'E'
)

// verdict is what to do about a failed attempt.
type verdict int

const (
	fatal    verdict = iota // give up
	conflict                // run again after a backoff
	optional                // run again, a few times
	broken                  // run again on a new connection
	slow                    // the server has no room: run again after a slow backoff
	readOnly                // not the primary: reconnect, then run again after a slow backoff
	unknown                 // COMMIT was sent and its answer is lost: find out first
)

// classify judges the error that aborted an attempt.
func (p *Policy) classify(stage Stage, err error) verdict {
	switch {
	case err == errStorm:
		return conflict
	case errors.Is(err, errVoid), errors.Is(err, errMarker):
		return broken
	}
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok {
		return p.classifyServer(stage, pgErr)
	}
	switch {
	case stage == StageCommit && errors.Is(err, pgx.ErrTxCommitRollback):
		return fatal
	case stage == StageCommit:
		return unknown
	case stage == StageClosure && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)):
		return fatal // a context of the closure's own: it would end again
	case (stage == StageBegin || stage == StageQueue) && isConnectError(err):
		return slow
	case isConnectionLoss(err):
		return broken
	}
	return fatal
}

func (p *Policy) classifyServer(stage Stage, err *pgconn.PgError) verdict {
	if stage == StageCommit && leavesOpen(err) {
		return unknown
	}
	switch err.Code {
	case serializationFailure, deadlockDetected:
		return conflict
	case lockNotAvailable:
		return optional
	case readOnlyTransaction:
		return p.ifReadWrite(readOnly)
	case featureNotSupported:
		// A standby refuses BEGIN READ WRITE and BEGIN ISOLATION LEVEL SERIALIZABLE with this code.
		if stage == StageBegin {
			return p.ifReadWrite(readOnly)
		}
		return fatal
	case idleInTransaction, idleSession, adminShutdown, crashShutdown:
		return broken
	case queryCanceled:
		// In the queue somebody has cancelled the wait for the lock across processes.
		if stage == StageQueue {
			return optional
		}
	case tooManyConnections, cannotConnectNow:
		return slow
	}
	switch {
	case slices.Contains(p.RetryOn, err.Code):
		return optional
	case isConnectionException(err) && !isMisuse(err):
		return broken
	}
	return fatal
}

// isMisuse tells of a statement that did not fit the protocol, such as one with too few arguments. PgBouncer, which sends
// no unlocalized severity, ends connections with the same code.
func isMisuse(err *pgconn.PgError) bool {
	return err.Code == protocolViolation && err.SeverityUnlocalized == severityError
}

func (p *Policy) ifReadWrite(v verdict) verdict {
	if p.AccessMode == pgx.ReadOnly {
		return fatal
	}
	return v
}

// leavesOpen tells that an error of COMMIT does not say whether the transaction committed.
func leavesOpen(err *pgconn.PgError) bool {
	return endsConnection(err) || isConnectionException(err) || err.Code == completionUnknown
}

func isConnectionException(err *pgconn.PgError) bool {
	return strings.HasPrefix(err.Code, connectionExceptions)
}

func endsConnection(err *pgconn.PgError) bool {
	severity := err.SeverityUnlocalized
	if severity == "" {
		severity = err.Severity
	}
	return severity == severityFatal || severity == severityPanic
}

func isConnectError(err error) bool {
	_, ok := errors.AsType[*pgconn.ConnectError](err)
	return ok && isConnectionLoss(err)
}

// isConnectionLoss tells that the network or the server's process failed, before anything was committed.
// [pgconn.SafeToRetry] is right here, and wrong once COMMIT was sent.
func isConnectionLoss(err error) bool {
	_, network := errors.AsType[net.Error](err)
	return network || pgconn.SafeToRetry(err) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}
