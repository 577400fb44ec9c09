package registry

import (
	"context"
	"io"
	"net/http"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Blob opens a blob's bytes. A transfer that breaks is taken up where it was, by
// range where the host can and at another host where there is one, so a Read fails
// only for good. The bytes are not verified: the caller digests them on the way.
func (r *Repository) Blob(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	return r.BlobRange(ctx, d, 0, d.Size)
}

// BlobRange is Blob for the bytes from, included, to end, excluded.
func (r *Repository) BlobRange(ctx context.Context, d ocispec.Descriptor, from, end int64) (io.ReadCloser, error) {
	s := r.section(ctx, d, from, end)
	if err := s.start(); err != nil {
		return nil, err
	}
	if r.limits.Streams < 2 || end-from < r.limits.WideBytes {
		return s, nil
	}
	return newWide(s), nil
}

func (r *Repository) section(ctx context.Context, d ocispec.Descriptor, from, end int64) *section {
	return &section{ctx: ctx, repository: r, want: d, at: from, end: end, query: request{
		step:   "fetch blob " + d.Digest.String(),
		method: http.MethodGet,
		what:   "blobs",
		target: d.Digest.String(),
	}}
}

// Distrust tells that the blob's bytes were not what its digest says: the hosts
// that gave them are asked no more. It tells whether another host is left.
func (r *Repository) Distrust(d ocispec.Descriptor) bool {
	r.mu.Lock()
	gave := r.served[d.Digest.String()]
	delete(r.served, d.Digest.String())
	r.mu.Unlock()
	left := false
	for h := range gave {
		left = r.passOver(h, false, true)
	}
	return left
}

func (r *Repository) note(digest string, h *host) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.served[digest] == nil {
		r.served[digest] = map[*host]bool{}
	}
	r.served[digest][h] = true
}
