package seccomp

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"runtime"
	"slices"
	"strings"
	"sync"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// maxCached bounds the cache: a node has a handful of profiles, and whoever
// writes them must not fill the daemon's memory.
const maxCached = 256

// Cache keeps profiles and compiled programs. Its zero value is ready; it may
// be used by many goroutines at once.
type Cache struct {
	mu       sync.Mutex
	programs map[[sha256.Size]byte]compiled
	defaults map[string]*specs.LinuxSeccomp // by capabilities
}

// compiled is what Compile returns.
type compiled struct {
	prog  []byte
	flags uint32
}

// Program returns p compiled for this machine, from the cache when an equal
// profile was compiled before. The bytes must not be changed. A nil profile is
// no program.
func (c *Cache) Program(p *specs.LinuxSeccomp) (prog []byte, flags uint32, err error) {
	if p == nil {
		return nil, 0, nil
	}
	key := digest(p)
	c.mu.Lock()
	have, ok := c.programs[key]
	c.mu.Unlock()
	if ok {
		return have.prog, have.flags, nil
	}
	prog, flags, err = Compile(p, runtime.GOARCH)
	if err != nil {
		return nil, 0, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.programs == nil || len(c.programs) >= maxCached {
		c.programs = make(map[[sha256.Size]byte]compiled)
	}
	c.programs[key] = compiled{prog, flags}
	return prog, flags, nil
}

// Default is the package's Default, remembered by capabilities. The profile
// must not be changed.
func (c *Cache) Default(spec *specs.Spec) (*specs.LinuxSeccomp, error) {
	caps := slices.Clone(boundingCaps(spec))
	slices.Sort(caps)
	key := strings.Join(caps, ",")
	c.mu.Lock()
	have, ok := c.defaults[key]
	c.mu.Unlock()
	if ok {
		return have, nil
	}
	p, err := Default(spec)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.defaults == nil || len(c.defaults) >= maxCached {
		c.defaults = make(map[string]*specs.LinuxSeccomp)
	}
	c.defaults[key] = p
	return p, nil
}

// digest is over all fields that Compile looks at, each with its length, so
// that no two profiles can be taken for each other.
func digest(p *specs.LinuxSeccomp) [sha256.Size]byte {
	d := digester{Hash: sha256.New()}
	d.text(string(p.DefaultAction))
	d.errno(p.DefaultErrnoRet)
	d.number(uint64(len(p.Architectures)))
	for _, a := range p.Architectures {
		d.text(string(a))
	}
	d.number(uint64(len(p.Flags)))
	for _, f := range p.Flags {
		d.text(string(f))
	}
	d.text(p.ListenerPath)
	d.number(uint64(len(p.Syscalls)))
	for i := range p.Syscalls {
		s := &p.Syscalls[i]
		d.text(string(s.Action))
		d.errno(s.ErrnoRet)
		d.number(uint64(len(s.Names)))
		for _, n := range s.Names {
			d.text(n)
		}
		d.number(uint64(len(s.Args)))
		for _, a := range s.Args {
			d.text(string(a.Op))
			d.number(uint64(a.Index))
			d.number(a.Value)
			d.number(a.ValueTwo)
		}
	}
	return [sha256.Size]byte(d.sum())
}

// digester writes values unambiguously into a hash, through a buffer that
// keeps the many short writes cheap.
type digester struct {
	hash.Hash
	buf []byte
}

func (d *digester) number(n uint64) {
	d.buf = binary.AppendUvarint(d.buf, n)
	if len(d.buf) > 4096 {
		d.Write(d.buf)
		d.buf = d.buf[:0]
	}
}

func (d *digester) text(s string) {
	d.number(uint64(len(s)))
	d.buf = append(d.buf, s...)
}

func (d *digester) errno(e *uint) {
	if e == nil {
		d.number(0)
		return
	}
	d.number(uint64(*e) + 1)
}

func (d *digester) sum() []byte {
	d.Write(d.buf)
	return d.Sum(nil)
}
