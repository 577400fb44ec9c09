package program

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
	Args         []Arg   // missing ones are 0
	Out          Reg     // gets the result
	Unless       Reg     // leaves the call out when this register is not 0
	On           [2]Skip // errors that are none
	SkipOK       uint16  // how many following calls to leave out after success
}

// Skip says that Errno is not an error of the call, and how many calls to
// leave out when it comes. The zero Skip says nothing.
type Skip struct {
	Errno uint16 // a unix.Errno
	N     uint16
}

// Call is a system call's number and name.
type Call struct {
	Nr   uintptr
	Name string
}

// Arg is one argument. A program is built on the start path and hardly ever
// printed, so an Arg holds what its text is made from, not the text.
type Arg struct {
	kind argKind
	form form
	reg  Reg
	num  uint64
	text string // form's parameter
	at   *byte  // a buffer of num bytes
}

type argKind uint8

const (
	number   argKind = iota
	register         // the value of reg
	buffer           // the address of at
	vector           // the address of a NULL-terminated array of the program's list num
	filter           // the address of a struct sock_fprog over at
)

// form is how an argument is printed.
type form uint8

const (
	decimal form = iota
	octal
	named // text
	role  // a descriptor: @text
	hex
	atBits        // flags of open_tree and AT_
	attrBits      // MOUNT_ATTR_
	namespaceBits // CLONE_NEW
	cString       // the buffer up to its zero byte, quoted
	plain         // the buffer, quoted
	openHow       // struct open_how
	mountAttr     // attr_set of struct mount_attr
	limits        // struct rlimit64
	groups        // gid_t array
	capData       // struct __user_cap_data_struct[2]
)

func num(n uint64) Arg               { return Arg{num: n} }
func name(n uint64, text string) Arg { return Arg{num: n, form: named, text: text} }

// fd prints the descriptor's role, not its number, which differs from run to
// run.
func fd(n int, what string) Arg { return Arg{num: uint64(n), form: role, text: what} }

// as prints the number in the given form.
func as(n uint64, f form) Arg { return Arg{num: n, form: f} }

func from(r Reg) Arg            { return Arg{kind: register, reg: r} }
func raw(b []byte, as form) Arg { return Arg{kind: buffer, form: as}.with(b) }
func bpf(prog []byte) Arg       { return Arg{kind: filter}.with(prog) }
func opaque(b []byte, text string) Arg {
	return Arg{kind: buffer, form: named, text: text}.with(b)
}

var (
	cwd    = name(1<<64-100, "AT_FDCWD")
	noPath = raw([]byte{0}, cString)
)
