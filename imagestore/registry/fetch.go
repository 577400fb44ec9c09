package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-cri/varve/imagestore/fault"
	"github.com/varve-cri/varve/imagestore/manifest"
	"github.com/varve-cri/varve/imagestore/reference"
	"github.com/varve-cri/varve/imagestore/stream"
)

// digestHeader is where registries say what they are about to send.
const digestHeader = "Docker-Content-Digest"

// Manifest is one fetched document, verified as far as the request allowed: by
// digest wholly, by tag against what the registry says of it.
type Manifest struct {
	Body   []byte
	Type   string
	Digest digest.Digest
}

func accept() http.Header {
	return http.Header{"Accept": {strings.Join(manifest.Accept, ", ")}}
}

// isTag tells a tag, which only a trusted host may resolve, from a digest, which
// speaks for itself.
func isTag(target string) bool { return reference.ValidateDigest(digest.Digest(target)) != nil }

// Resolve asks for a tag's digest without its content, which registries do not
// count against rate limits; empty when the registry does not say.
func (r *Repository) Resolve(ctx context.Context, target string) (digest.Digest, error) {
	resp, _, err := r.ask(ctx, request{"resolve " + target, http.MethodHead, "manifests", target, accept(), isTag(target), false})
	if err != nil {
		return "", err
	}
	resp.Body.Close()
	d := digest.Digest(resp.Header.Get(digestHeader))
	if reference.ValidateDigest(d) != nil {
		return "", nil //nolint:nilerr // a registry may answer without one
	}
	return d, nil
}

// Manifest fetches the manifest or index that target, a tag or a digest, names.
// A mirror whose bytes are not what the digest says is passed over.
func (r *Repository) Manifest(ctx context.Context, target string) (Manifest, error) {
	if isTag(target) && len(r.hosts) > 0 && !r.hosts[0].resolve {
		// The first host may not say what a tag is, but it may have what it is.
		if d, err := r.Resolve(ctx, target); err == nil && d != "" {
			target = d.String()
		}
	}
	for {
		m, h, err := r.manifest(ctx, target)
		if err == nil || h == nil || ctx.Err() != nil {
			return m, err
		}
		// It answered, and what it sent was no good.
		if !r.passOver(h, isTag(target), fault.KindOf(err) == fault.Digest) {
			return m, err
		}
	}
}

// manifest asks once; the host is nil when none answered.
func (r *Repository) manifest(ctx context.Context, target string) (Manifest, *host, error) {
	q := request{"fetch manifest " + target, http.MethodGet, "manifests", target, accept(), isTag(target), false}
	resp, h, err := r.ask(ctx, q)
	if err != nil {
		return Manifest{}, nil, err
	}
	body, err := readAll(resp, r.limits, manifest.MaxBytes)
	if err != nil {
		return Manifest{}, h, h.bodyFault(ctx, q, err)
	}
	m := Manifest{Body: body, Type: resp.Header.Get("Content-Type"), Digest: digest.FromBytes(body)}
	if err := m.verify(target, resp.Header.Get(digestHeader)); err != nil {
		return Manifest{}, h, h.fault(fault.Digest, q, err)
	}
	return m, h, nil
}

// verify compares the body with the digest that was asked for, or with the one
// that the registry announced for a tag.
func (m *Manifest) verify(target, announced string) error {
	for _, s := range []string{target, announced} {
		d := digest.Digest(s)
		if reference.ValidateDigest(d) != nil {
			continue // a tag, or no header
		}
		if err := manifest.Verify(m.Body, d); err != nil {
			return err
		}
		if s == target {
			m.Digest = d
		}
	}
	return nil
}

// Small fetches a blob that is kept in memory: a config.
func (r *Repository) Small(ctx context.Context, d ocispec.Descriptor) ([]byte, error) {
	step := "fetch config " + d.Digest.String()
	if d.Size > manifest.MaxConfigBytes {
		return nil, fault.New(fault.Invalid, step, fmt.Errorf("%d bytes, more than %d", d.Size, manifest.MaxConfigBytes))
	}
	for {
		b, err := r.small(ctx, d)
		if !errors.Is(err, stream.ErrMismatch) {
			return b, err
		}
		if !r.Distrust(d) {
			return nil, fault.New(fault.Digest, step, err)
		}
	}
}

func (r *Repository) small(ctx context.Context, d ocispec.Descriptor) ([]byte, error) {
	body, err := r.Blob(ctx, d)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return io.ReadAll(stream.NewVerifier(body, "config", d.Digest, d.Size))
}

// readAll reads an answer of at most most bytes, at not less than the lowest rate.
func readAll(resp *http.Response, limits Limits, most int64) ([]byte, error) {
	if resp.ContentLength > most {
		resp.Body.Close()
		return nil, fmt.Errorf("%d bytes: %w", resp.ContentLength, stream.ErrTooLarge)
	}
	body := newPaced(resp.Body, limits)
	defer body.Close()
	return io.ReadAll(stream.Limit(body, "answer", most))
}

// bodyFault sorts errors that come in the middle of an answer.
func (h *host) bodyFault(ctx context.Context, q request, err error) error {
	switch {
	case ctx.Err() != nil:
		return h.fault(fault.Canceled, q, context.Cause(ctx))
	case errors.Is(err, stream.ErrTooLarge):
		return h.fault(fault.Invalid, q, err)
	}
	return h.fault(fault.Unavailable, q, err)
}
