package step

import "strings"

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
	b.WriteString(e.Op.Verb)
	if e.Op.Object != "" {
		b.WriteByte(' ')
		b.WriteString(e.Op.Object)
	}
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

// Unwrap returns the cause. The undo errors are not part of the chain, so
// that a deadline in the undoing is not taken for the reason of the failure.
func (e *Error) Unwrap() error { return e.Err }

// Error says "step: cause".
func (u UndoError) Error() string { return u.Step + ": " + u.Err.Error() }

// Unwrap returns the cause.
func (u UndoError) Unwrap() error { return u.Err }
