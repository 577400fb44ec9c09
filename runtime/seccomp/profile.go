package seccomp

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	moby "github.com/moby/profiles/seccomp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// maxProfile is the largest profile file that is read. Real ones have 10 to
// 30 KiB.
const maxProfile = 1 << 20

// Default returns the RuntimeDefault profile for a container. It depends on
// the bounding capabilities in spec.Process, which must be set (nil means
// none), and on the running kernel.
func Default(spec *specs.Spec) (*specs.LinuxSeccomp, error) {
	bounding := boundingCaps(spec)
	narrowed := &specs.Spec{Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{Bounding: bounding}}}
	p, err := moby.GetDefaultProfile(narrowed)
	if err != nil {
		return nil, fmt.Errorf("default seccomp profile: %w", err)
	}
	return p, nil
}

// boundingCaps is all of a spec that the default profile looks at.
func boundingCaps(spec *specs.Spec) []string {
	if spec == nil || spec.Process == nil || spec.Process.Capabilities == nil {
		return nil
	}
	return spec.Process.Capabilities.Bounding
}

// Localhost reads a profile file of the node, in the format of the OCI
// runtime specification. Every error names the file.
func Localhost(path string) (*specs.LinuxSeccomp, error) {
	text, err := readProfile(path)
	if err != nil {
		return nil, err
	}
	p, err := decode(text)
	if err != nil {
		return nil, fmt.Errorf("seccomp profile %s: %w", path, err)
	}
	return p, nil
}

// readProfile reads a regular file up to the size cap. O_NONBLOCK keeps a
// named pipe from holding the caller for ever.
func readProfile(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("seccomp profile: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("seccomp profile: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("seccomp profile %s: not a regular file", path)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxProfile+1))
	if err != nil {
		return nil, fmt.Errorf("seccomp profile: %w", err)
	}
	if len(text) > maxProfile {
		return nil, fmt.Errorf("seccomp profile %s: larger than %d bytes", path, maxProfile)
	}
	return text, nil
}

// decode reads and checks one profile. Unknown fields are let through, because
// profiles written for other tools carry comments and the like, but what
// would change a rule's meaning there ("includes", "excludes" of the Docker
// format) is refused instead of ignored.
func decode(text []byte) (*specs.LinuxSeccomp, error) {
	var foreign struct {
		ArchMap  []json.RawMessage `json:"archMap"`
		Syscalls []struct {
			Name               string
			Includes, Excludes map[string]any
		} `json:"syscalls"`
	}
	d := json.NewDecoder(bytes.NewReader(text))
	p := new(specs.LinuxSeccomp)
	if err := d.Decode(p); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one JSON value")
	}
	if err := json.Unmarshal(text, &foreign); err != nil {
		return nil, err
	}
	if len(foreign.ArchMap) > 0 {
		return nil, errors.New("archMap is not part of the OCI format: use architectures")
	}
	for i, s := range foreign.Syscalls {
		switch {
		case len(s.Includes) > 0 || len(s.Excludes) > 0:
			return nil, fmt.Errorf("syscalls[%d]: includes and excludes are not part of the OCI format", i)
		case s.Name != "":
			return nil, fmt.Errorf("syscalls[%d]: name is not part of the OCI format: use names", i)
		}
	}
	if _, err := read(p); err != nil {
		return nil, err
	}
	if _, err := arches(p.Architectures, "amd64"); err != nil {
		return nil, err
	}
	return p, nil
}
