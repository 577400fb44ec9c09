package program

import (
	"strconv"
	"strings"
)

func quote(s string) string { return strconv.Quote(s) }

// String prints the program, one call a line, for people and for golden
// files. Descriptors are printed as their roles and registers as $n.
func (p *Program) String() string {
	var b strings.Builder
	for i := range p.ops {
		p.ops[i].print(&b, i)
	}
	return b.String()
}

func (o *Op) print(b *strings.Builder, index int) {
	at := strconv.Itoa(index)
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
		b.WriteString(a.print())
	}
	b.WriteByte(')')
	for _, s := range o.On {
		b.WriteString("  " + errnoName(s.Errno) + ": +" + strconv.Itoa(s.N))
	}
	if o.SkipOK > 0 {
		b.WriteString("  ok: +" + strconv.Itoa(o.SkipOK))
	}
	b.WriteString("  # " + o.Step)
	if o.Object != "" {
		b.WriteString(" " + o.Object)
	}
	b.WriteByte('\n')
}

func (r Reg) print() string { return "$" + strconv.Itoa(int(r)) }

func (a Arg) print() string {
	switch a.kind {
	case register:
		return a.reg.print()
	case vector:
		quoted := make([]string, len(a.list))
		for i, s := range a.list {
			quoted[i] = quote(s)
		}
		return "[" + strings.Join(quoted, " ") + "]"
	case filter:
		return "{" + strconv.Itoa(len(a.buf)/filterSize) + " instructions}"
	}
	return a.text
}
