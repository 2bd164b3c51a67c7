package concord

import (
	"errors"
	"fmt"
)

// Code says what kind of failure an [Error] is, for whoever has to turn it
// into a status, a body or an exit code.
type Code string

// The codes that cross package borders.
const (
	CodeInternal     Code = "internal"     // a defect or an unforeseen failure
	CodeInvalid      Code = "invalid"      // the input is wrong; trying again will not help
	CodeNotFound     Code = "not_found"    // the thing does not exist, or the caller may not know of it
	CodeUnauthorized Code = "unauthorized" // no valid session or token
	CodeForbidden    Code = "forbidden"    // known, but not allowed
	CodeConflict     Code = "conflict"     // a database conflict outlived every retry
	CodeUnavailable  Code = "unavailable"  // the home or the database cannot be reached now
	CodeTooMany      Code = "too_many"     // a limit on the rate of attempts was reached
	CodeTimeout      Code = "timeout"      // no answer in time
)

// Error is a failure with a code for the program, a message that may be shown
// to the person who asked, and the cause for the log.
type Error struct {
	Code    Code
	Message string // one sentence; never contains a secret, SQL or an address
	Err     error  // may be nil
}

// Error gives the message and the cause, for the log.
func (e *Error) Error() string {
	if e.Err == nil {
		return e.Message
	}
	return e.Message + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Errorf makes an [Error] without a cause.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// ErrorCode returns the code of the first [Error] in err's chain,
// [CodeInternal] for any other error, and "" for nil.
func ErrorCode(err error) Code {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return CodeInternal
}

// ErrorMessage returns what may be shown to the person who asked: the message
// of the first [Error] in err's chain, and "Unexpected error" for any other.
func ErrorMessage(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Message
	}
	return "Unexpected error"
}
