package program

import (
	"strings"

	"github.com/varve-cri/varve/runtime/plan"
	"golang.org/x/sys/unix"
)

const (
	inRoot = unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS
	inProc = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS
)

// proc mounts procfs, which shows the PID namespace of the process that
// makes it, so the child has to (pidns= is of Linux 6.17), and then the bind
// mounts that lie in it.
func (b *builder) proc(m *plan.Mount, f Files) {
	b.on("mount", "proc on "+m.Target)
	b.call(unix.SYS_FSOPEN, "fsopen", str("proc"), num(unix.FSOPEN_CLOEXEC, "CLOEXEC")).to(context)
	config := func(cmd uint64, name string, args ...Arg) {
		b.call(unix.SYS_FSCONFIG, "fsconfig", append([]Arg{from(context), num(cmd, name)}, args...)...)
	}
	config(unix.FSCONFIG_SET_STRING, "SET_STRING", str("source"), str("proc"), zero)
	for _, o := range m.Data {
		if key, value, ok := strings.Cut(o, "="); ok {
			config(unix.FSCONFIG_SET_STRING, "SET_STRING", str(key), str(value), zero)
		} else {
			config(unix.FSCONFIG_SET_FLAG, "SET_FLAG", str(key), zero, zero)
		}
	}
	config(unix.FSCONFIG_CMD_CREATE, "CREATE", zero, zero, zero)
	b.call(unix.SYS_FSMOUNT, "fsmount", from(context), num(unix.FSMOUNT_CLOEXEC, "CLOEXEC"),
		num(m.AttrSet, flagText(m.AttrSet, attrFlags))).to(procMount)
	b.attach(from(procMount), fd(f.ProcTarget, "proc"))
	for _, below := range f.BelowProc {
		b.on("mount", m.Target+"/"+below.Target)
		b.openAt(from(procMount), below.Target, unix.O_PATH, inProc).to(target)
		b.attach(fd(below.Source, "source"), from(target))
	}
}

// open resolves a path of the container: what lies in procfs from the
// descriptor of that very mount, which nothing can stand in for
// (CVE-2025-52881), all else from the root.
func (b *builder) open(path string, flags uint64, proc bool) *Op {
	if rest, ok := strings.CutPrefix(path, "/proc/"); ok && proc {
		return b.openAt(from(procMount), rest, flags, inProc).to(target)
	}
	return b.openAt(cwd, path, flags, inRoot).to(target)
}

// readonly mounts path onto itself, read-only with all below. A path that
// does not exist needs no protection.
func (b *builder) readonly(path string, proc bool) {
	b.on("make read-only", path)
	b.open(path, unix.O_PATH, proc).skip(3, unix.ENOENT, unix.ENOTDIR)
	b.clone(from(target), true).to(source)
	b.setAttr(from(source), unix.MOUNT_ATTR_RDONLY, true)
	b.attach(from(source), from(target))
}

// mask hides path: a directory behind an empty read-only one, anything else
// behind the null device. The sources are verified descriptors, never the
// image's /dev/null (CVE-2025-31133).
func (b *builder) mask(path string, f Files) {
	const attr = unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC
	proc := f.ProcTarget >= 0
	b.on("mask", path)
	b.open(path, unix.O_PATH|unix.O_DIRECTORY, proc).skip(6, unix.ENOENT).skip(3, unix.ENOTDIR)
	b.clone(fd(f.Empty, "empty"), false).to(source)
	b.setAttr(from(source), attr, false)
	b.attach(from(source), from(target)).SkipOK = 3
	b.open(path, unix.O_PATH, proc).skip(2, unix.ENOENT, unix.ENOTDIR)
	b.clone(fd(f.Null, "null"), false).to(source)
	b.attach(from(source), from(target))
}

// detach takes the waiting space's root away from above the container's.
func (b *builder) detach(oldRoot int) {
	b.on("detach", "the waiting root")
	b.call(unix.SYS_FCHDIR, "fchdir", fd(oldRoot, "old root"))
	b.call(unix.SYS_UMOUNT2, "umount2", str("."), num(unix.MNT_DETACH, "DETACH"))
	b.call(unix.SYS_CHDIR, "chdir", str("/"))
}
