package leak

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"
	"k8s.io/klog/v2"

	"github.com/varve-cri/varve/runtime/cgroup"
)

// look finds what belongs to nobody in this moment.
func (o Owners) look() []Finding {
	var found []Finding
	found = append(found, o.mounts()...)
	found = append(found, o.groups()...)
	found = append(found, o.shims()...)
	found = append(found, o.states()...)
	return append(found, o.layers()...)
}

var idPattern = regexp.MustCompile(`^[0-9a-f]{64}$`)

// owner is the id of the pod or container in whose state directory path is.
func (o Owners) owner(path string) (string, bool) {
	rest, ok := strings.CutPrefix(path, o.StateDir+"/")
	if !ok {
		return "", false
	}
	for _, kind := range []string{"pods/", "containers/"} {
		if rest, ok := strings.CutPrefix(rest, kind); ok {
			id, _, _ := strings.Cut(rest, "/")
			return id, idPattern.MatchString(id)
		}
	}
	return "", false
}

// mounts are those in the state directory: the namespaces of pods, which are
// pinned by mounts, and their /dev/shm.
func (o Owners) mounts() []Finding {
	table, err := mountinfo.GetMounts(mountinfo.PrefixFilter(o.StateDir))
	if err != nil {
		klog.V(2).InfoS("Mount table is not read", "err", err)
	}
	var found []Finding
	for _, m := range table {
		path, _ := strings.CutSuffix(m.Mountpoint, "//deleted")
		id, ok := o.owner(path)
		if !ok || o.Known(id) {
			continue
		}
		kind := Mount
		if m.FSType == "nsfs" {
			kind = Namespace
		}
		found = append(found, Finding{kind, m.Mountpoint})
	}
	return found
}

// groups are the cgroups of pods below our own parent, and of containers below
// those of the pods.
func (o Owners) groups() []Finding {
	var found []Finding
	for _, name := range o.Groups() {
		g := cgroup.Open(name)
		for _, dir := range append(g.V1Paths(), g.V2Path()) {
			entries, err := os.ReadDir(dir)
			if err != nil {
				continue // this hierarchy has none of it
			}
			for _, e := range entries {
				if id := e.Name(); e.IsDir() && idPattern.MatchString(id) && !o.Known(id) {
					found = append(found, Finding{Cgroup, filepath.Join(dir, id)})
				}
			}
		}
	}
	return found
}

// shimProgram is what the kernel calls the program of a shim, which is run from
// memory.
const shimProgram = "/memfd:varve-shim"

// shims are those that hold the directory of a container that is not there. One
// without a directory waits for work, and ends with the daemon.
func (o Owners) shims() []Finding {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var found []Finding
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err != nil {
			continue
		}
		proc := "/proc/" + e.Name()
		if exe, err := os.Readlink(proc + "/exe"); err != nil || !strings.HasPrefix(exe, shimProgram) {
			continue
		}
		if dir, id := o.held(proc); id != "" && !o.Known(id) {
			found = append(found, Finding{Shim, "process " + e.Name() + " of " + dir})
		}
	}
	return found
}

// held is the state directory that a process has open, and whose it is.
func (o Owners) held(proc string) (dir, id string) {
	links, _ := os.ReadDir(proc + "/fd")
	for _, l := range links {
		path, err := os.Readlink(proc + "/fd/" + l.Name())
		if err != nil {
			continue
		}
		if id, ok := o.owner(path); ok {
			return path, id
		}
	}
	return "", ""
}

// states are directories of pods and containers that the daemon does not know.
func (o Owners) states() []Finding {
	var found []Finding
	for _, kind := range []string{"pods", "containers"} {
		entries, err := os.ReadDir(filepath.Join(o.StateDir, kind))
		if err != nil {
			continue
		}
		for _, e := range entries {
			if !o.Known(e.Name()) {
				found = append(found, Finding{State, filepath.Join(o.StateDir, kind, e.Name())})
			}
		}
	}
	return found
}

func (o Owners) layers() []Finding {
	ids, orphans := o.Layers()
	var found []Finding
	for _, id := range ids {
		if !o.Known(id) {
			found = append(found, Finding{Layer, "rw/" + id})
		}
	}
	for _, name := range orphans {
		found = append(found, Finding{Layer, name})
	}
	return found
}
