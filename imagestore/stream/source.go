package stream

import (
	"bytes"
	"io"

	"github.com/varve-cri/varve/imagestore/gunzip"
)

// source is a stream whose first bytes can be looked at, and whose bytes can be
// had without copying them.
type source struct {
	next func() ([]byte, error)
	have []byte // that were not asked for yet
	err  error  // that comes behind them
}

func newSource(r io.Reader) *source {
	if a, ok := r.(gunzip.Source); ok {
		return &source{next: a.Next}
	}
	buf := make([]byte, 64<<10)
	var after error
	return &source{next: func() ([]byte, error) {
		if after != nil {
			return nil, after
		}
		n, err := readMost(r, buf)
		if after = err; n > 0 {
			return buf[:n], nil
		}
		return nil, err
	}}
}

// peek gives the first n bytes; fewer only with the error that came instead.
func (s *source) peek(n int) ([]byte, error) {
	for len(s.have) < n && s.err == nil {
		var b []byte
		b, s.err = s.next()
		// The next piece may take the place of the last: keep what is short.
		if len(s.have) > 0 || len(b) < n {
			b = append(bytes.Clone(s.have), b...)
		}
		s.have = b
	}
	if len(s.have) < n {
		return s.have, s.err
	}
	return s.have[:n], nil
}

// Next implements gunzip.Source.
func (s *source) Next() ([]byte, error) {
	if len(s.have) == 0 && s.err == nil {
		s.have, s.err = s.next()
	}
	b := s.have
	s.have = nil
	if len(b) > 0 {
		return b, nil
	}
	return nil, s.err
}

// Read implements io.Reader.
func (s *source) Read(p []byte) (int, error) {
	b, err := s.Next()
	n := copy(p, b)
	s.have = b[n:]
	return n, err
}
