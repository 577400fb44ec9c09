package plan

import "errors"

// MaxEncoded bounds what Decode reads: arguments and environment are bounded
// by execve itself (a quarter of the stack limit, at most 6 MiB), and nothing
// else in a plan comes near.
const MaxEncoded = 8 << 20

// The version byte changes with every change of the fields, so that a shim
// and a daemon of different builds say so instead of misreading each other.
const (
	planMagic    = "varve-plan\x02"
	processMagic = "varve-proc\x02"
)

// ErrFormat is the error of every input that is not exactly what Encode
// writes.
var ErrFormat = errors.New("not an encoded plan of this version")

// Encode returns the binary form of p. Decode reads it back to an equal value.
func (p *Plan) Encode() []byte {
	w := &writer{buf: make([]byte, 0, 4096)}
	w.raw(planMagic)
	p.code(w)
	return w.buf
}

// Decode reads what Plan.Encode wrote. It accepts nothing else: other
// versions, trailing bytes and non-minimal numbers are ErrFormat.
func Decode(b []byte) (*Plan, error) {
	r := &reader{buf: b}
	r.header(planMagic)
	p := &Plan{}
	p.code(r)
	if err := r.end(); err != nil {
		return nil, err
	}
	return p, nil
}

// Encode returns the binary form of p alone, for an exec.
func (p *Process) Encode() []byte {
	w := &writer{buf: make([]byte, 0, 2048)}
	w.raw(processMagic)
	p.code(w)
	return w.buf
}

// decode reads what Encode wrote, as strictly as Decode.
func (p *Process) decode(r *reader) error {
	r.header(processMagic)
	p.code(r)
	return r.end()
}

// coder is a walk over the fields, which writer and reader implement: one
// list of fields serves both ways, so that they cannot disagree.
type coder interface {
	u64(*uint64)
	u32(*uint32)
	u16(*uint16)
	u8(*byte)
	i32(*int32)
	bool(*bool)
	str(*string)
	bytes(*[]byte)
	// count carries a list's length; in the reader it is at most the number
	// of bytes that are left, so a short input cannot ask for much memory.
	count(n int) int
	ok() bool // false after an error
}

func list[T any](c coder, s *[]T, each func(*T)) {
	n := c.count(len(*s))
	if n > 0 && cap(*s) == 0 {
		*s = make([]T, 0, min(n, 64))
	}
	for i := range n {
		if !c.ok() {
			return
		}
		if i == len(*s) {
			var zero T
			*s = append(*s, zero)
		}
		each(&(*s)[i])
	}
}

func (p *Plan) code(c coder) {
	c.str(&p.ID)
	list(c, &p.Namespaces, func(n *Namespace) {
		c.u64((*uint64)(&n.Type))
		c.str(&n.Path)
	})
	c.str(&p.Hostname)
	c.str(&p.Domainname)
	c.bool(&p.Root.Readonly)
	c.u64(&p.Root.Propagation)
	c.u32(&p.Owner.UID)
	c.u32(&p.Owner.GID)
	list(c, &p.Mounts, func(m *Mount) { m.code(c) })
	list(c, &p.Devices, func(d *Device) { d.code(c) })
	list(c, &p.Links, func(l *Link) {
		c.str(&l.Path)
		c.str(&l.Target)
	})
	list(c, &p.Masked, c.str)
	list(c, &p.Readonly, c.str)
	list(c, &p.Cgroup.V1, c.str)
	c.str(&p.Cgroup.V2)
	p.Process.code(c)
}

func (m *Mount) code(c coder) {
	c.str(&m.Target)
	c.str(&m.Type)
	c.str(&m.Source)
	list(c, &m.Data, c.str)
	c.u64(&m.AttrSet)
	c.u64(&m.AttrClear)
	c.u64(&m.RecAttrSet)
	c.u64(&m.RecAttrClear)
	c.bool(&m.Recursive)
	c.u64(&m.Propagation)
	c.bool(&m.NoFollow)
}

func (d *Device) code(c coder) {
	c.str(&d.Path)
	c.u8(&d.Kind)
	c.u32(&d.Major)
	c.u32(&d.Minor)
	c.u32(&d.Mode)
	c.u32(&d.UID)
	c.u32(&d.GID)
}

func (p *Process) code(c coder) {
	list(c, &p.Args, c.str)
	list(c, &p.Env, c.str)
	c.str(&p.Cwd)
	c.bool(&p.Terminal)
	c.u16(&p.Rows)
	c.u16(&p.Cols)
	c.u32(&p.UID)
	c.u32(&p.GID)
	list(c, &p.Groups, c.u32)
	c.bool(&p.UserNS)
	c.u32(&p.HostUID)
	c.i32(&p.Umask)
	c.u64(&p.Caps.Bounding)
	c.u64(&p.Caps.Effective)
	c.u64(&p.Caps.Permitted)
	c.u64(&p.Caps.Inheritable)
	c.u64(&p.Caps.Ambient)
	c.bool(&p.NoNewPrivs)
	c.bytes(&p.Seccomp)
	c.u32(&p.SeccompFlags)
	list(c, &p.Rlimits, func(l *Rlimit) {
		c.u32(&l.Type)
		c.u64(&l.Soft)
		c.u64(&l.Hard)
	})
	c.i32(&p.OOMScoreAdj)
	c.bool(&p.SetOOMScoreAdj)
	c.str(&p.AppArmor)
	c.str(&p.SELinux)
	c.bool(&p.Pause)
}
