package shim

import (
	"errors"
	"fmt"

	"github.com/varve-cri/varve/shim/proto"
)

var (
	// ErrGone says that no shim holds the container's directory: it was killed,
	// or has never been, or is done (then ReadExit has the record).
	ErrGone = errors.New("no shim holds the directory")
	// ErrExited says that the container has exited, so that there is nothing
	// to signal, exec in or attach to.
	ErrExited = errors.New("container has exited")
	// ErrNotFound says that the shim knows no exec or attachment of that name.
	ErrNotFound = errors.New("not found")
	// ErrUnsupported says that the shim, which may be older or newer than the
	// daemon, does not know the request or speaks another protocol.
	ErrUnsupported = errors.New("not supported by this shim")
	// ErrSlow says that an attached reader fell too far behind and was let go.
	ErrSlow = errors.New(proto.ReasonSlow)
	// ErrInvalid says that the shim refused the request's arguments.
	ErrInvalid = errors.New("invalid request")
	// ErrNoRecord says that a directory has no exit record.
	ErrNoRecord = errors.New("no exit record")
	// ErrDisconnected says that the shim lives and has cut the connection off.
	// Dial again.
	ErrDisconnected = errors.New("shim has closed the connection")
	// ErrClosed says that this client was closed by its owner.
	ErrClosed = errors.New("client is closed")
)

// asError turns a shim's refusal into the errors of this package, and a failed
// step into a *container.StepError.
func asError(f *proto.Failure) error {
	kind := ErrInvalid
	switch f.Code {
	case proto.CodeStep:
		return f.StepError()
	case proto.CodeState:
		kind = ErrExited
	case proto.CodeNotFound:
		kind = ErrNotFound
	case proto.CodeUnsupported:
		kind = ErrUnsupported
	}
	return fmt.Errorf("%w: %s", kind, f.Detail)
}
