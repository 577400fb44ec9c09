package usage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/runtime/cgroup"
)

// Opening and closing one of these files costs the kernel ten times what reading
// it does: about 10 µs against 1. A Meter that is read often therefore keeps
// them open. Each costs the kernel 4.4 KiB (Linux 6.18), so that they are kept only
// from the second reading on, and only within a budget. An open file does not keep its
// group from being removed.

// keepWithin is how soon after one reading another must follow for the files to
// stay open: the kubelet looks every ten seconds.
const keepWithin = time.Minute

// Meter reads what one group uses. The zero value is ready.
type Meter struct {
	mu     sync.Mutex // held while the files are read; nobody waits for it but Close
	closed bool       // guarded by mu: nothing is kept any more
	last   time.Time  // guarded by mu; of the last reading
	fds    []int      // guarded by mu; plus one, so that 0 is none; as the layout's sources
	layout *layout    // nil: this host's; never written, because who does not get mu reads it, too
}

// layout is which files the groups of a host have, and where.
type layout struct {
	sources []source
	dirs    func(path string) func(controller string) string // "" where there is none
}

var theLayout = sync.OnceValue(func() *layout {
	return &layout{
		sources: sources(cgroup.Open("/"), cgroup.Detect()),
		dirs:    func(path string) func(string) string { return cgroup.Open(path).Dir },
	}
})

// Read reads the group at a path, always the same for one Meter. A group that is not
// there is an error that matches fs.ErrNotExist. Two readers at a time do not wait
// for each other.
func (m *Meter) Read(path string, parts Parts) (Usage, error) {
	if !m.mu.TryLock() {
		m = &Meter{closed: true, layout: m.layout}
		m.mu.Lock()
	}
	defer m.mu.Unlock()
	files := m.layout
	if files == nil {
		files = theLayout()
	}
	if m.fds == nil {
		m.fds = make([]int, len(files.sources))
	}
	now := time.Now()
	r := reading{m: m, layout: files, path: path, keep: !m.closed && now.Sub(m.last) < keepWithin}
	m.last = now
	u, err := r.run(now, parts)
	if err != nil {
		m.letGo()
		return u, fmt.Errorf("cgroup %s: read usage: %w", path, err)
	}
	return u, nil
}

// Close closes the files, and none is kept open afterwards.
func (m *Meter) Close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	m.letGo()
}

func (m *Meter) letGo() {
	for i := range m.fds {
		m.drop(i)
	}
}

func (m *Meter) drop(i int) {
	if m.fds[i] != 0 {
		_ = unix.Close(m.fds[i] - 1)
		m.fds[i] = 0
		budget.give()
	}
}

// buffers are for reading; v2's memory.stat has 2 KiB.
var buffers = sync.Pool{New: func() any { return new([16384]byte) }}

// reading is one Read.
type reading struct {
	m      *Meter
	layout *layout
	path   string
	keep   bool
	dirs   func(controller string) string // nil until a file is opened
}

func (r *reading) run(now time.Time, parts Parts) (Usage, error) {
	u := Usage{Time: now, Memory: Memory{Limit: Unlimited, SwapLimit: Unlimited}, Tasks: Tasks{Limit: Unlimited}}
	buf := buffers.Get().(*[16384]byte) //nolint:forcetypeassert // the pool holds nothing else
	defer buffers.Put(buf)
	found := false
	for i := range r.layout.sources {
		s := &r.layout.sources[i]
		if !s.wanted(parts) {
			continue
		}
		text, err := r.text(i, s, buf[:])
		switch {
		case err == nil:
			found = true
			s.parse(text, &u)
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENODEV), errors.Is(err, unix.EOPNOTSUPP):
			// ENODEV: the group went away between open and read. EOPNOTSUPP: pressure
			// is switched off at boot.
		default:
			return u, err
		}
	}
	if !found {
		return u, fs.ErrNotExist
	}
	if mem := &u.Memory; mem.Usage > mem.InactiveFile { // else the two were read too far apart
		mem.WorkingSet = mem.Usage - mem.InactiveFile
	}
	return u, nil
}

// text reads a file from its beginning. The kernel makes the whole text of each
// of these files for one read, so that a second one would only say so.
func (r *reading) text(i int, s *source, buf []byte) ([]byte, error) {
	if fd := r.m.fds[i]; fd != 0 {
		if n, err := pread(fd-1, buf); err == nil {
			return buf[:n], nil
		}
		r.m.drop(i) // the group was removed; it may have been made again
	}
	if r.dirs == nil {
		r.dirs = r.layout.dirs(r.path)
	}
	path := r.dirs(s.controller) + "/" + s.file
	fd, err := open(path)
	if err != nil {
		return nil, err
	}
	n, err := pread(fd, buf)
	if err == nil && r.keep && s.part&Detail == 0 && budget.take() {
		r.m.fds[i] = fd + 1
		return buf[:n], nil
	}
	_ = unix.Close(fd)
	if err != nil {
		return nil, &os.PathError{Op: "read", Path: path, Err: err}
	}
	return buf[:n], nil
}

// Files of a cgroup are read with plain system calls: they never block, and an
// os.File with its poller would cost more than the kernel does.

func open(path string) (int, error) {
	for {
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		switch err {
		case nil:
			return fd, nil
		case unix.EINTR:
		default:
			return -1, &os.PathError{Op: "open", Path: path, Err: err}
		}
	}
}

func pread(fd int, buf []byte) (int, error) {
	for {
		n, err := unix.Pread(fd, buf, 0)
		if err != unix.EINTR {
			return n, err
		}
	}
}

// allowance bounds how many files all Meters keep.
type allowance struct {
	open  atomic.Int64
	limit func() int64
}

// maxKept bounds it where a process may open as many files as it likes: 18 MiB of the
// kernel's memory.
const maxKept = 4096

// budget is an eighth of what the process may have open: with seven files each, 20,000
// do for 350 groups. Those above are read without keeping.
var budget = allowance{limit: sync.OnceValue(func() int64 {
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
		return 0
	}
	return int64(min(r.Cur/8, maxKept)) //nolint:gosec // bounded
})}

func (a *allowance) take() bool {
	if a.open.Add(1) > a.limit() {
		a.open.Add(-1)
		return false
	}
	return true
}

func (a *allowance) give() { a.open.Add(-1) }
