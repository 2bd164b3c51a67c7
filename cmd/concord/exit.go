package main

// exitError ends the program with a code of its own; err may be nil when everything worth saying is already printed.
type exitError struct {
	code int
	err  error
}

// Error gives the cause, empty when there is nothing to print.
func (e exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

// Unwrap gives the cause.
func (e exitError) Unwrap() error { return e.err }

// ExitCode is the code that the process ends with.
func (e exitError) ExitCode() int { return e.code }
