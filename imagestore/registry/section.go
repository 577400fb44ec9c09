package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-cri/varve/imagestore/fault"
	"github.com/varve-cri/varve/imagestore/progress"
)

// How often a broken transfer is taken up again: in a row without a byte, and in
// all with less than fruitful bytes since the last time.
const (
	fruitlessResumes = 3
	poorResumes      = 64
	fruitful         = 64 << 10
)

// errNoRanges is for a host that does not answer ranges as asked.
var errNoRanges = errors.New("the host does not answer ranges")

// section is a stretch of a blob on one connection, and on another when that
// breaks.
type section struct {
	ctx        context.Context //nolint:containedctx // one transfer is one call, in the shape of a Reader
	repository *Repository
	want       ocispec.Descriptor
	query      request
	body       *paced
	host       *host
	at, end    int64 // the next byte to give, and where to stop
	open206    bool  // the body is a range
	ranges     bool  // the host says, or has shown, that it answers ranges
	answered   bool  // the last request had an answer, good or not

	fruitless, poor int
	resumedAt       int64
}

// start is open for the first time: what breaks at the answer's beginning is taken
// up again like what breaks in its middle.
func (s *section) start() error {
	err := s.open()
	if s.answered && s.again(err) {
		return s.resume(err)
	}
	return err
}

// again tells the errors after which the transfer may be taken up.
func (s *section) again(err error) bool {
	return err != nil && fault.KindOf(err) == fault.Unavailable && !(s.query.ranged && errors.Is(err, errNoRanges))
}

// open asks for the bytes from s.at on.
func (s *section) open() error {
	for again := false; ; again = true {
		err := s.openOnce()
		switch {
		case err == nil:
			return nil
		case fault.KindOf(err) == fault.Digest && s.repository.passOver(s.host, false, true):
			continue // another host may have the right blob
		case errors.Is(err, errNoRanges) && !s.query.ranged && !again:
			continue // now without one
		}
		return err
	}
}

func (s *section) openOnce() error {
	q := s.query
	// A signature of the blob's own host may refuse what it did not sign, so the
	// request for a whole blob is plain.
	if s.at > 0 || s.end < s.want.Size {
		q.header = http.Header{"Range": {fmt.Sprintf("bytes=%d-%d", s.at, s.end-1)}}
	}
	resp, h, err := s.repository.ask(s.ctx, q)
	s.answered = err == nil
	if err != nil {
		if h != nil {
			s.host = h
		}
		return err
	}
	s.host = h
	limits := s.repository.limits
	if len(s.repository.order(false)) > 1 {
		limits.StallWindow = min(limits.StallWindow, limits.MirrorHeader)
	}
	s.body = newPaced(resp.Body, limits)
	if err := s.accept(resp); err != nil {
		s.body.Close()
		return err
	}
	s.repository.note(s.query.target, h)
	return nil
}

// accept checks that the answer is the bytes that were asked for.
func (s *section) accept(resp *http.Response) error {
	s.open206 = resp.StatusCode == http.StatusPartialContent
	if s.open206 {
		if err := s.checkRange(resp); err != nil {
			s.host.plain.Store(true)
			return s.host.fault(fault.Unavailable, s.query, err)
		}
		s.ranges = true
		return nil
	}
	if s.query.ranged {
		s.host.plain.Store(true)
		return s.host.fault(fault.Unavailable, s.query, errNoRanges)
	}
	if resp.ContentLength >= 0 && resp.ContentLength != s.want.Size {
		return s.host.fault(fault.Digest, s.query, fmt.Errorf("the registry has %d bytes, the manifest says %d", resp.ContentLength, s.want.Size))
	}
	s.ranges = resp.Header.Get("Accept-Ranges") == "bytes"
	// The host does not do ranges: skip what is here already.
	if _, err := io.CopyN(io.Discard, s.body, s.at); err != nil {
		return s.host.bodyFault(s.ctx, s.query, err)
	}
	return nil
}

// checkRange compares the answer's range with the one that was asked for. It may
// end earlier, and the rest is asked for again; it may be nothing else.
func (s *section) checkRange(resp *http.Response) error {
	got := resp.Header.Get("Content-Range")
	var first, last, total int64
	if _, err := fmt.Sscanf(got, "bytes %d-%d/%d", &first, &last, &total); err != nil {
		total = s.want.Size
		if _, err := fmt.Sscanf(got, "bytes %d-%d/*", &first, &last); err != nil {
			first = -1
		}
	}
	if first != s.at || last < first || last >= s.end || total != s.want.Size ||
		resp.ContentLength >= 0 && resp.ContentLength != last-first+1 {
		return fmt.Errorf("%w: asked for bytes %d-%d of %d, got %q with %d bytes", errNoRanges, s.at, s.end-1, s.want.Size, got, resp.ContentLength)
	}
	return nil
}

// Read implements io.Reader.
func (s *section) Read(p []byte) (int, error) {
	for {
		if s.at == s.end && (s.open206 || s.end < s.want.Size) {
			return 0, io.EOF // what a range has beyond its end is not asked for
		}
		if left := s.end - s.at; (s.open206 || s.end < s.want.Size) && int64(len(p)) > left {
			p = p[:left]
		}
		n, err := s.body.Read(p)
		s.at += int64(n)
		switch {
		case err == io.EOF && s.at < s.end:
			err = io.ErrUnexpectedEOF
		case err != nil && s.at == s.end:
			err = io.EOF // all is here, however the connection ended
		}
		if err == nil || err == io.EOF || n > 0 {
			if err != io.EOF {
				err = nil // a broken body gives its error again
			}
			return n, err
		}
		if err := s.resume(err); err != nil {
			return 0, err
		}
	}
}

// resume takes the transfer up again, or tells why not. A host that stalls, or
// breaks off twice without a byte in between, is put behind the others.
func (s *section) resume(cause error) error {
	for {
		s.body.Close()
		if s.ctx.Err() != nil {
			return s.host.fault(fault.Canceled, s.query, context.Cause(s.ctx))
		}
		if s.at > s.resumedAt {
			s.fruitless = 0
		}
		if s.at-s.resumedAt < fruitful {
			s.poor++
		}
		s.resumedAt = s.at
		s.fruitless++
		if s.fruitless > fruitlessResumes || s.poor > poorResumes {
			return s.host.fault(fault.Unavailable, s.query, fmt.Errorf("broken off at %d of %d bytes: %w", s.at, s.want.Size, cause))
		}
		if errors.Is(cause, errStalled) || s.fruitless > 1 {
			s.repository.passOver(s.host, false, false)
		}
		progress.Resumed(s.ctx, cause)
		if err := pause(s.ctx, s.repository.limits.Backoff<<(s.fruitless-1)); err != nil {
			return s.host.fault(fault.Canceled, s.query, err)
		}
		err := s.open()
		if !s.again(err) {
			return err
		}
		cause = err
		if known := (*fault.Error)(nil); errors.As(err, &known) {
			cause = known.Err
		}
	}
}

// Close implements io.Closer.
func (s *section) Close() error { return s.body.Close() }
