package server

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	rtcgroup "github.com/varve-cri/varve/runtime/cgroup"
)

// limits is what the kernel says of a container's memory and CPU quota,
// whichever hierarchy has them.
func (n *node) limits(id string) (memory, quota string) {
	n.t.Helper()
	c, err := n.s.table.findContainer(id)
	if err != nil {
		n.t.Fatal(err)
	}
	g := rtcgroup.Open(c.rec.Load().Cgroup)
	read := func(names ...string) string {
		for _, dir := range append(g.V1Paths(), g.V2Path()) {
			for _, name := range names {
				if b, err := os.ReadFile(filepath.Join(dir, name)); err == nil {
					return strings.Fields(string(b))[0]
				}
			}
		}
		n.t.Fatalf("no %v in any cgroup of container %s", names, id)
		return ""
	}
	return read("memory.limit_in_bytes", "memory.max"), read("cpu.cfs_quota_us", "cpu.max")
}

func TestUpdateRunning(t *testing.T) {
	n := newNode(t)
	n.pull()
	pc := podConfig(t)
	cc := containerConfig(pc, "main", "sleep")
	cc.Linux.Resources = &runtimeapi.LinuxContainerResources{MemoryLimitInBytes: 64 << 20, CpuPeriod: 100000, CpuQuota: 50000}
	id := n.run(n.pod(pc), pc, cc)
	update := func(r *runtimeapi.LinuxContainerResources) error {
		_, err := n.UpdateContainerResources(n.ctx(), &runtimeapi.UpdateContainerResourcesRequest{ContainerId: id, Linux: r})
		return err
	}
	check := func(when, memory, quota string) {
		t.Helper()
		if m, q := n.limits(id); m != memory || q != quota {
			t.Errorf("%s: memory %s, quota %s; want %s and %s", when, m, q, memory, quota)
		}
	}
	check("started", "67108864", "50000")
	// What is not said stays.
	if err := update(&runtimeapi.LinuxContainerResources{MemoryLimitInBytes: 96 << 20}); err != nil {
		t.Fatal(err)
	}
	check("updated", "100663296", "50000")
	for field, r := range map[string]*runtimeapi.LinuxContainerResources{
		"cpu_period":            {MemoryLimitInBytes: 32 << 20, CpuPeriod: 10},
		"cpu_quota":             {MemoryLimitInBytes: 32 << 20, CpuQuota: 5},
		"memory_limit_in_bytes": {MemoryLimitInBytes: -2, CpuQuota: 20000},
		"cpuset_cpus":           {MemoryLimitInBytes: 32 << 20, CpusetCpus: "0-x"},
	} {
		want(t, update(r), codes.InvalidArgument, "linux."+field)
	}
	// The kernel itself refuses this one, after it has taken the memory limit.
	if err := update(&runtimeapi.LinuxContainerResources{MemoryLimitInBytes: 32 << 20, CpuQuota: 20000, CpusetCpus: "999"}); err == nil {
		t.Error("a processor that is not there was given")
	}
	check("refused", "100663296", "50000")
	if got := n.status(id).GetResources().GetLinux(); got.GetMemoryLimitInBytes() != 96<<20 || got.GetCpuQuota() != 50000 || got.GetCpuPeriod() != 100000 {
		t.Errorf("status tells %v", got)
	}
	if _, err := n.StopContainer(n.ctx(), &runtimeapi.StopContainerRequest{ContainerId: id}); err != nil {
		t.Fatal(err)
	}
	want(t, update(&runtimeapi.LinuxContainerResources{MemoryLimitInBytes: 32 << 20}), codes.FailedPrecondition, id)
}

// A container that was asked for in no words about Linux, updated, and started
// by a daemon that has not planned it.
func TestUpdateCreated(t *testing.T) {
	n := newNode(t)
	n.pull()
	pc := podConfig(t)
	pod := n.pod(pc)
	for _, restart := range []bool{false, true} {
		cc := containerConfig(pc, "main", "sleep")
		cc.Linux, cc.Metadata.Attempt = nil, uint32(len(n.images.ListRW()))
		id, err := n.create(pod, pc, cc)
		if err != nil {
			t.Fatal(err)
		}
		_, err = n.UpdateContainerResources(n.ctx(), &runtimeapi.UpdateContainerResourcesRequest{
			ContainerId: id, Linux: &runtimeapi.LinuxContainerResources{MemoryLimitInBytes: 48 << 20},
		})
		if err != nil {
			t.Fatal(err)
		}
		if restart {
			n.crash()
			n.restart()
		}
		if _, err := n.StartContainer(n.ctx(), &runtimeapi.StartContainerRequest{ContainerId: id}); err != nil {
			t.Fatal(err)
		}
		if m, _ := n.limits(id); m != "50331648" {
			t.Errorf("restarted %v: memory limit %s", restart, m)
		}
	}
}
