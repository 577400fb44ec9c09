package seccomp

import (
	"errors"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Compile turns a profile into the struct sock_filter array that seccomp(2)
// takes, in little-endian order, and the SECCOMP_FILTER_FLAG_* to install it
// with. arch is the machine's architecture in Go's words ("amd64", "arm64").
func Compile(p *specs.LinuxSeccomp, arch string) (prog []byte, flags uint32, err error) {
	return nil, 0, errors.ErrUnsupported
}

// Default returns the RuntimeDefault profile for a container: it depends on
// the bounding capabilities in spec.Process and on the running kernel.
func Default(spec *specs.Spec) (*specs.LinuxSeccomp, error) { return nil, errors.ErrUnsupported }

// Localhost reads a profile file of the node. Every error names the file.
func Localhost(path string) (*specs.LinuxSeccomp, error) { return nil, errors.ErrUnsupported }

// Cache keeps compiled programs. Its zero value is ready; it may be used by
// many goroutines at once.
type Cache struct{}

// Program returns p compiled for this machine, from the cache when an equal
// profile was compiled before. The bytes must not be changed.
func (c *Cache) Program(p *specs.LinuxSeccomp) (prog []byte, flags uint32, err error) {
	return nil, 0, errors.ErrUnsupported
}

// Default is the package's Default, remembered by capabilities. The profile
// must not be changed.
func (c *Cache) Default(spec *specs.Spec) (*specs.LinuxSeccomp, error) {
	return nil, errors.ErrUnsupported
}
