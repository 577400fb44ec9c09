package program

import (
	"encoding/binary"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// String prints the program, one call a line, for people and for golden
// files. Descriptors are printed as their roles and registers as $n.
func (p *Program) String() string {
	var b strings.Builder
	for i := range p.ops {
		if i > 0 && i == p.second {
			b.WriteString("     clone(PARENT|SIGCHLD): the second process goes on, the first ends\n")
		}
		p.ops[i].print(&b, i, p.lists)
	}
	return b.String()
}

func (o *Op) print(b *strings.Builder, index int, lists [][]string) {
	at := itoa(index)
	b.WriteString(strings.Repeat(" ", max(0, 3-len(at))) + at + "  ")
	if o.Unless != 0 {
		b.WriteString("unless " + o.Unless.print() + " ")
	}
	if o.Out != 0 {
		b.WriteString(o.Out.print() + " = ")
	}
	b.WriteString(o.Call.Name)
	b.WriteByte('(')
	for i, a := range o.Args {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(a.print(lists))
	}
	b.WriteByte(')')
	for _, s := range o.On {
		if s.Errno != 0 {
			b.WriteString("  " + errnoName(unix.Errno(s.Errno)) + ": +" + itoa(int(s.N)))
		}
	}
	if o.SkipOK > 0 {
		b.WriteString("  ok: +" + itoa(int(o.SkipOK)))
	}
	b.WriteString("  # " + strings.TrimRight(o.Step+" "+o.Object, " ") + "\n")
}

func (r Reg) print() string { return "$" + itoa(int(r)) }

func (a Arg) print(lists [][]string) string {
	switch a.kind {
	case register:
		return a.reg.print()
	case vector:
		quoted := make([]string, len(lists[a.num]))
		for i, s := range lists[a.num] {
			quoted[i] = strconv.Quote(s)
		}
		return "[" + strings.Join(quoted, " ") + "]"
	case filter:
		return "{" + itoa(int(a.num)/filterSize) + " instructions}"
	case buffer:
		return a.printBuffer()
	}
	switch a.form {
	case octal:
		return "0" + strconv.FormatUint(a.num, 8)
	case named:
		return a.text
	case role:
		return "@" + a.text
	case hex:
		return "0x" + strconv.FormatUint(a.num, 16)
	case atBits:
		return flagText(a.num, atFlags)
	case attrBits:
		return flagText(a.num, attrFlags)
	case namespaceBits:
		return flagText(a.num, namespaceFlags)
	}
	return strconv.FormatUint(a.num, 10)
}

func (a Arg) printBuffer() string {
	buf := a.bytes()
	word := func(i int) uint64 { return binary.NativeEndian.Uint64(buf[8*i:]) }
	half := func(i int) uint64 { return uint64(binary.NativeEndian.Uint32(buf[4*i:])) }
	digits := func(v uint64) string { return strconv.FormatUint(v, 16) }
	switch a.form {
	case cString:
		return strconv.Quote(string(buf[:len(buf)-1]))
	case plain:
		return strconv.Quote(string(buf))
	case openHow:
		return "{" + flagText(word(0), openFlags) + " " + flagText(word(2), resolveFlags) + "}"
	case mountAttr:
		return "{" + flagText(word(0), attrFlags) + "}"
	case limits:
		return "{" + limit(word(0)) + " " + limit(word(1)) + "}"
	case capData:
		return "{eff " + digits(half(3)<<32|half(0)) + " perm " + digits(half(4)<<32|half(1)) + " inh " + digits(half(5)<<32|half(2)) + "}"
	case groups:
		text := make([]string, len(buf)/4)
		for i := range text {
			text[i] = strconv.FormatUint(half(i), 10)
		}
		return "[" + strings.Join(text, " ") + "]"
	}
	return a.text
}
