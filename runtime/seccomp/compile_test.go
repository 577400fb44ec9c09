package seccomp

import (
	"encoding/binary"
	"math"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// data is a struct seccomp_data.
type data struct {
	arch, nr uint32
	args     [6]uint64
}

// machineOf loads a compiled filter into the interpreter of x/net/bpf. That one
// reads its packet in big-endian order, so run writes it that way.
func machineOf(t testing.TB, prog []byte) *bpf.VM {
	t.Helper()
	var raw []bpf.RawInstruction
	for ; len(prog) >= 8; prog = prog[8:] {
		raw = append(raw, bpf.RawInstruction{
			Op: binary.LittleEndian.Uint16(prog), Jt: prog[2], Jf: prog[3], K: binary.LittleEndian.Uint32(prog[4:]),
		})
	}
	instructions, ok := bpf.Disassemble(raw)
	if !ok {
		t.Fatal("program has instructions that the interpreter does not know")
	}
	vm, err := bpf.NewVM(instructions)
	if err != nil {
		t.Fatal(err)
	}
	return vm
}

func run(t testing.TB, vm *bpf.VM, d data) uint32 {
	t.Helper()
	packet := make([]byte, 64)
	binary.BigEndian.PutUint32(packet[0:], d.nr)
	binary.BigEndian.PutUint32(packet[4:], d.arch)
	for i, a := range d.args {
		binary.BigEndian.PutUint32(packet[16+8*i:], uint32(a))
		binary.BigEndian.PutUint32(packet[20+8*i:], uint32(a>>32))
	}
	got, err := vm.Run(packet)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(got)
}

func mustCompile(t testing.TB, p *specs.LinuxSeccomp, goarch string) []byte {
	t.Helper()
	prog, _, err := Compile(p, goarch)
	if err != nil {
		t.Fatal(err)
	}
	return prog
}

func ptr[T any](v T) *T { return &v }

func errno(e unix.Errno) uint32 { return retErrno | uint32(e) }

func TestOperators(t *testing.T) {
	const v = 0x1_0000_0005
	for _, tc := range []struct {
		op   specs.LinuxSeccompOperator
		arg  uint64
		want bool
	}{
		{specs.OpEqualTo, v, true}, {specs.OpEqualTo, 5, false}, {specs.OpEqualTo, v + 1, false},
		{specs.OpNotEqual, v, false}, {specs.OpNotEqual, 5, true}, {specs.OpNotEqual, v + 1<<40, true},
		{specs.OpLessThan, v, false}, {specs.OpLessThan, v - 1, true}, {specs.OpLessThan, 0xffffffff, true}, {specs.OpLessThan, 2 << 32, false},
		{specs.OpLessEqual, v, true}, {specs.OpLessEqual, v + 1, false}, {specs.OpLessEqual, 9, true}, {specs.OpLessEqual, math.MaxUint64, false},
		{specs.OpGreaterThan, v, false}, {specs.OpGreaterThan, v + 1, true}, {specs.OpGreaterThan, 0xffffffff, false}, {specs.OpGreaterThan, 2 << 32, true},
		{specs.OpGreaterEqual, v, true}, {specs.OpGreaterEqual, v - 1, false}, {specs.OpGreaterEqual, math.MaxUint64, true}, {specs.OpGreaterEqual, 0, false},
	} {
		p := &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{{
			Names: []string{"read"}, Action: specs.ActErrno, ErrnoRet: ptr(uint(unix.EBADF)),
			Args: []specs.LinuxSeccompArg{{Index: 5, Value: v, Op: tc.op}},
		}}}
		vm := machineOf(t, mustCompile(t, p, "amd64"))
		got := run(t, vm, data{arch: auditX8664, nr: 0, args: [6]uint64{5: tc.arg}})
		if (got == errno(unix.EBADF)) != tc.want || got != retAllow && got != errno(unix.EBADF) {
			t.Errorf("%#x %s %#x: action %#x, want a match: %v", tc.arg, tc.op, uint64(v), got, tc.want)
		}
	}
}

