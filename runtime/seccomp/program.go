package seccomp

import (
	"encoding/binary"
	"fmt"
)

// The few instructions of classic BPF that a filter needs
// (include/uapi/linux/bpf_common.h).
const (
	opLoad   = 0x20 // BPF_LD | BPF_W | BPF_ABS
	opAnd    = 0x54 // BPF_ALU | BPF_AND | BPF_K
	opJump   = 0x05 // BPF_JMP | BPF_JA
	opEqual  = 0x15 // BPF_JMP | BPF_JEQ | BPF_K
	opGreat  = 0x25 // BPF_JMP | BPF_JGT | BPF_K
	opGreatE = 0x35 // BPF_JMP | BPF_JGE | BPF_K
	opReturn = 0x06 // BPF_RET | BPF_K
)

// maxProgram is BPF_MAXINSNS.
const maxProgram = 4096

// maxSkip is how far a conditional jump can go.
const maxSkip = 255

// instruction is a struct sock_filter.
type instruction struct {
	code   uint16
	jt, jf uint8
	k      uint32
}

// label is the place of an instruction, counted from the program's end.
type label int

// program is written from its last instruction to its first: BPF jumps only
// forward, so that every target is already in its place when a jump to it is
// made, and one that is too far can be mended on the spot.
type program struct {
	reversed []instruction
	returns  map[uint32]label // the nearest place that returns a value
}

func newProgram() *program {
	return &program{returns: make(map[uint32]label)}
}

// emit puts an instruction before all others.
func (p *program) emit(i instruction) label {
	p.reversed = append(p.reversed, i)
	return label(len(p.reversed) - 1)
}

// ret gives a place that returns the action.
func (p *program) ret(value uint32) label {
	if l, ok := p.returns[value]; ok {
		return l
	}
	l := p.emit(instruction{code: opReturn, k: value})
	p.returns[value] = l
	return l
}

// load puts a word of struct seccomp_data into the accumulator and goes on at next.
func (p *program) load(offset uint32, next label) label {
	p.near(&next, 0)
	return p.emit(instruction{code: opLoad, k: offset})
}

// and masks the accumulator and goes on at next.
func (p *program) and(mask uint32, next label) label {
	p.near(&next, 0)
	return p.emit(instruction{code: opAnd, k: mask})
}

// branch compares the accumulator with k.
func (p *program) branch(code uint16, k uint32, yes, no label) label {
	if yes == no {
		return yes
	}
	// Mending one jump moves the other target one further away.
	for again := true; again; {
		again = p.near(&yes, maxSkip) || p.near(&no, maxSkip)
	}
	at := len(p.reversed)
	return p.emit(instruction{code: code, jt: uint8(at - int(yes) - 1), jf: uint8(at - int(no) - 1), k: k})
}

// near makes sure that the next instruction can skip to target: when it is
// farther than limit, a step in between is put there and takes its place.
func (p *program) near(target *label, limit int) bool {
	skip := len(p.reversed) - int(*target) - 1
	if skip <= limit {
		return false
	}
	if far := p.reversed[*target]; far.code == opReturn {
		*target = p.emit(far)
		p.returns[far.k] = *target
		return true
	}
	*target = p.emit(instruction{code: opJump, k: uint32(skip)})
	return true
}

// bytes turns the program round and encodes it.
func (p *program) bytes() ([]byte, error) {
	n := len(p.reversed)
	if n > maxProgram {
		return nil, fmt.Errorf("program has %d instructions: the kernel takes %d", n, maxProgram)
	}
	out := make([]byte, 0, n*8)
	for i := n - 1; i >= 0; i-- {
		in := p.reversed[i]
		out = binary.LittleEndian.AppendUint16(out, in.code)
		out = append(out, in.jt, in.jf)
		out = binary.LittleEndian.AppendUint32(out, in.k)
	}
	return out, nil
}
