package seccomp

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Offsets in struct seccomp_data.
const (
	offsetNumber = 0
	offsetArch   = 4
	offsetArgs   = 16
)

// Compile turns a profile into the struct sock_filter array that seccomp(2)
// takes, in little-endian order, and the SECCOMP_FILTER_FLAG_* to install it
// with. goarch is the machine's architecture in Go's words ("amd64", "arm64").
func Compile(p *specs.LinuxSeccomp, goarch string) (prog []byte, flags uint32, err error) {
	prog, flags, err = compile(p, goarch)
	if err != nil {
		return nil, 0, fmt.Errorf("seccomp profile: %w", err)
	}
	return prog, flags, nil
}

func compile(p *specs.LinuxSeccomp, goarch string) ([]byte, uint32, error) {
	admitted, err := arches(p.Architectures, goarch)
	if err != nil {
		return nil, 0, err
	}
	read, err := read(p)
	if err != nil {
		return nil, 0, err
	}
	flags, err := filterFlags(p, read.notifies)
	if err != nil {
		return nil, 0, err
	}
	b := &builder{program: newProgram(), profile: read, chains: make(map[string]label)}
	b.dispatch(admitted)
	prog, err := b.bytes()
	if err != nil {
		return nil, 0, err
	}
	return prog, flags, nil
}

// builder writes one filter.
type builder struct {
	*program
	profile *profile
	chains  map[string]label // equal lists of rules are written once
}

// target is what a number leads to: a place in the program, or, when there are
// no conditions to look at, an action.
type target struct {
	ret   uint32
	chain label // of a list of rules; noChain when ret decides alone
}

const noChain label = -1

// span says what is done with the numbers from first up to the next span's.
type span struct {
	first  uint32
	target target
}

// dispatch writes the whole filter: which architecture, then which number. A
// token stands for one table, but that of x86_64 for two: x32 has its own
// half of the numbers.
func (b *builder) dispatch(admitted []*arch) {
	byToken := make(map[uint32][]*arch)
	var tokens []uint32
	for _, a := range admitted {
		if byToken[a.token] == nil {
			tokens = append(tokens, a.token)
		}
		byToken[a.token] = append(byToken[a.token], a)
	}
	entry := b.ret(retKillThread)
	for _, token := range slices.Backward(tokens) {
		table := b.load(offsetNumber, b.tree(b.spans(byToken[token])))
		entry = b.branch(opEqual, token, table, entry)
	}
	b.load(offsetArch, entry)
}

// spans divides all numbers among what is to be done with them. The tables'
// numbers do not overlap: x32's have a bit of their own.
func (b *builder) spans(tables []*arch) []span {
	fallback, unknown := target{b.profile.ret, noChain}, target{b.unknown(), noChain}
	var marks, calls []span
	for _, a := range tables {
		base := uint32(0)
		if a.name == specs.ArchX32 {
			base = x32Bit
		}
		top := highest(a) | base
		marks = append(marks, span{base, fallback}, span{top + 1, unknown})
		if a.name == specs.ArchX86_64 {
			// The number -1, by which a tracer skips a call, must not look like an x32 call.
			marks = append(marks, span{x32Bit, target{retKillThread, noChain}}, span{^uint32(0), unknown})
		}
		byNumber := b.profile.numbered(a)
		for _, nr := range slices.Sorted(maps.Keys(byNumber)) {
			after := fallback
			if nr >= top {
				after = unknown
			}
			marks = append(marks, span{nr + 1, after})
			calls = append(calls, span{nr, b.target(byNumber[nr], a.narrow)})
		}
	}
	return settled(append(marks, calls...))
}

// settled orders spans by number. Of those that begin at the same number the
// last one counts, and neighbours with the same target become one.
func settled(spans []span) []span {
	slices.SortStableFunc(spans, func(a, b span) int { return cmp.Compare(a.first, b.first) })
	var out []span
	for i, s := range spans {
		if i+1 < len(spans) && spans[i+1].first == s.first {
			continue
		}
		if n := len(out); n == 0 || out[n-1].target != s.target {
			out = append(out, s)
		}
	}
	return out
}

// highest returns the highest number of a's table that lies in its common
// range: ARM has a few far above all others.
func highest(a *arch) uint32 {
	var top uint32
	for _, nr := range a.numbers {
		if nr&^uint32(x32Bit) < 0x0f0000 {
			top = max(top, nr)
		}
	}
	return top
}

// unknown is what is done with numbers that this build has no name for.
func (b *builder) unknown() uint32 {
	if b.profile.ret&0xffff0000 == retErrno {
		return retErrno | uint32(unix.ENOSYS)
	}
	return b.profile.ret
}

// tree writes a balanced search for the span that the number lies in.
func (b *builder) tree(spans []span) label {
	if len(spans) == 1 {
		if t := spans[0].target; t.chain != noChain {
			return t.chain
		}
		return b.ret(spans[0].target.ret)
	}
	mid := len(spans) / 2
	above := b.tree(spans[mid:])
	below := b.tree(spans[:mid])
	return b.branch(opGreatE, spans[mid].first, above, below)
}

// target writes the rules of one call, first to last, and the default action
// behind them.
func (b *builder) target(rules []rule, narrow bool) target {
	if len(rules[0].conds) == 0 {
		return target{rules[0].ret, noChain}
	}
	key := fmt.Sprint(narrow, rules)
	if l, ok := b.chains[key]; ok {
		return target{chain: l}
	}
	next := b.ret(b.profile.ret)
	for _, r := range slices.Backward(rules) {
		hit := b.ret(r.ret)
		for _, c := range slices.Backward(r.conds) {
			if narrow {
				hit = b.narrowCond(c, hit, next)
			} else {
				hit = b.wideCond(c, hit, next)
			}
		}
		next = hit
	}
	b.chains[key] = next
	return target{chain: next}
}