func TestMaskedEqual(t *testing.T) {
	p := &specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Syscalls: []specs.LinuxSyscall{{
		Names: []string{"clone"}, Action: specs.ActAllow,
		Args: []specs.LinuxSeccompArg{{Index: 0, Value: 0xf_0000_000f, ValueTwo: 0xf1_0000_0002, Op: specs.OpMaskedEqual}},
	}}}
	vm := machineOf(t, mustCompile(t, p, "amd64"))
	for arg, want := range map[uint64]uint32{
		0x1_0000_0002:   retAllow, // bits of valueTwo outside the mask do not count
		0xff1_ffff_fff2: retAllow,
		0x1_0000_0003:   errno(unix.EPERM),
		0x2_0000_0002:   errno(unix.EPERM),
	} {
		if got := run(t, vm, data{arch: auditX8664, nr: unix.SYS_CLONE, args: [6]uint64{arg}}); got != want {
			t.Errorf("clone(%#x): action %#x, want %#x", arg, got, want)
		}
	}
}

func TestActions(t *testing.T) {
	for a, want := range map[specs.LinuxSeccompAction]uint32{
		specs.ActKill: retKillThread, specs.ActKillThread: retKillThread, specs.ActKillProcess: retKillProcess,
		specs.ActTrap: retTrap, specs.ActLog: retLog, specs.ActErrno: errno(unix.EPERM), specs.ActTrace: retTrace | uint32(unix.EPERM),
		specs.ActNotify: retNotify,
	} {
		p := &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, ListenerPath: "/run/listener", Syscalls: []specs.LinuxSyscall{{Names: []string{"read", "no_such_call"}, Action: a}}}
		prog, flags, err := Compile(p, "amd64")
		if err != nil {
			t.Fatal(err)
		}
		if got := run(t, machineOf(t, prog), data{arch: auditX8664}); got != want {
			t.Errorf("%s: action %#x, want %#x", a, got, want)
		}
		if listens := flags&unix.SECCOMP_FILTER_FLAG_NEW_LISTENER != 0; listens != (a == specs.ActNotify) {
			t.Errorf("%s: flags %#x", a, flags)
		}
	}
}

func TestRuleOrder(t *testing.T) {
	eq := func(i uint, v uint64) specs.LinuxSeccompArg {
		return specs.LinuxSeccompArg{Index: i, Value: v, Op: specs.OpEqualTo}
	}
	p := &specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Syscalls: []specs.LinuxSyscall{
		{Names: []string{"read"}, Action: specs.ActLog, Args: []specs.LinuxSeccompArg{eq(0, 1), eq(1, 2)}},
		{Names: []string{"read"}, Action: specs.ActTrap, Args: []specs.LinuxSeccompArg{eq(0, 1)}},
		{Names: []string{"write"}, Action: specs.ActLog, Args: []specs.LinuxSeccompArg{eq(0, 1), eq(0, 2)}},
		{Names: []string{"open"}, Action: specs.ActLog, Args: []specs.LinuxSeccompArg{eq(0, 1)}},
		{Names: []string{"open"}, Action: specs.ActAllow},
		{Names: []string{"open"}, Action: specs.ActTrap},
	}}
	vm := machineOf(t, mustCompile(t, p, "amd64"))
	for _, tc := range []struct {
		nr   uint32
		args [6]uint64
		want uint32
	}{
		{0, [6]uint64{1, 2}, retLog}, {0, [6]uint64{1, 3}, retTrap}, {0, [6]uint64{2, 2}, errno(unix.EPERM)},
		{1, [6]uint64{1}, retLog}, {1, [6]uint64{2}, retLog}, {1, [6]uint64{3}, errno(unix.EPERM)},
		{2, [6]uint64{1}, retAllow}, {2, [6]uint64{}, retAllow},
	} {
		if got := run(t, vm, data{auditX8664, tc.nr, tc.args}); got != tc.want {
			t.Errorf("call %d%v: action %#x, want %#x", tc.nr, tc.args, got, tc.want)
		}
	}
}

