package server

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/record"
	rtcgroup "github.com/varve-cri/varve/runtime/cgroup"
)

type limits = runtimeapi.LinuxContainerResources

// A daemon that ends between any two steps of an update leaves record and
// kernel as the next one brings together: with all of the update, or none.
func TestUpdateCutOff(t *testing.T) {
	n := newNode(t)
	n.pull()
	pc := podConfig(t)
	pod := n.pod(pc)
	run := func(name string) string {
		cc := containerConfig(pc, name, "alloc", "24", "+", "sleep")
		cc.Linux.Resources = &limits{MemoryLimitInBytes: 64 << 20, OomScoreAdj: 300}
		id := n.run(pod, pc, cc)
		n.used(id, 24<<20)
		return id
	}
	for name, tc := range map[string]struct {
		next          *limits
		steps         int // that are done before the crash
		memory, quota string
		adj           string
	}{
		"noted":      {&limits{MemoryLimitInBytes: 96 << 20, CpuQuota: 30000, OomScoreAdj: 500}, 2, "100663296", "30000", "500"},
		"told":       {&limits{MemoryLimitInBytes: 96 << 20, CpuQuota: 30000, OomScoreAdj: 500}, 3, "100663296", "30000", "500"},
		"scored":     {&limits{MemoryLimitInBytes: 96 << 20, CpuQuota: 30000, OomScoreAdj: 500}, 4, "100663296", "30000", "500"},
		"impossible": {&limits{MemoryLimitInBytes: 8 << 20, CpuQuota: 30000, OomScoreAdj: 500}, 2, "67108864", "-1", "300"},
	} {
		t.Run(name, func(t *testing.T) {
			id := run(name)
			c, err := n.s.table.findContainer(id)
			if err != nil {
				t.Fatal(err)
			}
			rec := c.rec.Load()
			u := &update{s: n.s, c: c, was: rec, next: tc.next}
			ctx := context.Background()
			for _, do := range []func(context.Context) error{
				u.plan, u.begin, u.set, u.score,
			}[:tc.steps] {
				if err := do(ctx); err != nil {
					t.Fatal(err)
				}
			}
			n.crash()
			n.restart()
			if m, q := n.limits(id); m != tc.memory || q != tc.quota {
				t.Errorf("memory %s, quota %s", m, q)
			}
			got := n.status(id).GetResources().GetLinux()
			if fmt.Sprint(got.GetMemoryLimitInBytes()) != tc.memory || fmt.Sprint(got.GetOomScoreAdj()) != tc.adj {
				t.Errorf("status tells %v", got)
			}
			if out, err := n.exec(id, "cat", "/proc/1/oom_score_adj", "/proc/self/oom_score_adj"); err != nil || string(out.GetStdout()) != tc.adj+"\n"+tc.adj+"\n" {
				t.Errorf("oom_score_adj: %v, %v", out, err)
			}
			if c, err = n.s.table.findContainer(id); err != nil || c.rec.Load().Pending != nil {
				t.Errorf("the update is still pending: %v", err)
			}
		})
	}
}

// used waits until the container holds memory.
func (n *node) used(id string, bytes uint64) {
	n.t.Helper()
	await(n.t, fmt.Sprintf("container %s holds %d bytes", id, bytes), func() bool {
		a, err := n.ContainerStats(n.ctx(), &runtimeapi.ContainerStatsRequest{ContainerId: id})
		return err == nil && a.GetStats().GetMemory().GetUsageBytes().GetValue() >= bytes
	})
}

