package seccomp

import (
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Arguments are 64 bits wide and BPF's words 32: on the little-endian machines
// that this package knows, the low word of an argument comes first.
func lowWord(c cond) uint32  { return offsetArgs + 8*uint32(c.index) }
func highWord(c cond) uint32 { return lowWord(c) + 4 }

// compare finds the BPF comparison for an operator: some exist only the other
// way round.
func compare(op specs.LinuxSeccompOperator) (code uint16, inverted bool) {
	switch op {
	case specs.OpGreaterThan:
		return opGreat, false
	case specs.OpGreaterEqual:
		return opGreatE, false
	case specs.OpLessThan:
		return opGreatE, true
	case specs.OpLessEqual:
		return opGreat, true
	case specs.OpNotEqual:
		return opEqual, true
	default:
		return opEqual, false
	}
}

// narrowCond writes a condition for an architecture whose arguments are 32
// bits wide; like libseccomp it looks at the low word of both sides.
func (b *builder) narrowCond(c cond, yes, no label) label {
	code, inverted := compare(c.op)
	if inverted {
		yes, no = no, yes
	}
	test := b.branch(code, uint32(c.value), yes, no)
	if c.op == specs.OpMaskedEqual {
		test = b.and(uint32(c.mask), test)
	}
	return b.load(lowWord(c), test)
}

// wideCond writes a condition on a whole 64-bit argument.
func (b *builder) wideCond(c cond, yes, no label) label {
	code, inverted := compare(c.op)
	if inverted {
		yes, no = no, yes
	}
	high, low := uint32(c.value>>32), uint32(c.value)
	if c.op == specs.OpMaskedEqual {
		test := b.load(lowWord(c), b.and(uint32(c.mask), b.branch(opEqual, low, yes, no)))
		return b.load(highWord(c), b.and(uint32(c.mask>>32), b.branch(opEqual, high, test, no)))
	}
	test := b.load(lowWord(c), b.branch(code, low, yes, no))
	test = b.branch(opEqual, high, test, no)
	if code != opEqual {
		test = b.branch(opGreat, high, yes, test)
	}
	return b.load(highWord(c), test)
}
