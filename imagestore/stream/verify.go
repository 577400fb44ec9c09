package stream

import (
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/opencontainers/go-digest"
)

// ErrMismatch is for bytes that are not what their digest or size says.
var ErrMismatch = errors.New("content mismatch")

// ErrBlob is the ErrMismatch of a blob as it came: another registry may have the
// right one.
var ErrBlob = fmt.Errorf("%w", ErrMismatch)

// ErrTooLarge is for a stream that goes on beyond its limit.
var ErrTooLarge = errors.New("too large")

// Verifier passes bytes on and, at their end, compares size and digest: io.EOF is
// given only for content that is what it should be.
type Verifier struct {
	r    io.Reader
	what string
	want digest.Digest
	size int64 // -1 when it is not known
	n    int64
	hash hash.Hash
	err  error
	miss error // what a mismatch is
}

// NewVerifier verifies r against want, which must be valid, and size, which is
// ignored when negative.
func NewVerifier(r io.Reader, what string, want digest.Digest, size int64) *Verifier {
	return &Verifier{r: r, what: what, want: want, size: size, hash: want.Algorithm().Hash(), miss: ErrMismatch}
}

// Read implements io.Reader.
func (v *Verifier) Read(p []byte) (int, error) {
	if v.err != nil {
		return 0, v.err
	}
	n, err := v.r.Read(p)
	v.err = v.see(p[:n], err)
	return n, v.err
}

// see takes in the next bytes and the error that came with them, and gives the
// error that the reader is to see.
func (v *Verifier) see(p []byte, err error) error {
	v.n += int64(len(p))
	_, _ = v.hash.Write(p)
	switch {
	case v.size >= 0 && v.n > v.size:
		return fmt.Errorf("%s: more than its %d bytes: %w", v.what, v.size, v.miss)
	case err == io.EOF:
		return v.verdict()
	}
	return err
}

func (v *Verifier) verdict() error {
	if v.size >= 0 && v.n != v.size {
		return fmt.Errorf("%s: %d bytes, not %d: %w", v.what, v.n, v.size, v.miss)
	}
	if got := digest.NewDigest(v.want.Algorithm(), v.hash); got != v.want {
		return fmt.Errorf("%s: digest is %s, not %s: %w", v.what, got, v.want, v.miss)
	}
	return io.EOF
}

// Limit gives the first most bytes of r, and ErrTooLarge when there are more.
func Limit(r io.Reader, what string, most int64) io.Reader {
	return &limited{r: r, what: what, most: most, left: most}
}

type limited struct {
	r          io.Reader
	what       string
	most, left int64
}

func (l *limited) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	if l.left -= int64(n); l.left < 0 {
		return 0, fmt.Errorf("%s: more than %d bytes: %w", l.what, l.most, ErrTooLarge)
	}
	return n, err
}
