// Package fault is the vocabulary of what can go wrong while an image is
// pulled. It decides nothing: the packages that do the work name the kind and
// the step, and the CRI server maps the kind to a gRPC code in one place.
package fault

import (
	"context"
	"errors"
	"strings"

	"golang.org/x/sys/unix"
)

// Kind says what a caller may do about an error.
type Kind string

// The kinds of pull errors.
const (
	Unauthorized Kind = "unauthorized" // 401, 403, or no token
	NotFound     Kind = "not found"    // the registry has no such manifest or blob
	RateLimited  Kind = "rate limited" // 429 for longer than we wait
	Unavailable  Kind = "unavailable"  // the registry is down, slow or broken
	Digest       Kind = "digest"       // bytes that are not what their digest says
	Invalid      Kind = "invalid"      // a reference, manifest, config or layer that is malformed
	Platform     Kind = "platform"     // no manifest for this node's platform
	Artifact     Kind = "artifact"     // something else than an image, such as a chart or a signature
	NoSpace      Kind = "no space"     // the store's file system is full
	Canceled     Kind = "canceled"     // the caller went away or its deadline passed
	Internal     Kind = "internal"     // the store's own disk or database
)

// Error is one failed pull: what was asked for, from whom, in which step.
type Error struct {
	Kind Kind
	Ref  string // the reference as it was asked for
	Host string // the registry or mirror, when one was involved
	Step string // such as "fetch manifest" or "unpack layer sha256:…"
	Err  error
}

// Error gives "pull REF: STEP from HOST: cause".
func (e *Error) Error() string {
	var b strings.Builder
	if e.Ref != "" {
		b.WriteString("pull " + e.Ref + ": ")
	}
	b.WriteString(e.Step)
	if e.Host != "" {
		b.WriteString(" from " + e.Host)
	}
	b.WriteString(": ")
	if e.Kind == NoSpace {
		b.WriteString("no space left in the image store: ")
	}
	b.WriteString(e.Err.Error())
	return b.String()
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// New makes an Error of a known kind.
func New(kind Kind, step string, err error) *Error {
	return &Error{Kind: kind, Step: step, Err: err}
}

// Wrap names the step of err. An error that already is an *Error keeps its
// kind, host and step; otherwise the kind is read from the cause (a full disk,
// a cancelled context) and is fallback when the cause does not tell.
func Wrap(fallback Kind, step string, err error) *Error {
	if known := (*Error)(nil); errors.As(err, &known) {
		return known
	}
	return New(kindOf(err, fallback), step, err)
}

// WrapOrNil is Wrap that leaves no error alone.
func WrapOrNil(fallback Kind, step string, err error) error {
	if err == nil {
		return nil
	}
	return Wrap(fallback, step, err)
}

// KindOf gives the kind of err, or Internal when err is no pull error.
func KindOf(err error) Kind {
	if known := (*Error)(nil); errors.As(err, &known) {
		return known.Kind
	}
	return kindOf(err, Internal)
}

func kindOf(err error, fallback Kind) Kind {
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return NoSpace
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return Canceled
	}
	return fallback
}