func TestArchitectures(t *testing.T) {
	enosys := errno(unix.ENOSYS)
	p := &specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Syscalls: []specs.LinuxSyscall{{Names: []string{"read", "execve", "breakpoint"}, Action: specs.ActAllow}}}
	all := *p
	all.Architectures = []specs.Arch{specs.ArchX86, specs.ArchX32, specs.ArchARM, specs.ArchS390X}
	for _, tc := range []struct {
		p        *specs.LinuxSeccomp
		goarch   string
		arch, nr uint32
		want     uint32
	}{
		{p, "amd64", auditX8664, 0, retAllow},
		{p, "amd64", auditX8664, 1, errno(unix.EPERM)},
		{p, "amd64", auditX8664, 4000, enosys},
		{p, "amd64", auditX8664, x32Bit, retKillThread},
		{p, "amd64", auditX8664, 0xffffffff, enosys},
		{p, "amd64", auditI386, 3, retKillThread},
		{p, "amd64", auditAarch64, 63, retKillThread},
		{&all, "amd64", auditI386, 3, retAllow},
		{&all, "amd64", auditI386, 0, errno(unix.EPERM)},
		{&all, "amd64", auditX8664, x32Bit, retAllow},
		{&all, "amd64", auditX8664, x32Bit | 520, retAllow},
		{&all, "amd64", auditX8664, x32Bit | 59, errno(unix.EPERM)},
		{&all, "amd64", auditX8664, x32Bit | 4000, enosys},
		{&all, "amd64", auditX8664, 0xffffffff, enosys},
		{&all, "arm64", auditAarch64, 63, retAllow},
		{&all, "arm64", auditARM, 3, retAllow},
		{&all, "arm64", auditARM, 0x0f0001, retAllow},
		{&all, "arm64", auditARM, 0x0f0002, enosys},
		{&all, "arm64", auditX8664, 0, retKillThread},
	} {
		if got := run(t, machineOf(t, mustCompile(t, tc.p, tc.goarch)), data{arch: tc.arch, nr: tc.nr}); got != tc.want {
			t.Errorf("%s, token %#x, call %#x: action %#x, want %#x", tc.goarch, tc.arch, tc.nr, got, tc.want)
		}
	}
}

func TestMultiplexedCalls(t *testing.T) {
	p := &specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Architectures: []specs.Arch{specs.ArchX86}, Syscalls: []specs.LinuxSyscall{
		{Names: []string{"bind", "semop"}, Action: specs.ActAllow},
		{Names: []string{"socket"}, Action: specs.ActAllow, Args: []specs.LinuxSeccompArg{{Index: 0, Value: 1, Op: specs.OpEqualTo}}},
	}}
	vm := machineOf(t, mustCompile(t, p, "amd64"))
	for _, tc := range []struct {
		nr   uint32
		arg  uint64
		want uint32
	}{
		{102, 2, retAllow}, {102, 1, errno(unix.EPERM)}, {102, 3, errno(unix.EPERM)}, {117, 1, retAllow}, {117, 2, errno(unix.EPERM)},
		{361, 9, retAllow}, {359, 1, retAllow}, {359, 2, errno(unix.EPERM)},
		{359, 0xff_0000_0001, retAllow}, // only 32 bits of an argument exist
	} {
		if got := run(t, vm, data{auditI386, tc.nr, [6]uint64{tc.arg}}); got != tc.want {
			t.Errorf("call %d(%d): action %#x, want %#x", tc.nr, tc.arg, got, tc.want)
		}
	}
}

