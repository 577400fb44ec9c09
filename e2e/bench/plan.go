package main

import (
	"fmt"
	"runtime"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/varve-cri/varve/runtime/cgroup"
	"github.com/varve-cri/varve/runtime/plan/compile"
	"github.com/varve-cri/varve/runtime/seccomp"
)

// startPlan is the encoded plan of the container that is started again and
// again: what limit.c makes, and what no real container lacks: a seccomp
// filter, a small set of capabilities, a cgroup.
func startPlan(group *cgroup.Group) ([]byte, error) {
	spec := startSpec()
	profile, err := seccomp.Default(spec)
	if err != nil {
		return nil, err
	}
	filter, flags, err := seccomp.Compile(profile, runtime.GOARCH)
	if err != nil {
		return nil, err
	}
	p, err := compile.Compile("bench", spec, compile.Options{
		Seccomp: filter, SeccompFlags: flags, CgroupV1: group.V1Paths(), CgroupV2: group.V2Path(),
	})
	if err != nil {
		return nil, fmt.Errorf("compile the plan: %w", err)
	}
	return p.Encode(), nil
}

// dockerCaps is what containers get when nobody says otherwise.
var dockerCaps = []string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID",
	"CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE",
}

func startSpec() *specs.Spec {
	secure := []string{"nosuid", "noexec", "nodev"}
	return &specs.Spec{
		Version:  specs.Version,
		Hostname: "bench",
		Root:     &specs.Root{Path: "rootfs"},
		Process: &specs.Process{
			Args: []string{"/bin/true"}, Env: []string{"PATH=/bin"}, Cwd: "/", NoNewPrivileges: true,
			Capabilities: &specs.LinuxCapabilities{Bounding: dockerCaps, Effective: dockerCaps, Permitted: dockerCaps},
		},
		Mounts: []specs.Mount{
			{Destination: "/proc", Type: "proc", Source: "proc", Options: secure},
			{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=64k"}},
			{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
			{Destination: "/dev/shm", Type: "tmpfs", Source: "shm", Options: append([]string{"mode=1777", "size=64m"}, secure...)},
			{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: secure},
			{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: append([]string{"ro"}, secure...)},
		},
		Linux: &specs.Linux{Namespaces: []specs.LinuxNamespace{
			{Type: specs.MountNamespace}, {Type: specs.PIDNamespace}, {Type: specs.IPCNamespace},
			{Type: specs.UTSNamespace}, {Type: specs.CgroupNamespace},
		}},
	}
}
