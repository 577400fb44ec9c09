package seccomp

import (
	"errors"
	"fmt"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// maxArgs is the number of arguments that a system call has.
const maxArgs = 6

// rule is one way to decide about a system call: when all conditions hold,
// the filter returns ret.
type rule struct {
	conds []cond
	ret   uint32
}

// cond compares one argument, "masked" with mask if the operator says so.
type cond struct {
	index uint
	op    specs.LinuxSeccompOperator
	value uint64
	mask  uint64
}

// profile is a specs.LinuxSeccomp, checked, with the actions resolved.
type profile struct {
	calls    []call
	ret      uint32 // default
	notifies bool
}

// call is one entry of the profile's list.
type call struct {
	names []string
	rules []rule
}

// read checks a profile. Errors name the field.
func read(p *specs.LinuxSeccomp) (*profile, error) {
	ret, err := action(p.DefaultAction, p.DefaultErrnoRet)
	if err != nil {
		return nil, fmt.Errorf("defaultAction: %w", err)
	}
	if ret == retNotify {
		return nil, errors.New("defaultAction: SCMP_ACT_NOTIFY cannot be the default: the process could not even hand over the listener")
	}
	out := &profile{ret: ret, calls: make([]call, 0, len(p.Syscalls))}
	for i := range p.Syscalls {
		c, err := readCall(&p.Syscalls[i])
		if err != nil {
			return nil, fmt.Errorf("syscalls[%d]: %w", i, err)
		}
		if c.rules[0].ret == retNotify {
			out.notifies = true
		}
		// Such a rule says nothing new, and libseccomp's users leave it out too.
		// It must not shadow later rules either.
		if c.rules[0].ret != ret {
			out.calls = append(out.calls, c)
		}
	}
	if out.notifies && p.ListenerPath == "" {
		return nil, errors.New("SCMP_ACT_NOTIFY needs listenerPath, and there is none")
	}
	return out, nil
}

// readCall checks one entry of the list.
func readCall(s *specs.LinuxSyscall) (call, error) {
	if len(s.Names) == 0 {
		return call{}, errors.New("names is empty")
	}
	ret, err := action(s.Action, s.ErrnoRet)
	if err != nil {
		return call{}, err
	}
	if ret == retNotify {
		for _, name := range s.Names {
			// The container's init writes to its error pipe after the filter is in force.
			if name == "write" {
				return call{}, errors.New("SCMP_ACT_NOTIFY cannot be used for write")
			}
		}
	}
	conds, repeated := make([]cond, len(s.Args)), false
	var seen [maxArgs]bool
	for i, a := range s.Args {
		c, err := readCond(a)
		if err != nil {
			return call{}, fmt.Errorf("args[%d]: %w", i, err)
		}
		repeated = repeated || seen[c.index]
		seen[c.index] = true
		conds[i] = c
	}
	if !repeated {
		return call{s.Names, []rule{{conds, ret}}}, nil
	}
	rules := make([]rule, len(conds))
	for i := range conds {
		rules[i] = rule{conds[i : i+1], ret}
	}
	return call{s.Names, rules}, nil
}

// readCond checks one condition. For SCMP_CMP_MASKED_EQ, value is the mask and
// valueTwo what the masked argument must be; bits of it outside the mask do
// not count, as with libseccomp.
func readCond(a specs.LinuxSeccompArg) (cond, error) {
	if a.Index >= maxArgs {
		return cond{}, fmt.Errorf("index %d: a system call has %d arguments", a.Index, maxArgs)
	}
	switch a.Op {
	case specs.OpMaskedEqual:
		return cond{a.Index, a.Op, a.ValueTwo & a.Value, a.Value}, nil
	case specs.OpNotEqual, specs.OpLessThan, specs.OpLessEqual, specs.OpEqualTo, specs.OpGreaterEqual, specs.OpGreaterThan:
		return cond{index: a.Index, op: a.Op, value: a.Value}, nil
	case "":
		return cond{}, errors.New("op is missing")
	default:
		return cond{}, fmt.Errorf("op %q is not known", a.Op)
	}
}

// numbered sorts the profile's rules by the system call numbers of one
// architecture; names that it does not have are left out.
func (p *profile) numbered(a *arch) map[uint32][]rule {
	byNumber := make(map[uint32][]rule, len(a.numbers))
	add := func(nr uint32, rules []rule) {
		byNumber[nr] = joined(byNumber[nr], rules)
	}
	for _, c := range p.calls {
		for _, name := range c.names {
			if nr, ok := a.numbers[name]; ok {
				add(nr, c.rules)
			}
			m, ok := a.muxed[name]
			// A rule with conditions is not extended to the multiplexer, which hides
			// the arguments: an allow must not grow by it.
			if ok && len(c.rules[0].conds) == 0 {
				add(a.numbers[m.call], []rule{{[]cond{{index: 0, op: specs.OpEqualTo, value: m.arg}}, c.rules[0].ret}})
			}
		}
	}
	return byNumber
}

// joined adds rules to those that a call has: one without conditions replaces
// all that have some, and the first of its kind stays.
func joined(have, more []rule) []rule {
	switch {
	case len(have) > 0 && len(have[0].conds) == 0:
		return have
	case len(more[0].conds) == 0:
		return more
	default:
		return append(have[:len(have):len(have)], more...)
	}
}
