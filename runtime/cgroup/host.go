package cgroup

import (
	"bytes"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
)

// Mode is how the host mounts its hierarchies.
type Mode int

// The three modes.
const (
	V1     Mode = iota + 1 // v1 hierarchies only
	V2                     // one v2 hierarchy with all controllers
	Hybrid                 // v1 hierarchies, and v2 beside them with few or no controllers
)

func (m Mode) String() string {
	switch m {
	case V1:
		return "v1"
	case V2:
		return "v2"
	case Hybrid:
		return "hybrid"
	default:
		return "none"
	}
}

// Detect returns the host's mode. It is found out once per process; 0 means
// that no cgroup file system is mounted.
func Detect() Mode { return theHost().mode }

// UnifiedControllers returns the controllers that are in the v2 hierarchy: all
// of a v2 host's, few or none of a hybrid one's. Only their files can be set by
// resources.unified.
func UnifiedControllers() []string { return theHost().v2Controllers }

// defaultRoot is where nearly every host mounts its cgroups. When a hierarchy
// is mounted at several places, one below it is preferred.
const defaultRoot = "/sys/fs/cgroup"

// host is the hierarchies of this machine.
type host struct {
	mode          Mode
	v1            []hierarchy
	v1Index       map[string]int // by controller
	v2            string         // mount point; "" without v2
	v2Controllers []string       // what the root of v2 offers
}

// hierarchy is one v1 hierarchy.
type hierarchy struct {
	mount       string
	controllers []string // co-mounted ones share a hierarchy; "name=systemd" has none of the kernel's
}

// theHost is read once: cgroup file systems are mounted at boot, and reading
// the mount table in each call would let a node's other mounts slow it down.
var theHost = sync.OnceValue(func() *host {
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return &host{}
	}
	h := parseHost(table)
	if h.v2 != "" {
		if text, err := os.ReadFile(path.Join(h.v2, "cgroup.controllers")); err == nil {
			h.v2Controllers = strings.Fields(string(text))
		}
	}
	return h
})

// v1Controllers are the mount options that name a controller.
var v1Controllers = map[string]bool{
	"cpu": true, "cpuacct": true, "cpuset": true, "memory": true, "devices": true, "freezer": true, "blkio": true, "pids": true,
	"hugetlb": true, "net_cls": true, "net_prio": true, "perf_event": true, "rdma": true, "misc": true,
}

// parseHost reads a mountinfo table (proc_pid_mountinfo(5)).
func parseHost(table []byte) *host {
	h := &host{v1Index: make(map[string]int)}
	for line := range bytes.Lines(table) {
		mount, optional, ok := strings.Cut(string(line), " - ")
		fields, super := strings.Fields(mount), strings.Fields(optional)
		if !ok || len(fields) < 6 || len(super) < 3 {
			continue
		}
		// A mount of a part of a hierarchy belongs to some container.
		root, point := fields[3], fields[4]
		if root != "/" {
			continue
		}
		switch super[0] {
		case "cgroup2":
			if h.v2 == "" || preferred(point, h.v2) {
				h.v2 = point
			}
		case "cgroup":
			h.addV1(point, strings.Split(super[2], ","))
		}
	}
	switch {
	case len(h.v1) > 0 && h.v2 != "":
		h.mode = Hybrid
	case len(h.v1) > 0:
		h.mode = V1
	case h.v2 != "":
		h.mode = V2
	}
	return h
}

// addV1 notes a v1 mount, unless its controllers are known from another one.
func (h *host) addV1(point string, options []string) {
	controllers := slices.DeleteFunc(options, func(o string) bool { return !v1Controllers[o] && !strings.HasPrefix(o, "name=") })
	if len(controllers) == 0 {
		return
	}
	if i, ok := h.v1Index[controllers[0]]; ok {
		if preferred(point, h.v1[i].mount) {
			h.v1[i].mount = point
		}
		return
	}
	for _, c := range controllers {
		h.v1Index[c] = len(h.v1)
	}
	h.v1 = append(h.v1, hierarchy{point, controllers})
}

// preferred says whether mount point a is better than b.
func preferred(a, b string) bool {
	return strings.HasPrefix(a, defaultRoot) && !strings.HasPrefix(b, defaultRoot)
}
