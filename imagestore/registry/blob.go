package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-cri/varve/imagestore/fault"
	"github.com/varve-cri/varve/imagestore/progress"
)

// How often a broken transfer is taken up again: fruitless times in a row, and in
// all.
const (
	fruitlessResumes = 3
	allResumes       = 64
)

// Blob opens a blob's bytes. A transfer that breaks is taken up where it was, by
// range where the host can, so a Read fails only for good. The bytes are not
// verified: the caller digests them on the way.
func (r *Repository) Blob(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	b := &blob{ctx: ctx, repository: r, want: d, query: request{
		step:   "fetch blob " + d.Digest.String(),
		method: http.MethodGet,
		what:   "blobs",
		target: d.Digest.String(),
	}}
	if err := b.open(); err != nil {
		return nil, err
	}
	return b, nil
}

type blob struct {
	ctx        context.Context //nolint:containedctx // one transfer is one call, in the shape of a Reader
	repository *Repository
	want       ocispec.Descriptor
	query      request
	body       *paced
	host       *host
	at         int64 // bytes given so far
	fruitless  int
	resumes    int
	resumedAt  int64
}

// open asks for the bytes from b.at on.
func (b *blob) open() error {
	q := b.query
	// A signature of the blob's own host may refuse what it did not sign, so the
	// first request is plain.
	if b.at > 0 {
		q.header = http.Header{"Range": {fmt.Sprintf("bytes=%d-%d", b.at, b.want.Size-1)}}
	}
	resp, h, err := b.repository.ask(b.ctx, q)
	if err != nil {
		return err
	}
	b.host = h
	b.body = newPaced(resp.Body, b.repository.limits)
	if err := b.accept(resp); err != nil {
		b.body.Close()
		return err
	}
	return nil
}

// accept checks that the answer is the bytes that were asked for.
func (b *blob) accept(resp *http.Response) error {
	if resp.StatusCode == http.StatusPartialContent {
		if !strings.HasPrefix(resp.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", b.at)) {
			return b.host.fault(fault.Unavailable, b.query, fmt.Errorf("asked for bytes from %d on, got %q", b.at, resp.Header.Get("Content-Range")))
		}
		return nil
	}
	if resp.ContentLength >= 0 && resp.ContentLength != b.want.Size {
		return b.host.fault(fault.Digest, b.query, fmt.Errorf("the registry has %d bytes, the manifest says %d", resp.ContentLength, b.want.Size))
	}
	// The host does not do ranges: skip what is here already.
	if _, err := io.CopyN(io.Discard, b.body, b.at); err != nil {
		return b.host.bodyFault(b.ctx, b.query, err)
	}
	return nil
}

// Read implements io.Reader.
func (b *blob) Read(p []byte) (int, error) {
	for {
		n, err := b.body.Read(p)
		b.at += int64(n)
		switch {
		case err == io.EOF && b.at < b.want.Size:
			err = io.ErrUnexpectedEOF
		case err != nil && b.at == b.want.Size:
			err = io.EOF // all is here, however the connection ended
		}
		if err == nil || err == io.EOF || n > 0 {
			if err != io.EOF {
				err = nil // a broken body gives its error again
			}
			return n, err
		}
		if err := b.resume(err); err != nil {
			return 0, err
		}
	}
}

// resume takes the transfer up again, or tells why not.
func (b *blob) resume(cause error) error {
	b.body.Close()
	if b.ctx.Err() != nil {
		return b.host.fault(fault.Canceled, b.query, context.Cause(b.ctx))
	}
	if b.at > b.resumedAt {
		b.fruitless = 0
	}
	b.resumedAt = b.at
	b.fruitless++
	b.resumes++
	if b.fruitless > fruitlessResumes || b.resumes > allResumes {
		return b.host.fault(fault.Unavailable, b.query, fmt.Errorf("broken off at %d of %d bytes: %w", b.at, b.want.Size, cause))
	}
	if err := pause(b.ctx, b.repository.limits.Backoff<<(b.fruitless-1)); err != nil {
		return b.host.fault(fault.Canceled, b.query, err)
	}
	progress.Resumed(b.ctx)
	err := b.open()
	if known := (*fault.Error)(nil); errors.As(err, &known) && known.Kind == fault.Unavailable {
		return b.resume(known.Err)
	}
	return err
}

// Close implements io.Closer.
func (b *blob) Close() error { return b.body.Close() }
