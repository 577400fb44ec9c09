package compile

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/moby/sys/capability"
	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/varve-cri/varve/runtime/plan"
	"golang.org/x/sys/unix"
)

// Process returns the plan's form of p, which is a container's first process
// or one to exec. seccomp is its compiled filter; empty is none.
func Process(p *specs.Process, seccomp []byte) (*plan.Process, error) {
	if err := checkProcess(p); err != nil {
		return nil, err
	}
	out := &plan.Process{
		Args: p.Args, Env: p.Env, Cwd: p.Cwd,
		Terminal: p.Terminal,
		UID:      p.User.UID, GID: p.User.GID, Groups: p.User.AdditionalGids, Umask: -1,
		NoNewPrivs: p.NoNewPrivileges, Seccomp: seccomp,
		AppArmor: p.ApparmorProfile, SELinux: p.SelinuxLabel,
	}
	if p.User.Umask != nil {
		out.Umask = int32(*p.User.Umask & 0o777)
	}
	if s := p.ConsoleSize; s != nil {
		if s.Height > math.MaxUint16 || s.Width > math.MaxUint16 {
			return nil, fmt.Errorf("process.consoleSize: %dx%d is out of range", s.Width, s.Height)
		}
		out.Rows, out.Cols = uint16(s.Height), uint16(s.Width)
	}
	if p.OOMScoreAdj != nil {
		if *p.OOMScoreAdj < -1000 || *p.OOMScoreAdj > 1000 {
			return nil, fmt.Errorf("process.oomScoreAdj: %d is not in [-1000, 1000]", *p.OOMScoreAdj)
		}
		out.OOMScoreAdj, out.SetOOMScoreAdj = int32(*p.OOMScoreAdj), true
	}
	var err error
	if out.Caps, err = capabilities(p.Capabilities); err != nil {
		return nil, err
	}
	out.Rlimits, err = rlimits(p.Rlimits)
	return out, err
}

func checkProcess(p *specs.Process) error {
	switch {
	case p == nil:
		return errors.New("process: missing")
	case len(p.Args) == 0 || p.Args[0] == "":
		return errors.New("process.args: missing")
	case p.Scheduler != nil:
		return errors.New("process.scheduler: not supported")
	case p.IOPriority != nil:
		return errors.New("process.ioPriority: not supported")
	case p.ExecCPUAffinity != nil:
		return errors.New("process.execCPUAffinity: not supported")
	}
	for i, a := range p.Args {
		if strings.ContainsRune(a, 0) {
			return fmt.Errorf("process.args[%d]: holds a zero byte", i)
		}
	}
	for i, e := range p.Env {
		if strings.ContainsRune(e, 0) {
			return fmt.Errorf("process.env[%d]: holds a zero byte", i)
		}
	}
	return absolute("process.cwd", p.Cwd)
}

// capabilities turns names into masks. What is inheritable without being
// ambient is dropped: it would only be a gift to whoever executes a file with
// capabilities (CVE-2022-29162).
func capabilities(c *specs.LinuxCapabilities) (plan.Caps, error) {
	var out plan.Caps
	if c == nil {
		return out, nil
	}
	for _, set := range []struct {
		field string
		names []string
		mask  *uint64
	}{
		{"bounding", c.Bounding, &out.Bounding},
		{"effective", c.Effective, &out.Effective},
		{"permitted", c.Permitted, &out.Permitted},
		{"inheritable", c.Inheritable, &out.Inheritable},
		{"ambient", c.Ambient, &out.Ambient},
	} {
		for i, name := range set.names {
			bit, ok := capBits[name]
			if !ok {
				return out, fmt.Errorf("process.capabilities.%s[%d]: %q is no capability", set.field, i, name)
			}
			*set.mask |= bit
		}
	}
	out.Inheritable &= out.Ambient
	return out, nil
}

var capBits = func() map[string]uint64 {
	bits := map[string]uint64{}
	for _, c := range capability.ListKnown() {
		bits["CAP_"+strings.ToUpper(c.String())] = 1 << c
	}
	return bits
}()

var rlimitTypes = map[string]uint32{
	"RLIMIT_CPU": unix.RLIMIT_CPU, "RLIMIT_FSIZE": unix.RLIMIT_FSIZE, "RLIMIT_DATA": unix.RLIMIT_DATA,
	"RLIMIT_STACK": unix.RLIMIT_STACK, "RLIMIT_CORE": unix.RLIMIT_CORE, "RLIMIT_RSS": unix.RLIMIT_RSS,
	"RLIMIT_NPROC": unix.RLIMIT_NPROC, "RLIMIT_NOFILE": unix.RLIMIT_NOFILE, "RLIMIT_MEMLOCK": unix.RLIMIT_MEMLOCK,
	"RLIMIT_AS": unix.RLIMIT_AS, "RLIMIT_LOCKS": unix.RLIMIT_LOCKS, "RLIMIT_SIGPENDING": unix.RLIMIT_SIGPENDING,
	"RLIMIT_MSGQUEUE": unix.RLIMIT_MSGQUEUE, "RLIMIT_NICE": unix.RLIMIT_NICE, "RLIMIT_RTPRIO": unix.RLIMIT_RTPRIO,
	"RLIMIT_RTTIME": unix.RLIMIT_RTTIME,
}

func rlimits(list []specs.POSIXRlimit) ([]plan.Rlimit, error) {
	seen := map[string]bool{}
	var out []plan.Rlimit
	for i, l := range list {
		field := fmt.Sprintf("process.rlimits[%d]", i)
		t, ok := rlimitTypes[l.Type]
		switch {
		case !ok:
			return nil, fmt.Errorf("%s.type: unknown %q", field, l.Type)
		case seen[l.Type]:
			return nil, fmt.Errorf("%s.type: %s is there twice", field, l.Type)
		case l.Soft > l.Hard:
			return nil, fmt.Errorf("%s.soft: %d is more than the hard limit %d", field, l.Soft, l.Hard)
		}
		seen[l.Type] = true
		out = append(out, plan.Rlimit{Type: t, Soft: l.Soft, Hard: l.Hard})
	}
	return out, nil
}
