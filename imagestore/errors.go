package imagestore

import (
	"errors"

	"github.com/varve-cri/varve/imagestore/fault"
)

// ErrNotFound is for an image or a read-write layer that the store does not have.
var ErrNotFound = errors.New("not found")

// ErrInUse is for a read-write layer id that already belongs to another image.
var ErrInUse = errors.New("in use")

// ErrSubPath is for a path in an image at which there is neither a directory nor a
// regular file.
var ErrSubPath = errors.New("no directory or file there")

// PullError is one failed pull: kind, reference, host, step and cause.
type PullError = fault.Error

// Kind says what a caller may do about a PullError.
type Kind = fault.Kind

// The kinds of pull errors.
const (
	Unauthorized = fault.Unauthorized
	NotFound     = fault.NotFound
	RateLimited  = fault.RateLimited
	Unavailable  = fault.Unavailable
	Digest       = fault.Digest
	Invalid      = fault.Invalid
	Platform     = fault.Platform
	Artifact     = fault.Artifact
	NoSpace      = fault.NoSpace
	Canceled     = fault.Canceled
	Internal     = fault.Internal
)
