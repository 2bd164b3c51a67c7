package pgretry

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// settle finds out what became of a COMMIT that failed. The zero failure means that it took effect.
func (c *call) settle(ctx context.Context, m *marker, f failure) failure {
	switch {
	case c.policy.classify(StageCommit, f.Err) != unknown:
		if m != nil && refusesMarker(f.Err) {
			c.runner.markers.entry(c.id).refuse(c.laneName())
			f.Err = fmt.Errorf("%w: %w", errMarker, f.Err)
		}
		return f
	case c.policy.AccessMode == pgx.ReadOnly && !c.rec.notifies:
		f.Err = fmt.Errorf("%w: %w", errVoid, f.Err)
		return f
	case m == nil:
		return f
	}
	committed, err := c.resolve(ctx, m)
	switch {
	case err != nil:
		f.Err = fmt.Errorf("%w (finding out: %w)", f.Err, err)
	case committed:
		return failure{}
	default:
		f.Err = fmt.Errorf("%w: %w", errVoid, f.Err)
	}
	return f
}

// refusesMarker tells that err is about the marker: its table was dropped, a right was revoked, or the closure has switched
// to a role without rights on it or to READ ONLY.
func refusesMarker(err error) bool {
	switch sqlstateOf(err) {
	case undefinedTable, undefinedColumn, insufficientPrivilege, readOnlyTransaction:
		return true
	}
	return false
}

// resolve finds out whether the attempt committed, for as long as the policy lets it.
func (c *call) resolve(ctx context.Context, m *marker) (committed bool, err error) {
	c.dropLease()
	ctx, cancel := c.patient(ctx)
	defer cancel()
	if c.policy.MaxElapsed > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, max(0, time.Until(c.deadline()))+c.policy.Grace)
		defer stop()
	}
	db, release, err := reconnectable(ctx, base(c.db))
	if err != nil {
		return false, err
	}
	defer release()
	for n := 1; ; n++ {
		committed, err = m.outcome(ctx, db)
		if err == nil || !c.mayResolveAgain(err) {
			return committed, err
		}
		if err := sleep(ctx, c.policy.wait(n, true)); err != nil {
			return false, err
		}
	}
}

func (c *call) mayResolveAgain(err error) bool {
	return c.policy.classify(StageBegin, err) != fatal || isConnectionLoss(err)
}

// reconnectable returns a DB that can open a further connection.
func reconnectable(ctx context.Context, db DB) (DB, func(), error) {
	conn := single(db)
	if conn == nil {
		return db, func() {}, nil
	}
	again, err := pgx.ConnectConfig(ctx, conn.Config())
	if err != nil {
		return nil, nil, err
	}
	return again, func() { _ = again.Close(context.WithoutCancel(ctx)) }, nil
}

var (
	// errVoid is the fate of an attempt whose COMMIT was lost and did not take effect.
	errVoid = errors.New("the connection was lost during COMMIT and the transaction rolled back")
	// errMarker says that the marker could not be written, so that the transaction rolled back.
	errMarker = errors.New("write commit marker")
)
