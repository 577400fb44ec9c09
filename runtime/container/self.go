package container

import (
	"errors"
	"sync"
	"sync/atomic"

	"github.com/varve-cri/varve/runtime/internal/fd"
	"github.com/varve-cri/varve/runtime/internal/mount"
	"github.com/varve-cri/varve/runtime/program"
	"golang.org/x/sys/unix"
)

// self is what every start and exec of this process uses, made once.
type self struct {
	proc int // detached procfs of the process's own PID namespace: nothing can be mounted over its files (CVE-2025-52881)
	null int // an open null device that is no file of the host's: a payload may fchmod what it gets
	host program.Host
	copy bool // children get a copy of the memory

	inside atomic.Bool // procfs of another PID namespace is opened from inside; known after the first

	known map[string]program.Kind // what the usual masked paths are
}

var ownSelf = sync.OnceValues(newSelf)

func newSelf() (*self, error) {
	// Until execve the child is a copy of this process: the container must
	// not be able to trace it or open its files (CVE-2016-9962).
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return nil, fail("set non-dumpable", "", err)
	}
	attr := unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC
	proc, err := mount.New("proc", "proc", nil, attr)
	if err != nil {
		return nil, fail("mount", "own procfs", err)
	}
	null, err := newNull()
	if err != nil {
		unix.Close(proc)
		return nil, fail("make", "null device", err)
	}
	s := &self{proc: proc, null: null, host: ownHost()}
	if s.copy, err = dumpable(proc); err != nil {
		unix.Close(proc)
		unix.Close(null)
		return nil, fail("read", "fs.suid_dumpable", err)
	}
	s.warm()
	return s, nil
}

// newNull opens a null device in a tmpfs that nothing else ever sees.
func newNull() (int, error) {
	tmp, err := mount.New("tmpfs", "varve", nil, unix.MOUNT_ATTR_NOSUID)
	if err != nil {
		return -1, err
	}
	defer unix.Close(tmp)
	if err := unix.Mknodat(tmp, "null", unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))); err != nil {
		return -1, err
	}
	null, err := unix.Openat(tmp, "null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil || null >= program.FirstFree {
		return null, err
	}
	defer unix.Close(null)
	return unix.FcntlInt(uintptr(null), unix.F_DUPFD_CLOEXEC, program.FirstFree)
}

// dumpable reports whether a process here becomes dumpable by a change of its
// user (fs.suid_dumpable is 1, a setting for debugging): a child that has made
// one must then not have our memory.
func dumpable(proc int) (bool, error) {
	fd, err := unix.Openat(proc, "sys/fs/suid_dumpable", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false, err
	}
	defer unix.Close(fd)
	var text [1]byte
	if _, err := unix.Read(fd, text[:]); err != nil {
		return false, err
	}
	return text[0] == '1', nil
}

// ownHost reads the capability bounding set of this process.
func ownHost() (h program.Host) {
	for c := range 64 {
		v, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(c), 0, 0, 0)
		if err != nil {
			break // beyond the kernel's last capability
		}
		h.Bounding |= uint64(v) << c
		h.All |= 1 << c
	}
	return h
}

// fail makes a StepError out of whatever a step returned.
func fail(step, object string, err error) *StepError {
	e := &StepError{Step: step, Object: object}
	var known *StepError
	var program *program.Failure
	var refused *mount.Error
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &program):
		e.Step, e.Object, e.Errno = program.Step, program.Object, program.Errno
	case errors.As(err, &refused):
		e.Errno, e.Detail = refused.Errno, refused.Text
	case !errors.As(err, &e.Errno):
		e.Detail = err.Error()
	}
	return e
}

// cgroupFiles opens what a program needs to enter cgroups: tasks of each v1
// directory and the v2 directory itself. Not cgroup.procs: a write of "0" to
// tasks moves the writing thread, which in a child of clone is the whole
// process, without cgroup_threadgroup_rwsem, whose write side waits for an RCU
// grace period (milliseconds) whenever it was not taken a moment ago.
func cgroupFiles(bag *fd.Bag, v1 []string, v2 string) (procs []int, dir int, err error) {
	for _, path := range v1 {
		f, err := unix.Open(path+"/tasks", unix.O_WRONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, -1, fail("open cgroup", path, err)
		}
		procs = append(procs, bag.Add(f))
	}
	if v2 == "" {
		return procs, program.NoCgroup, nil
	}
	dir, err = unix.Open(v2, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, -1, fail("open cgroup", v2, err)
	}
	return procs, bag.Add(dir), nil
}
