package container

import (
	"errors"

	"golang.org/x/sys/unix"
)

// ErrNotFound matches (errors.Is) the StepError of a command that does not
// exist in the container: exit code 127 by the shells' custom.
var ErrNotFound = errors.New("command not found")

// ErrNotExecutable matches the StepError of a command that exists and cannot
// be run: exit code 126.
var ErrNotExecutable = errors.New("command not executable")

// The steps whose failure is the command's own fault.
const (
	StepFind    = "find command" // PATH lookup in the container's root
	StepExecute = "execute"      // execve itself
)

// StepError says which step of a start failed, on which object and why. It is
// the only error type of Start and Exec.
type StepError struct {
	Step, Object string
	Errno        unix.Errno // 0 when Detail alone says it
	Detail       string     // more than the errno can say; may be empty
}

// Error returns "step object: cause".
func (e *StepError) Error() string {
	s := e.Step
	if e.Object != "" {
		s += " " + e.Object
	}
	switch {
	case e.Detail != "" && e.Errno != 0:
		return s + ": " + e.Detail + ": " + e.Errno.Error()
	case e.Detail != "":
		return s + ": " + e.Detail
	}
	return s + ": " + e.Errno.Error()
}

// Unwrap gives the errno, so that errors.Is(err, unix.ENOENT) works.
func (e *StepError) Unwrap() error {
	if e.Errno == 0 {
		return nil
	}
	return e.Errno
}

// Is matches ErrNotFound and ErrNotExecutable.
func (e *StepError) Is(target error) bool {
	if e.Step != StepFind && e.Step != StepExecute {
		return false
	}
	switch target {
	case ErrNotFound:
		return e.Errno == unix.ENOENT || e.Errno == unix.ENOTDIR
	case ErrNotExecutable:
		return e.Errno != unix.ENOENT && e.Errno != unix.ENOTDIR
	}
	return false
}

// ExitCode is the code that a container or an exec whose start failed with e
// is said to have had: 127, 126, or 128 for every other step.
func (e *StepError) ExitCode() int32 {
	switch {
	case errors.Is(e, ErrNotFound):
		return 127
	case errors.Is(e, ErrNotExecutable):
		return 126
	}
	return 128
}
