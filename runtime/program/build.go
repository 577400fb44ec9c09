package program

import (
	"golang.org/x/sys/unix"
)

// builder appends calls under the step and object that were set last.
type builder struct {
	ops          []Op
	step, object string
}

func (b *builder) on(step, object string) { b.step, b.object = step, object }

// call appends a call; the pointer is good until the next one.
func (b *builder) call(nr uintptr, name string, args ...Arg) *Op {
	b.ops = append(b.ops, Op{
		Step: b.step, Object: b.object,
		Call: Call{Nr: nr, Name: name}, Args: args,
	})
	return &b.ops[len(b.ops)-1]
}

func (o *Op) to(r Reg) *Op {
	o.Out = r
	return o
}

func (o *Op) skip(n int, errnos ...unix.Errno) *Op {
	for _, e := range errnos {
		o.On = append(o.On, Skip{Errno: e, N: n})
	}
	return o
}

// The registers by what they hold.
const (
	procMount Reg = iota + errPipe + 1
	context
	target
	source
	directory
	file
)

var noPath = str("")

func (b *builder) prctl(text string, args ...Arg) *Op {
	return b.call(unix.SYS_PRCTL, "prctl:"+text, args...)
}

// dup gives a descriptor the number that the executed program knows it by.
func (b *builder) dup(from Arg, to int, keep bool) *Op {
	flags := num(unix.O_CLOEXEC, "CLOEXEC")
	if keep {
		flags = zero
	}
	return b.call(unix.SYS_DUP3, "dup3", from, num(uint64(to), itoa(to)), flags)
}

// write writes the text to a descriptor in one call.
func (b *builder) write(to Arg, text string) *Op {
	return b.call(unix.SYS_WRITE, "write", to, raw([]byte(text), quote(text)), num(uint64(len(text)), itoa(len(text))))
}

// openAt appends an openat2 of path below dir.
func (b *builder) openAt(dir Arg, path string, flags, resolve uint64) *Op {
	how := make([]byte, 0, 24)
	how = append64(how, flags|unix.O_CLOEXEC)
	how = append64(how, 0)
	how = append64(how, resolve)
	text := flagText(flags, openFlags) + " " + flagText(resolve, resolveFlags)
	return b.call(unix.SYS_OPENAT2, "openat2", dir, str(path), raw(how, "{"+text+"}"), num(24, "24"))
}

// setAttr appends a mount_setattr of the mount in m.
func (b *builder) setAttr(m Arg, set uint64, recursive bool) *Op {
	attr := append64(append64(append64(append64(make([]byte, 0, 32), set), 0), 0), 0)
	at, text := uint64(unix.AT_EMPTY_PATH), "EMPTY"
	if recursive {
		at, text = at|unix.AT_RECURSIVE, "EMPTY|RECURSIVE"
	}
	return b.call(unix.SYS_MOUNT_SETATTR, "mount_setattr", m, noPath, num(at, text),
		raw(attr, "{"+flagText(set, attrFlags)+"}"), num(32, "32"))
}

// clone appends an open_tree that copies the mount at dir.
func (b *builder) clone(dir Arg, recursive bool) *Op {
	flags, text := uint64(unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH), "CLONE|EMPTY"
	if recursive {
		flags, text = flags|unix.AT_RECURSIVE, text+"|RECURSIVE"
	}
	return b.call(unix.SYS_OPEN_TREE, "open_tree", dir, noPath, num(flags, text))
}

// attach appends a move_mount of the detached mount m onto t.
func (b *builder) attach(m, t Arg) *Op {
	return b.call(unix.SYS_MOVE_MOUNT, "move_mount", m, noPath, t, noPath,
		num(unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH, "EMPTY"))
}
