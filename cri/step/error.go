package step

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Error is how an operation failed: which, in which step, why, and what could
// not be undone.
type Error struct {
	Op   Op
	Step string
	Err  error
	Undo []UndoError
}

// UndoError is one undo step that failed.
type UndoError struct {
	Step string
	Err  error
}

// Error says "verb object: step: cause", then what could not be undone.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op.String())
	b.WriteString(": ")
	b.WriteString(e.Step)
	b.WriteString(": ")
	b.WriteString(e.Err.Error())
	for _, u := range e.Undo {
		b.WriteString("; not undone: ")
		b.WriteString(u.Error())
	}
	return b.String()
}

// String is "verb object".
func (o Op) String() string {
	if o.Object == "" {
		return o.Verb
	}
	return o.Verb + " " + o.Object
}

// Unwrap returns the cause. The undo errors are not part of the chain, so
// that a deadline in the undoing is not taken for the reason of the failure.
func (e *Error) Unwrap() error { return e.Err }

// Error says "step: cause".
func (u UndoError) Error() string { return u.Step + ": " + u.Err.Error() }

// Unwrap returns the cause.
func (u UndoError) Unwrap() error { return u.Err }

// StuckError is the end of somebody's patience with a step: of the request's
// deadline, or of its client.
type StuckError struct {
	Detail string        // what the step waited for; may be empty
	For    time.Duration // how long the step had run
	Err    error         // why it was given up
}

// Error says "[detail: ]still running after 1.998s: cause".
func (e *StuckError) Error() string {
	text := fmt.Sprintf("still running after %v: %v", round(e.For), e.Err)
	if e.Detail != "" {
		text = e.Detail + ": " + text
	}
	return text
}

// Unwrap returns the cause.
func (e *StuckError) Unwrap() error { return e.Err }

// stuck adds to the error of a step that ended because its context had how long
// that took, which is what the reader wants to know of a timeout.
func (o *liveOp) stuck(err error, took time.Duration) error {
	var told *StuckError
	if errors.As(err, &told) || !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	// The detail is not repeated: the step's own error says it.
	return &StuckError{For: took, Err: err}
}

// lateError is the end of an operation between two of its steps.
type lateError struct {
	after time.Duration
	err   error
}

func (e *lateError) Error() string {
	return fmt.Sprintf("not begun, the steps before took %v: %v", round(e.after), e.err)
}

func (e *lateError) Unwrap() error { return e.err }

// round leaves as many digits of a duration as people want to read.
func round(d time.Duration) time.Duration {
	switch {
	case d < time.Millisecond:
		return d.Round(time.Microsecond)
	case d < time.Minute:
		return d.Round(time.Millisecond)
	default:
		return d.Round(time.Second)
	}
}
