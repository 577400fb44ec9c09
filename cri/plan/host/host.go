package host

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/moby/sys/capability"

	"github.com/varve-cri/varve/cri/apparmor"
	"github.com/varve-cri/varve/cri/config"
	"github.com/varve-cri/varve/cri/plan"
)

// Cgroups is what the cgroup code knows of this node.
type Cgroups struct {
	Unified   []string // controllers in the v2 hierarchy
	SwapLimit bool     // swap is counted
}

// Read reads the facts. The notes say what the configuration's limits come to
// here, one sentence each, for the log.
func Read(cfg *config.Config, cgroups Cgroups) (h *plan.Host, notes []string, err error) {
	h = &plan.Host{
		Unified: cgroups.Unified, SwapLimit: cgroups.SwapLimit,
		RecursiveRO: recursiveReadOnly(), AppArmor: appArmor(), SELinux: seLinux(),
		MaskedPaths: thermalThrottle("/sys/devices/system/cpu"),
		Devices:     Devices{Dir: "/dev"},
	}
	if h.Capabilities, err = bounding(); err != nil {
		return nil, nil, fmt.Errorf("capabilities of the daemon: %w", err)
	}
	if h.OOMScoreAdj, err = oomScoreAdj(); err != nil {
		return nil, nil, fmt.Errorf("oom_score_adj of the daemon: %w", err)
	}
	if h.Rlimits, err = hardLimits(); err != nil {
		return nil, nil, fmt.Errorf("rlimits of the daemon: %w", err)
	}
	h.AppArmorDefault = h.AppArmor && apparmor.CanLoad()
	weak := !slices.Contains(h.Capabilities, "CAP_SYS_RESOURCE")
	h.Restrict = plan.Restrict{
		OOMScoreAdj:  cfg.Limits.RestrictOOMScoreAdj.Resolve(weak),
		Rlimits:      cfg.Limits.RestrictRlimits.Resolve(weak),
		Capabilities: cfg.Limits.RestrictCapabilities.Resolve(true),
	}
	return h, restrictions(cfg, h, weak), nil
}

// restrictions puts into words what is degraded on this node.
func restrictions(cfg *config.Config, h *plan.Host, weak bool) []string {
	var notes []string
	if h.AppArmor && !h.AppArmorDefault {
		notes = append(notes, "AppArmor is on, but apparmor_parser is not there to load the profile "+plan.AppArmorDefault+": containers that ask for no profile run without one, RuntimeDefault is refused")
	}
	if weak {
		notes = append(notes, "the daemon lacks CAP_SYS_RESOURCE: oom_score_adj cannot go below its own, hard rlimits cannot be raised")
	}
	if h.Restrict.OOMScoreAdj {
		notes = append(notes, fmt.Sprintf("limits.restrictOOMScoreAdj: oom_score_adj of containers is raised to %d where it is lower", h.OOMScoreAdj))
	}
	if h.Restrict.Rlimits {
		for _, name := range slices.Sorted(maps.Keys(cfg.Limits.Rlimits)) {
			if top := h.Rlimits[name]; cfg.Limits.Rlimits[name].Hard > top {
				notes = append(notes, fmt.Sprintf("limits.restrictRlimits: hard limit %s of containers is lowered from %d to %d", name, cfg.Limits.Rlimits[name].Hard, top))
			}
		}
	}
	return notes
}

// bounding is the daemon's bounding set: what "all capabilities" means here.
func bounding() ([]string, error) {
	last, err := capability.LastCap()
	if err != nil {
		return nil, err
	}
	var out []string
	for c := capability.Cap(0); c <= last; c++ {
		have, err := capability.GetBound(c)
		if err != nil {
			return nil, err
		}
		// A kernel newer than the library has capabilities without a name; a
		// spec cannot ask for them.
		if name := c.String(); have && name != "unknown" {
			out = append(out, "CAP_"+strings.ToUpper(name))
		}
	}
	slices.Sort(out)
	return out, nil
}

func oomScoreAdj() (int, error) {
	data, err := os.ReadFile("/proc/self/oom_score_adj")
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(string(bytes.TrimSpace(data)))
}

// rlimitNumbers are the kernel's, asm-generic/resource.h, by the names of
// config.RlimitNames.
var rlimitNumbers = map[string]int{
	"cpu": unix.RLIMIT_CPU, "fsize": unix.RLIMIT_FSIZE, "data": unix.RLIMIT_DATA, "stack": unix.RLIMIT_STACK,
	"core": unix.RLIMIT_CORE, "rss": unix.RLIMIT_RSS, "nproc": unix.RLIMIT_NPROC, "nofile": unix.RLIMIT_NOFILE,
	"memlock": unix.RLIMIT_MEMLOCK, "as": unix.RLIMIT_AS, "locks": unix.RLIMIT_LOCKS,
	"sigpending": unix.RLIMIT_SIGPENDING, "msgqueue": unix.RLIMIT_MSGQUEUE, "nice": unix.RLIMIT_NICE,
	"rtprio": unix.RLIMIT_RTPRIO, "rttime": unix.RLIMIT_RTTIME,
}

func hardLimits() (map[string]uint64, error) {
	out := make(map[string]uint64, len(rlimitNumbers))
	for name, n := range rlimitNumbers {
		var l unix.Rlimit
		if err := unix.Getrlimit(n, &l); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		out[name] = l.Max
	}
	return out, nil
}

// recursiveReadOnly asks the kernel for mount_setattr, Linux 5.12: with an
// empty path and no descriptor it fails, but not with ENOSYS.
func recursiveReadOnly() bool {
	err := unix.MountSetattr(-1, "", unix.AT_RECURSIVE, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
	return err != unix.ENOSYS
}

// thermalThrottle is where CPUs count how often they got too hot: a clock that
// the neighbours can be timed by. Not every machine has it.
func thermalThrottle(cpus string) []string {
	found, err := filepath.Glob(cpus + "/cpu[0-9]*/thermal_throttle")
	if err != nil {
		return nil // the pattern is a constant
	}
	return found
}

func appArmor() bool {
	data, err := os.ReadFile("/sys/module/apparmor/parameters/enabled")
	return err == nil && bytes.HasPrefix(data, []byte("Y"))
}

func seLinux() bool {
	_, err := os.Stat("/sys/fs/selinux/enforce")
	return err == nil
}
