package seccomp

import (
	"math/rand/v2"
	"slices"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// naive answers what doc.go promises for one system call, reading the OCI
// profile itself, without any of the compiler's steps but the table.
func naive(p *specs.LinuxSeccomp, goarch string, d data) uint32 {
	table, known := admittedTable(p, goarch, d)
	if !known {
		return retKillThread
	}
	fallback := naiveAction(p.DefaultAction, p.DefaultErrnoRet)
	if table == nil || d.nr > highest(table) && !namesCall(p, table, d.nr, fallback) {
		if p.DefaultAction == specs.ActErrno {
			return errno(unix.ENOSYS)
		}
		return fallback
	}
	answer, decided := fallback, false
	for _, s := range p.Syscalls {
		got := naiveAction(s.Action, s.ErrnoRet)
		if got == fallback {
			continue
		}
		for _, name := range s.Names {
			n, has := table.numbers[name]
			if has && n == d.nr && len(s.Args) == 0 {
				return got
			}
			if has && n == d.nr && !decided && naiveMatch(s.Args, d, table.narrow) {
				answer, decided = got, true
			}
			if m, ok := table.muxed[name]; ok && len(s.Args) == 0 && table.numbers[m.call] == d.nr && !decided && uint32(d.args[0]) == uint32(m.arg) {
				answer, decided = got, true
			}
		}
	}
	return answer
}

// namesCall says whether the profile has a rule for a number.
func namesCall(p *specs.LinuxSeccomp, table *arch, nr, fallback uint32) bool {
	for _, s := range p.Syscalls {
		for _, name := range s.Names {
			if n, ok := table.numbers[name]; ok && n == nr && naiveAction(s.Action, s.ErrnoRet) != fallback {
				return true
			}
		}
	}
	return false
}

// admittedTable finds the table that a call is looked up in.
func admittedTable(p *specs.LinuxSeccomp, goarch string, d data) (table *arch, known bool) {
	for i, a := range machines()[goarch] {
		if a.token != d.arch || i > 0 && !slices.Contains(p.Architectures, a.name) {
			continue
		}
		x32 := d.nr >= x32Bit && a.token == auditX8664
		if d.nr == ^uint32(0) && a.token == auditX8664 {
			return nil, true
		}
		if x32 == (a.name == specs.ArchX32) {
			return a, true
		}
	}
	return nil, false
}

func naiveAction(a specs.LinuxSeccompAction, e *uint) uint32 {
	data := uint32(1)
	if e != nil {
		data = uint32(*e)
	}
	return map[specs.LinuxSeccompAction]uint32{
		specs.ActAllow: 0x7fff0000, specs.ActErrno: 0x00050000 | data, specs.ActTrace: 0x7ff00000 | data, specs.ActKill: 0,
		specs.ActKillThread: 0, specs.ActKillProcess: 0x80000000, specs.ActTrap: 0x00030000, specs.ActLog: 0x7ffc0000,
	}[a]
}

func naiveMatch(args []specs.LinuxSeccompArg, d data, narrow bool) bool {
	hits, seen, repeated := 0, map[uint]bool{}, false
	for _, a := range args {
		v, one, two := d.args[a.Index], a.Value, a.ValueTwo
		if narrow {
			v, one, two = v&0xffffffff, one&0xffffffff, two&0xffffffff
		}
		repeated = repeated || seen[a.Index]
		seen[a.Index] = true
		hit := map[specs.LinuxSeccompOperator]bool{
			specs.OpEqualTo: v == one, specs.OpNotEqual: v != one, specs.OpLessThan: v < one, specs.OpLessEqual: v <= one,
			specs.OpGreaterThan: v > one, specs.OpGreaterEqual: v >= one, specs.OpMaskedEqual: v&one == two&one,
		}[a.Op]
		if hit {
			hits++
		}
	}
	if repeated {
		return hits > 0
	}
	return hits == len(args)
}

// source makes profiles and calls out of a stream of numbers.
type source struct{ *rand.Rand }

func (r source) value() uint64 {
	v := []uint64{0, 1, 2, 5, 0x7fffffff, 0xffffffff, 1 << 32, 1<<32 + 1, 1 << 63, ^uint64(0)}
	return v[r.IntN(len(v))]
}

func (r source) profile() *specs.LinuxSeccomp {
	actions := []specs.LinuxSeccompAction{specs.ActAllow, specs.ActErrno, specs.ActTrace, specs.ActKill, specs.ActKillProcess, specs.ActTrap, specs.ActLog}
	ops := []specs.LinuxSeccompOperator{specs.OpEqualTo, specs.OpNotEqual, specs.OpLessThan, specs.OpLessEqual, specs.OpGreaterThan, specs.OpGreaterEqual, specs.OpMaskedEqual}
	names := []string{"read", "write", "open", "close", "clone", "clone3", "socket", "bind", "semop", "ioctl", "execve", "openat2", "breakpoint", "no_such_call", "recv", "mseal", "listns"}
	p := &specs.LinuxSeccomp{DefaultAction: actions[r.IntN(len(actions))]}
	for _, a := range []specs.Arch{specs.ArchX86_64, specs.ArchX86, specs.ArchX32, specs.ArchARM} {
		if r.IntN(2) == 0 {
			p.Architectures = append(p.Architectures, a)
		}
	}
	for range r.IntN(30) {
		s := specs.LinuxSyscall{Action: actions[r.IntN(len(actions))]}
		for range 1 + r.IntN(4) {
			s.Names = append(s.Names, names[r.IntN(len(names))])
		}
		if s.Action == specs.ActErrno && r.IntN(2) == 0 {
			s.ErrnoRet = ptr(uint(r.IntN(100)))
		}
		for range r.IntN(4) {
			s.Args = append(s.Args, specs.LinuxSeccompArg{Index: uint(r.IntN(6)), Value: r.value(), ValueTwo: r.value(), Op: ops[r.IntN(len(ops))]})
		}
		p.Syscalls = append(p.Syscalls, s)
	}
	return p
}

func (r source) call() data {
	tokens := []uint32{auditX8664, auditX8664, auditI386, auditAarch64, auditARM}
	bases := []uint32{0, 0, 0, x32Bit, x32Bit, ^uint32(520), 0x0f0000}
	d := data{arch: tokens[r.IntN(len(tokens))], nr: bases[r.IntN(len(bases))] + uint32(r.IntN(530))}
	for i := range d.args {
		d.args[i] = r.value()
	}
	return d
}

func agree(t *testing.T, seed uint64) {
	r := source{rand.New(rand.NewPCG(seed, 1))}
	p := r.profile()
	for _, goarch := range []string{"amd64", "arm64"} {
		vm := machineOf(t, mustCompile(t, p, goarch))
		for range 300 {
			d := r.call()
			if got, want := run(t, vm, d), naive(p, goarch, d); got != want {
				t.Fatalf("seed %d, %s, %+v: action %#x, want %#x\nprofile: %+v", seed, goarch, d, got, want, p)
			}
		}
	}
}

func TestAgainstNaive(t *testing.T) {
	for seed := range uint64(400) {
		agree(t, seed)
	}
}

func FuzzAgainstNaive(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(agree)
}

func TestDefaultProfileAgainstNaive(t *testing.T) {
	p, err := Default(specWith("CAP_CHOWN"))
	if err != nil {
		t.Fatal(err)
	}
	prog := mustCompile(t, p, "amd64")
	t.Logf("%d instructions", len(prog)/8)
	vm := machineOf(t, prog)
	r := source{rand.New(rand.NewPCG(7, 7))}
	for _, token := range []uint32{auditX8664, auditI386} {
		for nr := range uint32(600) {
			for _, base := range []uint32{0, x32Bit} {
				d := data{arch: token, nr: nr | base}
				for i := range d.args {
					d.args[i] = r.value()
				}
				if got, want := run(t, vm, d), naive(p, "amd64", d); got != want {
					t.Fatalf("%+v: action %#x, want %#x", d, got, want)
				}
			}
		}
	}
}
