package shim

import "errors"

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
	// daemon, does not know the request.
	ErrUnsupported = errors.New("not supported by this shim")
	// ErrInvalid says that the shim refused the request's arguments.
	ErrInvalid = errors.New("invalid request")
	// ErrNoRecord says that a directory has no exit record.
	ErrNoRecord = errors.New("no exit record")
	// ErrClosed says that this client was closed by its owner.
	ErrClosed = errors.New("client is closed")
)
