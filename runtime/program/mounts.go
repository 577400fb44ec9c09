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
// makes it, so the child has to, and then the bind mounts that lie in it. A child
// outside of the container's PID namespace is given one.
func (b *builder) proc(m *plan.Mount, f Files) {
	b.on("mount", "proc on "+m.Target)
	if f.ProcMount >= 0 {
		b.call(unix.SYS_DUP, "dup", fd(f.ProcMount, "procfs")).to(procMount)
	} else {
		b.newProc(m)
	}
	b.attach(from(procMount), fd(f.ProcTarget, "proc"))
	for _, below := range f.BelowProc {
		b.on("mount", m.Target+"/"+below.Target)
		b.openAt(from(procMount), below.Target, unix.O_PATH, inProc).to(target)
		b.attach(fd(below.Source, "source"), from(target))
	}
}

func (b *builder) newProc(m *plan.Mount) {
	b.call(unix.SYS_FSOPEN, "fsopen", b.str("proc"), name(unix.FSOPEN_CLOEXEC, "CLOEXEC")).to(context)
	set := func(key, value string) {
		b.call(unix.SYS_FSCONFIG, "fsconfig", from(context), name(unix.FSCONFIG_SET_STRING, "SET_STRING"), b.str(key), b.str(value))
	}
	set("source", "proc")
	for _, o := range m.Data {
		if key, value, ok := strings.Cut(o, "="); ok {
			set(key, value)
		} else {
			b.call(unix.SYS_FSCONFIG, "fsconfig", from(context), name(unix.FSCONFIG_SET_FLAG, "SET_FLAG"), b.str(key))
		}
	}
	b.call(unix.SYS_FSCONFIG, "fsconfig", from(context), name(unix.FSCONFIG_CMD_CREATE, "CREATE"))
	b.call(unix.SYS_FSMOUNT, "fsmount", from(context), name(unix.FSMOUNT_CLOEXEC, "CLOEXEC"),
		as(m.AttrSet, attrBits)).to(procMount)
}

// open resolves a path of the container: what lies in procfs from the
// descriptor of that very mount, which nothing can stand in for
// (CVE-2025-52881), all else from the root.
func (b *builder) open(path string, flags uint64, f Files) *Op {
	if rest, ok := strings.CutPrefix(path, "/proc/"); ok && f.ProcTarget >= 0 {
		return b.openAt(from(procMount), rest, flags, inProc).to(target)
	}
	return b.openAt(cwd, path, flags, inRoot).to(target)
}

// readonly mounts path onto itself, read-only with all below. A path that
// does not exist needs no protection.
func (b *builder) readonly(path string, f Files) {
	b.on("make read-only", path)
	b.open(path, unix.O_PATH, f).skip(3, unix.ENOENT).skip(3, unix.ENOTDIR)
	b.clone(from(target), true).to(source)
	b.setAttr(from(source), unix.MOUNT_ATTR_RDONLY, true)
	b.attach(from(source), from(target))
}

// mask hides path: a directory behind an empty read-only one, anything else
// behind the null device. The sources are verified descriptors, never the
// image's /dev/null (CVE-2025-31133). Where it is not known which of the two
// path is, the child finds out.
func (b *builder) mask(path string, f Files) {
	b.on("mask", path)
	switch f.Known[path] {
	case Directory:
		b.open(path, unix.O_PATH|unix.O_DIRECTORY, f).skip(2, unix.ENOENT)
		b.cover(fd(f.Empty, "empty"))
	case Other:
		b.open(path, unix.O_PATH, f).skip(2, unix.ENOENT)
		b.cover(fd(f.Null, "null"))
	default:
		b.open(path, unix.O_PATH|unix.O_DIRECTORY, f).skip(5, unix.ENOENT).skip(2, unix.ENOTDIR)
		b.cover(fd(f.Empty, "empty")).SkipOK = 3
		b.open(path, unix.O_PATH, f).skip(2, unix.ENOENT).skip(2, unix.ENOTDIR)
		b.cover(fd(f.Null, "null"))
	}
}

// cover mounts a copy of what dir is onto the target.
func (b *builder) cover(dir Arg) *Op {
	b.clone(dir, false).to(source)
	return b.attach(from(source), from(target))
}
