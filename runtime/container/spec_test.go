package container

import (
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/varve-cri/varve/runtime/plan/compile"
)

// A spec with a cgroup mount, through the compiler and the codec's plan, on
// the machine's own hierarchies.
func TestStartOfSpec(t *testing.T) {
	v1, v2 := testCgroup(t)
	spec := &specs.Spec{
		Process: &specs.Process{
			Args: []string{"probe", "do", "ls:/sys/fs/cgroup", "write:/sys/fs/cgroup/x", "read:/sys/fs/cgroup/memory/cgroup.procs", "mkdir:/sys/fs/cgroup/memory/x"},
			Env:  []string{"PATH=/bin"}, Cwd: "/", Capabilities: &specs.LinuxCapabilities{},
		},
		Root: &specs.Root{Readonly: true},
		Mounts: []specs.Mount{
			{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
			{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
			{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
			{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", "ro"}},
			{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"nosuid", "noexec", "nodev", "relatime", "ro"}},
		},
		Linux: &specs.Linux{Namespaces: []specs.LinuxNamespace{
			{Type: specs.MountNamespace}, {Type: specs.PIDNamespace}, {Type: specs.CgroupNamespace},
		}},
	}
	p, err := compile.Compile("spec", spec, compile.Options{CgroupV1: v1, CgroupV2: v2})
	if err != nil {
		t.Fatal(err)
	}
	o := run(t, p, newRoot(t, nil))
	if len(v1) == 0 {
		if !strings.HasPrefix(o.Mounts["/sys/fs/cgroup"], "ro,") {
			t.Errorf("/sys/fs/cgroup: %s", o.Mounts["/sys/fs/cgroup"])
		}
		return
	}
	equal(t, "hierarchies", o.Files["ls:/sys/fs/cgroup"], "memory pids unified")
	equal(t, "the tmpfs", o.Files["write:/sys/fs/cgroup/x"], "EROFS")
	equal(t, "a hierarchy", o.Files["mkdir:/sys/fs/cgroup/memory/x"], "EROFS")
	equal(t, "who is in it", strings.TrimSpace(o.Files["read:/sys/fs/cgroup/memory/cgroup.procs"]), "1")
}
