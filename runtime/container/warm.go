package container

import (
	"strings"

	"github.com/varve-cri/varve/runtime/plan"
	"github.com/varve-cri/varve/runtime/program"
	"golang.org/x/sys/unix"
)

// usualMasks is what Kubernetes has masked.
var usualMasks = []string{
	"/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
	"/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware",
	"/sys/devices/virtual/powercap", "/sys/devices/virtual/thermal_throttle",
}

// warm goes once, in spare time, through what a start will do in this
// process, so that the code and the memory are in place.
func (s *self) warm() {
	s.known = known(s.proc)
	p := &plan.Plan{
		Mounts:   []plan.Mount{{Type: "proc", Target: "/proc"}},
		Masked:   usualMasks,
		Readonly: []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"},
		Process:  plan.Process{Args: []string{"/"}, Cwd: "/", Rlimits: []plan.Rlimit{{Type: unix.RLIMIT_NOFILE}}},
	}
	f := program.None()
	f.ProcTarget = 0
	f.Known = s.known
	program.Container(p, program.Command{Path: "/", Process: &p.Process}, f, s.host).Warm()
}

// known looks up in this process's own procfs which of the usual masks are
// directories and which are not: outside of a process's directory every
// procfs has the same files. It saves the child a search in a procfs that is
// fresh. What is missing is not noted: a module may yet bring it.
func known(proc int) map[string]program.Kind {
	kinds := make(map[string]program.Kind, len(usualMasks))
	for _, path := range usualMasks {
		rest, ok := strings.CutPrefix(path, "/proc/")
		var st unix.Stat_t
		if !ok || unix.Fstatat(proc, rest, &st, unix.AT_SYMLINK_NOFOLLOW) != nil {
			continue
		}
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFDIR:
			kinds[path] = program.Directory
		case unix.S_IFREG:
			kinds[path] = program.Other
		}
	}
	return kinds
}
