package proto

import (
	"errors"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/runtime/container"
)

// Code sorts failures by what the asker may do about them.
type Code uint32

// The codes.
const (
	CodeStep        Code = 1 + iota // a step failed: Step, Object, Errno, Detail
	CodeInvalid                     // the arguments make no sense
	CodeState                       // not now: the container has not started, or has exited
	CodeNotFound                    // no exec or attachment of that name
	CodeUnsupported                 // the verb is not known
)

// Failure is the body of every answer of kind Failed.
type Failure struct {
	Code         Code
	Step, Object string
	Errno        uint32
	Detail       string
}

func (f *Failure) code(c coder) {
	n := uint32(f.Code)
	u32(c, &n)
	f.Code = Code(n)
	c.text(&f.Step, maxName)
	c.text(&f.Object, maxPath)
	u32(c, &f.Errno)
	c.text(&f.Detail, maxDetail)
}

// Error returns the failure in words.
func (f *Failure) Error() string {
	if f.Code == CodeStep {
		return f.StepError().Error()
	}
	return f.Detail
}

// StepError is the failure as the runtime's own error.
func (f *Failure) StepError() *container.StepError {
	return &container.StepError{Step: f.Step, Object: f.Object, Errno: unix.Errno(f.Errno), Detail: f.Detail}
}

// Fail makes a failure of err: a *Failure is itself, a *StepError keeps its
// parts, and anything else becomes the cause of the given step.
func Fail(step, object string, err error) *Failure {
	var f *Failure
	if errors.As(err, &f) {
		return f
	}
	var s *container.StepError
	if errors.As(err, &s) {
		return &Failure{Code: CodeStep, Step: s.Step, Object: s.Object, Errno: uint32(s.Errno), Detail: s.Detail}
	}
	var e unix.Errno
	if errors.As(err, &e) {
		return &Failure{Code: CodeStep, Step: step, Object: object, Errno: uint32(e)}
	}
	return &Failure{Code: CodeStep, Step: step, Object: object, Detail: err.Error()}
}

// Refuse makes a failure that is not a step's.
func Refuse(code Code, detail string) *Failure { return &Failure{Code: code, Detail: detail} }
