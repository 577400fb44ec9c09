package program

import "golang.org/x/sys/unix"

// Reg is a register of the child. The zero Reg is "none"; registers start
// out as 0, which no call of a program returns as a descriptor.
type Reg uint8

// errPipe always holds the descriptor on which the child reports an error.
const errPipe Reg = 1

// registers is how many there are, with "none".
const registers = 16

// Op is one system call of a program.
type Op struct {
	Step, Object string // what it is for, in words: the parts of an error
	Call         Call
	Args         []Arg
	Out          Reg    // gets the result
	Unless       Reg    // leaves the call out when this register is not 0
	On           []Skip // errors that are none
	SkipOK       int    // how many following calls to leave out after success
}

// Skip says that Errno is not an error of the call, and how many calls to
// leave out when it comes.
type Skip struct {
	Errno unix.Errno
	N     int
}

// Call is a system call's number and name.
type Call struct {
	Nr   uintptr
	Name string
}

// Arg is one argument.
type Arg struct {
	kind argKind
	num  uintptr
	reg  Reg
	buf  []byte
	list []string
	cstr bool   // buf is text that ends at its only zero byte
	text string // how it is printed
}

type argKind uint8

const (
	number   argKind = iota
	register         // the value of reg
	buffer           // the address of buf
	vector           // the address of a NULL-terminated array of the strings in list
	filter           // the address of a struct sock_fprog over buf
)

func num(n uint64, text string) Arg { return Arg{kind: number, num: uintptr(n), text: text} }
func signed(n int64, text string) Arg {
	return Arg{kind: number, num: uintptr(n), text: text}
}
func from(r Reg) Arg                { return Arg{kind: register, reg: r} }
func raw(b []byte, text string) Arg { return Arg{kind: buffer, buf: b, text: text} }
func strs(list []string) Arg        { return Arg{kind: vector, list: list} }
func bpf(prog []byte) Arg           { return Arg{kind: filter, buf: prog} }

// str is a C string. A zero byte would cut it short silently; Run refuses
// such a program.
func str(s string) Arg {
	return Arg{kind: buffer, buf: append([]byte(s), 0), cstr: true, text: quote(s)}
}

// fd prints the descriptor's role, not its number, which differs from run to
// run.
func fd(n int, role string) Arg { return signed(int64(n), "@"+role) }

var (
	cwd  = signed(unix.AT_FDCWD, "AT_FDCWD")
	zero = num(0, "0")
)
