package seccomp

import (
	"fmt"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// The kernel's SECCOMP_RET_* values (include/uapi/linux/seccomp.h). The low 16
// bits of an action carry its data, such as an errno.
const (
	retKillProcess = 0x80000000
	retKillThread  = 0x00000000
	retTrap        = 0x00030000
	retErrno       = 0x00050000
	retNotify      = 0x7fc00000
	retTrace       = 0x7ff00000
	retLog         = 0x7ffc0000
	retAllow       = 0x7fff0000
)

// maxErrno is the kernel's MAX_ERRNO: it cuts larger values down, which would
// make a rule return something that the profile does not say.
const maxErrno = 4095

// action is the value that a filter returns.
func action(a specs.LinuxSeccompAction, errnoRet *uint) (uint32, error) {
	data := uint32(unix.EPERM)
	if errnoRet != nil {
		if a != specs.ActErrno && a != specs.ActTrace {
			return 0, fmt.Errorf("action %s takes no errno, but errnoRet is %d", a, *errnoRet)
		}
		if *errnoRet > maxErrno {
			return 0, fmt.Errorf("errnoRet %d: largest errno is %d", *errnoRet, maxErrno)
		}
		data = uint32(*errnoRet)
	}
	switch a {
	case specs.ActErrno:
		return retErrno | data, nil
	case specs.ActTrace:
		return retTrace | data, nil
	case specs.ActKill, specs.ActKillThread:
		return retKillThread, nil
	case specs.ActKillProcess:
		return retKillProcess, nil
	case specs.ActTrap:
		return retTrap, nil
	case specs.ActAllow:
		return retAllow, nil
	case specs.ActLog:
		return retLog, nil
	case specs.ActNotify:
		return retNotify, nil
	case "":
		return 0, fmt.Errorf("action is missing")
	default:
		return 0, fmt.Errorf("action %q is not known", a)
	}
}

// flagBits are the SECCOMP_FILTER_FLAG_* that a profile may ask for.
var flagBits = map[specs.LinuxSeccompFlag]uint32{
	specs.LinuxSeccompFlagLog:              unix.SECCOMP_FILTER_FLAG_LOG,
	specs.LinuxSeccompFlagSpecAllow:        unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW,
	specs.LinuxSeccompFlagWaitKillableRecv: unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
}

// filterFlags are the flags for seccomp(2).
func filterFlags(p *specs.LinuxSeccomp, notifies bool) (uint32, error) {
	var bits uint32
	for i, f := range p.Flags {
		bit, ok := flagBits[f]
		if !ok {
			return 0, fmt.Errorf("flags[%d]: %q is not known", i, f)
		}
		bits |= bit
	}
	if notifies {
		return bits | unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, nil
	}
	// The kernel refuses this flag without a listener (EINVAL).
	return bits &^ uint32(unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV), nil
}
