package unpack

import (
	"errors"
	"fmt"
)

// Limits bound what one layer may make.
type Limits struct {
	Bytes   int64 // of all files, holes included
	Entries int64 // of the archive, and directories that no entry describes
}

// ErrLimit is for archives that hold more than is allowed; a LimitError is one.
var ErrLimit = errors.New("the layer holds more than is allowed")

// LimitError says which of the Limits an archive goes beyond.
type LimitError struct {
	What string // "bytes" or "entries"
	Most int64
}

// Error gives the limit.
func (e *LimitError) Error() string {
	return fmt.Sprintf("more than %d %s: %v", e.Most, e.What, ErrLimit)
}

// Unwrap gives ErrLimit.
func (e *LimitError) Unwrap() error { return ErrLimit }

// TooManyBytes is the error of an archive with more bytes than the limit.
func (l Limits) TooManyBytes() error { return &LimitError{"bytes", l.Bytes} }

// TooManyEntries is the error of an archive with more entries than the limit.
func (l Limits) TooManyEntries() error { return &LimitError{"entries", l.Entries} }
