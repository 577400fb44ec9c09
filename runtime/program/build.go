package program

import (
	"encoding/binary"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// builder appends calls under the step and object that were set last. What
// it allocates, it allocates by the hundred: a fresh process pays for every
// new page.
type builder struct {
	ops          []Op
	args         []Arg
	lists        [][]string
	data         []byte
	size         int // of all data, in however many pieces
	step, object string
	second       int // the first call of the second process; 0 when there is none

	made  Program
	image image
}

// spare is the memory of a program that is over. A shim makes programs one
// after the other for as long as its container runs, some of them every few
// seconds (exec probes): with it, they leave no garbage, and the first
// collection alone costs a shim half of its memory in tables of the Go
// runtime's.
var spare atomic.Pointer[builder]

// roomy is how many calls the longest usual program has: a container's with
// what Kubernetes has masked.
const roomy = 176

// maxKept bounds what a spare keeps for texts. Few processes have more.
const maxKept = 16 << 10

// newBuilder returns an empty builder with room for this many calls.
func newBuilder(ops int) *builder {
	b := spare.Swap(nil)
	if b == nil {
		return &builder{ops: make([]Op, 0, ops), args: make([]Arg, 0, 3*ops+ops/4), data: make([]byte, 0, 4096)}
	}
	return b
}

func (b *builder) program() *Program {
	b.made = Program{ops: b.ops, lists: b.lists, second: b.second, from: b}
	return &b.made
}

// release makes b the spare, without anything of what it was filled with.
func (b *builder) release() {
	if room := min(b.size, maxKept); room > cap(b.data) {
		b.data = make([]byte, room)
	}
	clear(b.ops)
	clear(b.args)
	clear(b.lists)
	clear(b.data)
	b.ops, b.args, b.lists, b.data = b.ops[:0], b.args[:0], b.lists[:0], b.data[:0]
	b.size, b.step, b.object, b.second, b.made = 0, "", "", 0, Program{}
	b.image.reset()
	spare.Store(b)
}

func (b *builder) on(step, object string) { b.step, b.object = step, object }

// call appends a call; the pointer is good until the next one.
func (b *builder) call(nr uintptr, name string, args ...Arg) *Op {
	n := len(b.args)
	b.args = append(b.args, args...)
	b.ops = append(b.ops, Op{
		Step: b.step, Object: b.object,
		Call: Call{Nr: nr, Name: name}, Args: b.args[n:len(b.args):len(b.args)],
	})
	return &b.ops[len(b.ops)-1]
}

func (o *Op) to(r Reg) *Op {
	o.Out = r
	return o
}

// skip adds an error that is none.
func (o *Op) skip(n uint16, e unix.Errno) *Op {
	at := 0
	if o.On[at].Errno != 0 {
		at = 1
	}
	o.On[at] = Skip{Errno: uint16(e), N: n}
	return o
}

// bytes returns size zero bytes that stay where they are.
func (b *builder) bytes(size int) []byte {
	if len(b.data)+size > cap(b.data) {
		b.data = make([]byte, 0, max(4096, size))
	}
	n := len(b.data)
	b.data, b.size = b.data[:n+size], b.size+size
	return b.data[n : n+size : n+size]
}

func (b *builder) text(s string) Arg {
	buf := b.bytes(len(s))
	copy(buf, s)
	return raw(buf, plain)
}

// str is a C string. A zero byte would cut it short silently; Run refuses
// such a program.
func (b *builder) str(s string) Arg {
	buf := b.bytes(len(s) + 1)
	copy(buf, s)
	return raw(buf, cString)
}

// strs is an array of strings.
func (b *builder) strs(list []string) Arg {
	b.lists = append(b.lists, list)
	return Arg{kind: vector, num: uint64(len(b.lists) - 1)}
}

func (b *builder) words(f form, size int, v ...uint64) Arg {
	buf := b.bytes(size)
	for i, w := range v {
		binary.NativeEndian.PutUint64(buf[8*i:], w)
	}
	return raw(buf, f)
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

// dup gives a descriptor the number that the executed program knows it by.
func (b *builder) dup(from Arg, to uint64, keep bool) *Op {
	flag := num(0)
	if !keep {
		flag = name(unix.O_CLOEXEC, "CLOEXEC")
	}
	return b.call(unix.SYS_DUP3, "dup3", from, num(to), flag)
}

// write writes the text to a descriptor in one call.
func (b *builder) write(to Arg, text string) {
	b.call(unix.SYS_WRITE, "write", to, b.text(text), num(uint64(len(text))))
}

// openAt appends an openat2 of path below dir.
func (b *builder) openAt(dir Arg, path string, flags, resolve uint64) *Op {
	how := b.words(openHow, 24, flags|unix.O_CLOEXEC, 0, resolve)
	return b.call(unix.SYS_OPENAT2, "openat2", dir, b.str(path), how, num(24))
}

// setAttr appends a mount_setattr of the mount in m.
func (b *builder) setAttr(m Arg, set uint64, recursive bool) *Op {
	at := uint64(unix.AT_EMPTY_PATH)
	if recursive {
		at |= unix.AT_RECURSIVE
	}
	return b.call(unix.SYS_MOUNT_SETATTR, "mount_setattr", m, noPath, as(at, atBits),
		b.words(mountAttr, 32, set), num(32))
}

// clone appends an open_tree that copies the mount at dir.
func (b *builder) clone(dir Arg, recursive bool) *Op {
	flags := uint64(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC | unix.AT_EMPTY_PATH)
	if recursive {
		flags |= unix.AT_RECURSIVE
	}
	return b.call(unix.SYS_OPEN_TREE, "open_tree", dir, noPath, as(flags, atBits))
}

// attach appends a move_mount of the detached mount m onto t.
func (b *builder) attach(m, t Arg) *Op {
	return b.call(unix.SYS_MOVE_MOUNT, "move_mount", m, noPath, t, noPath,
		name(unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH, "EMPTY"))
}
