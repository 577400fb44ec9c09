package shim

import (
	"errors"
	"time"
)

// Exit is how a container ended.
type Exit struct {
	Code   int32 // the exit code; 128 + Signal when a signal killed it
	Signal int32
	At     time.Time
	OOM    bool // the kernel killed a process of the container for memory while it ran
}

// ReadExit reads the exit record in a container's directory. The error is
// ErrNoRecord when there is none.
func ReadExit(dir string) (Exit, error) { return Exit{}, errors.ErrUnsupported }