func TestFarJumpsAndTheLimit(t *testing.T) {
	p := &specs.LinuxSeccomp{DefaultAction: specs.ActErrno}
	for i := range 700 {
		p.Syscalls = append(p.Syscalls, specs.LinuxSyscall{Names: []string{"read"}, Action: specs.ActTrace, ErrnoRet: ptr(uint(i + 2)),
			Args: []specs.LinuxSeccompArg{{Index: 0, Value: uint64(i) << 31, Op: specs.OpEqualTo}}})
	}
	prog := mustCompile(t, p, "amd64")
	vm := machineOf(t, prog)
	for _, i := range []uint64{0, 1, 2, 300, 698, 699} {
		if got, want := run(t, vm, data{arch: auditX8664, args: [6]uint64{i << 31}}), retTrace|uint32(i+2); got != want {
			t.Errorf("rule %d of 700: action %#x, want %#x", i, got, want)
		}
	}
	if got := run(t, vm, data{arch: auditX8664, args: [6]uint64{3}}); got != errno(unix.EPERM) {
		t.Errorf("no rule: action %#x", got)
	}
	p.Syscalls = append(p.Syscalls, p.Syscalls...)
	if _, _, err := Compile(p, "amd64"); err == nil || !strings.Contains(err.Error(), "the kernel takes 4096") {
		t.Errorf("a profile of %d rules: %v", len(p.Syscalls), err)
	}
}

func TestErrors(t *testing.T) {
	one := func(s specs.LinuxSyscall) *specs.LinuxSeccomp {
		return &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{s}}
	}
	arg := func(a specs.LinuxSeccompArg) *specs.LinuxSeccomp {
		return one(specs.LinuxSyscall{Names: []string{"read"}, Action: specs.ActErrno, Args: []specs.LinuxSeccompArg{a}})
	}
	for want, p := range map[string]*specs.LinuxSeccomp{
		"defaultAction: action is missing":                       {},
		"defaultAction: SCMP_ACT_NOTIFY cannot be the default":   {DefaultAction: specs.ActNotify},
		`defaultAction: action "SCMP_ACT_X" is not known`:        {DefaultAction: "SCMP_ACT_X"},
		"defaultAction: action SCMP_ACT_ALLOW takes no errno":    {DefaultAction: specs.ActAllow, DefaultErrnoRet: ptr(uint(1))},
		"defaultAction: errnoRet 4096":                           {DefaultAction: specs.ActErrno, DefaultErrnoRet: ptr(uint(4096))},
		`architectures[0]: "SCMP_ARCH_VAX" is not`:               {DefaultAction: specs.ActAllow, Architectures: []specs.Arch{"SCMP_ARCH_VAX"}},
		`flags[0]: "NO_SUCH" is not known`:                       {DefaultAction: specs.ActAllow, Flags: []specs.LinuxSeccompFlag{"NO_SUCH"}},
		"syscalls[0]: names is empty":                            one(specs.LinuxSyscall{Action: specs.ActErrno}),
		"syscalls[0]: action is missing":                         one(specs.LinuxSyscall{Names: []string{"read"}}),
		"needs listenerPath":                                     one(specs.LinuxSyscall{Names: []string{"read"}, Action: specs.ActNotify}),
		"SCMP_ACT_NOTIFY cannot be used for write":               one(specs.LinuxSyscall{Names: []string{"write"}, Action: specs.ActNotify}),
		"syscalls[0]: args[0]: op is missing":                    arg(specs.LinuxSeccompArg{}),
		`syscalls[0]: args[0]: op "SCMP_CMP_X" is not known`:     arg(specs.LinuxSeccompArg{Op: "SCMP_CMP_X"}),
		"syscalls[0]: args[0]: index 6: a system call has 6 arg": arg(specs.LinuxSeccompArg{Op: specs.OpEqualTo, Index: 6}),
	} {
		if _, _, err := Compile(p, "amd64"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if _, _, err := Compile(&specs.LinuxSeccomp{DefaultAction: specs.ActAllow}, "mips"); err == nil {
		t.Error("an architecture without a table was taken")
	}
}

func TestFlags(t *testing.T) {
	p := &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Flags: []specs.LinuxSeccompFlag{specs.LinuxSeccompFlagLog, specs.LinuxSeccompFlagSpecAllow, specs.LinuxSeccompFlagWaitKillableRecv}}
	_, flags, err := Compile(p, "amd64")
	if want := uint32(unix.SECCOMP_FILTER_FLAG_LOG | unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW); err != nil || flags != want {
		t.Errorf("flags %#x, %v; want %#x", flags, err, want)
	}
}
