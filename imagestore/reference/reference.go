// Package reference reads image names as Kubernetes users write them.
//
// "busybox" is docker.io/library/busybox:latest; a name with a digest loses its
// tag, because the digest says all. The grammar is that of
// distribution/reference; this package adds nothing to it and fetches nothing.
package reference

import (
	"fmt"
	"strings"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
)

// maxLength bounds a reference before the grammar's regular expression sees it.
const maxLength = 4096

// Reference is one normalised name.
type Reference struct {
	Domain string        // "docker.io", "localhost:5000"
	Path   string        // "library/busybox"
	Tag    string        // empty when Digest is set
	Digest digest.Digest // empty when Tag is set
}

// Parse normalises s.
func Parse(s string) (Reference, error) {
	if len(s) > maxLength {
		return Reference{}, fmt.Errorf("reference of %d bytes is longer than %d", len(s), maxLength)
	}
	named, err := reference.ParseNormalizedNamed(s)
	if err != nil {
		return Reference{}, fmt.Errorf("reference %q: %w", s, err)
	}
	r := Reference{Domain: reference.Domain(named), Path: reference.Path(named)}
	if d, ok := named.(reference.Digested); ok {
		r.Digest = d.Digest()
		if err := ValidateDigest(r.Digest); err != nil {
			return Reference{}, fmt.Errorf("reference %q: %w", s, err)
		}
		return r, nil
	}
	r.Tag = "latest"
	if t, ok := named.(reference.Tagged); ok {
		r.Tag = t.Tag()
	}
	return r, nil
}

// ValidateDigest accepts sha256 and sha512 in their one spelling. Digests become
// file names and map keys, so nothing else may pass (CVE-2024-3727).
func ValidateDigest(d digest.Digest) error {
	if err := d.Validate(); err != nil {
		return fmt.Errorf("digest %q: %w", d, err)
	}
	if a := d.Algorithm(); a != digest.SHA256 && a != digest.SHA512 {
		return fmt.Errorf("digest %q: algorithm %s is not supported", d, a)
	}
	return nil
}

// Repository is the name without tag and digest.
func (r Reference) Repository() string { return r.Domain + "/" + r.Path }

// String is the full name, by which the store files it.
func (r Reference) String() string {
	if r.Digest != "" {
		return r.AtDigest(r.Digest)
	}
	return r.Repository() + ":" + r.Tag
}

// AtDigest is the name of the same repository's content d.
func (r Reference) AtDigest(d digest.Digest) string {
	return r.Repository() + "@" + d.String()
}

// Target is what a registry is asked for: the digest or the tag.
func (r Reference) Target() string {
	if r.Digest != "" {
		return r.Digest.String()
	}
	return r.Tag
}

// IsDigested tells whether a full name, as String makes it, ends in a digest.
func IsDigested(name string) bool { return strings.Contains(name, "@") }