// A record that cannot be written takes the kernel's limits back, those too
// that the container did not have before.
func TestUpdateWithoutARecord(t *testing.T) {
	n := newNode(t)
	n.pull()
	pc := podConfig(t)
	id := n.run(n.pod(pc), pc, containerConfig(pc, "main", "sleep"))
	c, err := n.s.table.findContainer(id)
	if err != nil {
		t.Fatal(err)
	}
	before, _ := n.limits(id)
	u := &update{s: n.s, c: c, was: c.rec.Load(), next: &limits{MemoryLimitInBytes: 32 << 20, CpuQuota: 20000}}
	c.write.Lock()
	c.dead = true // as if it were removed meanwhile: no record is written any more
	c.write.Unlock()
	if err := u.run(context.Background()); !isNotFound(err) {
		t.Errorf("update: %v", err)
	}
	c.write.Lock()
	c.dead = false
	c.write.Unlock()
	u.next = &limits{MemoryLimitInBytes: 32 << 20, CpuQuota: 20000}
	ctx := context.Background()
	for _, do := range []func(context.Context) error{u.plan, u.begin, u.set} {
		if err := do(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if err := u.group.Restore(u.before); err != nil {
		t.Fatal(err)
	}
	if err := u.giveUp(ctx); err != nil {
		t.Fatal(err)
	}
	if m, q := n.limits(id); m != before || q != "-1" && q != "max" {
		t.Errorf("memory %s, quota %s", m, q)
	}
}

func TestConcurrentUpdates(t *testing.T) {
	n := newNode(t)
	n.pull()
	pc := podConfig(t)
	cc := containerConfig(pc, "main", "sleep")
	cc.Linux.Resources = &limits{MemoryLimitInBytes: 64 << 20}
	id := n.run(n.pod(pc), pc, cc)
	var wg sync.WaitGroup
	for i := range int64(8) {
		wg.Go(func() {
			_, err := n.UpdateContainerResources(n.ctx(), &runtimeapi.UpdateContainerResourcesRequest{
				ContainerId: id, Linux: &limits{MemoryLimitInBytes: (70 + i) << 20, CpuPeriod: 100000, CpuQuota: (70 + i) * 1000},
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	m, q := n.limits(id)
	got := n.status(id).GetResources().GetLinux()
	if fmt.Sprint(got.GetMemoryLimitInBytes()) != m || fmt.Sprint(got.GetCpuQuota()) != q || got.GetMemoryLimitInBytes()>>20*1000 != got.GetCpuQuota() {
		t.Errorf("memory %s, quota %s, status %v", m, q, got)
	}
}

// The cgroup of a pod that named no parent is varve's: its limits are set,
// changed, and brought together with the record after a crash.
func TestPodOfItsOwn(t *testing.T) {
	n := newNode(t)
	n.pull()
	pc := podConfig(t)
	pc.Linux.Resources = &limits{MemoryLimitInBytes: 64 << 20, CpuPeriod: 100000, CpuQuota: 50000}
	pc.Linux.Overhead = &limits{MemoryLimitInBytes: 16 << 20, CpuPeriod: 100000, CpuQuota: 10000}
	id := n.pod(pc)
	group := func() (string, string) {
		p, err := n.s.table.findPod(id)
		if err != nil {
			t.Fatal(err)
		}
		l, err := rtcgroup.Open(p.rec.Load().CgroupParent).Limits()
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(l.Memory >> 20), fmt.Sprint(l.CPUQuota)
	}
	check := func(when, memory, quota string) {
		t.Helper()
		if m, q := group(); m != memory || q != quota {
			t.Errorf("%s: memory %s MiB, quota %s; want %s and %s", when, m, q, memory, quota)
		}
	}
	check("made", "80", "60000")
	n.run(id, pc, containerConfig(pc, "main", "sleep"))
	_, err := n.UpdatePodSandboxResources(n.ctx(), &runtimeapi.UpdatePodSandboxResourcesRequest{PodSandboxId: id, Resources: &limits{MemoryLimitInBytes: 128 << 20}})
	if err != nil {
		t.Fatal(err)
	}
	check("updated", "144", "60000")
	_, err = n.UpdatePodSandboxResources(n.ctx(), &runtimeapi.UpdatePodSandboxResourcesRequest{PodSandboxId: id, Resources: &limits{MemoryLimitInBytes: 32 << 20, CpusetCpus: "999"}})
	want(t, err, codes.InvalidArgument, "resources")
	check("refused", "144", "60000")

	p, err := n.s.table.findPod(id)
	if err != nil {
		t.Fatal(err)
	}
	rec := p.rec.Load()
	u := &podUpdate{s: n.s, p: p, was: rec, next: record.Limits{Resources: &limits{MemoryLimitInBytes: 96 << 20}, Overhead: rec.Config.Linux.Overhead}}
	for _, do := range []func(context.Context) error{u.plan, u.begin, u.set} {
		if err := do(n.ctx()); err != nil {
			t.Fatal(err)
		}
	}
	n.crash()
	n.restart()
	check("cut off", "112", "60000")
	if p, err = n.s.table.findPod(id); err != nil {
		t.Fatal(err)
	}
	rec = p.rec.Load()
	if rec.Pending != nil || rec.Limits == nil || !proto.Equal(rec.Limits.Resources, u.next.Resources) {
		t.Errorf("record: %+v", rec)
	}
	answer, err := n.PodSandboxStatus(n.ctx(), &runtimeapi.PodSandboxStatusRequest{PodSandboxId: id, Verbose: true})
	if err != nil || !strings.Contains(answer.GetInfo()["info"], fmt.Sprint(96<<20)) {
		t.Errorf("status: %v, %v", answer.GetInfo(), err)
	}
}
