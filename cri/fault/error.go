package fault

import (
	"fmt"
	"strconv"
	"strings"
)

// InvalidError is a request that cannot be carried out whatever the state of
// the node: it maps to InvalidArgument.
type InvalidError struct {
	Field   string // path of the field as in the API: "linux.security_context.run_as_group"
	Problem string
}

// Error names the field and the problem.
func (e *InvalidError) Error() string { return e.Field + ": " + e.Problem }

// NotFoundError is an id or a name that nothing here has.
type NotFoundError struct {
	Kind string // "pod", "container", "image", "runtime handler"
	ID   string
}

// Error names the object. What was asked for may be any text.
func (e *NotFoundError) Error() string {
	id := e.ID
	if len(id) > maxShown || strings.ContainsFunc(id, func(r rune) bool { return !strconv.IsPrint(r) }) {
		id = fmt.Sprintf("%.*q", maxShown, id)
	}
	return e.Kind + " " + id + " not found"
}

// maxShown is how much of a name that does not exist a message shows.
const maxShown = 256

// PreconditionError is a request that the state of another object forbids.
type PreconditionError struct {
	Object  string
	Problem string
}

// Error names the object and the problem.
func (e *PreconditionError) Error() string { return e.Object + ": " + e.Problem }

// UnimplementedError is a part of the CRI that varve does not have yet. Prefix
// is a word that the kubelet looks for at the start of the message, or empty.
type UnimplementedError struct {
	Prefix string
	What   string
}

// Error says what is not there.
func (e *UnimplementedError) Error() string {
	if e.Prefix == "" {
		return e.What + " not implemented"
	}
	return e.Prefix + ": " + e.What + " not implemented"
}

// VolumeError is an image volume that cannot be mounted. The kubelet looks for
// that at the start of the message; the code is that of the cause.
type VolumeError struct {
	Field string // "config.mounts[1].image"
	Err   error
}

// Error names the field and the cause; Message puts the kubelet's word before it.
func (e *VolumeError) Error() string { return e.Field + ": " + e.Err.Error() }

// Unwrap gives the cause.
func (e *VolumeError) Unwrap() error { return e.Err }

// Invalid makes an InvalidError.
func Invalid(field, format string, args ...any) error {
	return &InvalidError{Field: field, Problem: fmt.Sprintf(format, args...)}
}
