package plan

import (
	"errors"
	"fmt"
	"strings"

	profiles "github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// SeccompProfile returns the filter that a choice comes to for a container
// with the spec's capabilities: nil for Unconfined, the built-in profile for a
// default without a path, else what body holds, in the format of the OCI or of
// Docker. It is the same for the same choice, body and capabilities, and may be
// cached by them (SeccompKey).
func SeccompProfile(choice SeccompChoice, body []byte, spec *specs.Spec) (*specs.LinuxSeccomp, error) {
	switch {
	case choice.Kind == SeccompUnconfined:
		return nil, nil
	case choice.Kind == SeccompDefault && choice.Path == "":
		return profiles.GetDefaultProfile(spec)
	}
	// An empty document means "no filter" to the library. Somebody who names a
	// profile and gets none would not know.
	p, err := profiles.LoadProfile(string(body), spec)
	if err == nil && p == nil {
		err = errors.New("holds no rules")
	}
	if err != nil {
		return nil, fmt.Errorf("seccomp profile %s: %w", choice.Path, err)
	}
	return p, nil
}

// SeccompKey is equal for containers whose filters are the same, as long as
// the profile's file is.
func SeccompKey(choice SeccompChoice, spec *specs.Spec) string {
	caps := ""
	if c := spec.Process.Capabilities; c != nil {
		caps = strings.Join(c.Bounding, ",")
	}
	return string(choice.Kind) + "\x00" + choice.Path + "\x00" + caps
}
