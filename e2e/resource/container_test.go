package resource

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/e2e/harness"
)

// hugepages is what a kubelet sends with every container: each page size of the
// node, most with 0.
func hugepages(two uint64) []*runtimeapi.HugepageLimit {
	return []*runtimeapi.HugepageLimit{{PageSize: "2MB", Limit: two}, {PageSize: "1GB"}}
}

// Up and down again, every field, and each is told by the status as it was asked for.
func TestResize(t *testing.T) {
	h := suite.Test(t)
	small := &limits{
		CpuPeriod: 100000, CpuQuota: 20000, CpuShares: 204, MemoryLimitInBytes: 64 << 20, MemorySwapLimitInBytes: 64 << 20,
		CpusetCpus: "0", CpusetMems: "0", OomScoreAdj: 900, HugepageLimits: hugepages(0),
	}
	large := &limits{
		CpuPeriod: 50000, CpuQuota: 30000, CpuShares: 1024, MemoryLimitInBytes: 160<<20 + 5, MemorySwapLimitInBytes: 256 << 20,
		CpusetCpus: "0-1", CpusetMems: "0", OomScoreAdj: 700, HugepageLimits: hugepages(4 << 20),
	}
	for _, r := range []*limits{small, large} {
		if !has(t, "cpuset") {
			r.CpusetCpus, r.CpusetMems = "", ""
		}
		if !has(t, "hugetlb") {
			r.HugepageLimits = hugepages(0) // which a kubelet may send all the same
		}
	}
	c := h.Pod().Start(harness.Say("sleep"), harness.Resources(small))
	check := func(when string, want *limits) {
		t.Helper()
		// The kernel keeps memory in whole pages.
		wantMemory := fmt.Sprint(want.MemoryLimitInBytes / 4096 * 4096)
		for _, tc := range []struct{ what, got, want string }{
			{"memory", c.Limit(memory...), wantMemory},
			{"quota", first(c.Limit(quota...)), fmt.Sprint(want.CpuQuota)},
			{"oom_score_adj", strings.TrimSpace(c.Exec("cat /proc/1/oom_score_adj")), fmt.Sprint(want.OomScoreAdj)},
			{"oom_score_adj of an exec", strings.TrimSpace(c.Exec("cat /proc/self/oom_score_adj")), fmt.Sprint(want.OomScoreAdj)},
		} {
			if tc.got != tc.want {
				t.Errorf("%s: %s is %s, want %s", when, tc.what, tc.got, tc.want)
			}
		}
		if got := want.CpusetCpus; got != "" && c.Limit(cpus...) != got {
			t.Errorf("%s: cpus are %s, want %s", when, c.Limit(cpus...), got)
		}
		if got := fmt.Sprint(want.HugepageLimits[0].Limit); has(t, "hugetlb") && c.Limit(pages...) != got {
			t.Errorf("%s: huge pages are %s, want %s", when, c.Limit(pages...), got)
		}
		if !v2() {
			for name, want := range map[string]int64{"memory.memsw.limit_in_bytes": want.MemorySwapLimitInBytes, "cpu.shares": want.CpuShares, "cpu.cfs_period_us": want.CpuPeriod} {
				if got := c.Limit(name); got != fmt.Sprint(want) {
					t.Errorf("%s: %s is %s, want %d", when, name, got, want)
				}
			}
		}
		if got := c.Status().GetResources().GetLinux(); !proto.Equal(got, want) {
			t.Errorf("%s: status tells %v, want %v", when, got, want)
		}
	}
	check("small", small)
	h.Must(update(h, c, large))
	check("large", large)
	h.Kill(t)
	h.Restart(t)
	check("large, after a crash", large)
	h.Must(update(h, c, small))
	check("small again", small)
	// Limits are taken away by -1.
	h.Must(update(h, c, &limits{CpuQuota: -1, MemoryLimitInBytes: -1}))
	if got := first(c.Limit(quota...)); got != "-1" && got != "max" {
		t.Errorf("quota is %s", got)
	}
	if got := c.Limit(memory...); got != "max" && len(got) < 19 {
		t.Errorf("memory limit is %s", got)
	}
}

// A limit below what is in use is refused in words, kills nothing and changes nothing.
func TestMemoryBelowUse(t *testing.T) {
	h := suite.Test(t)
	c := h.Pod().Start(harness.Say("alloc 48 + sleep"), harness.Resources(&limits{MemoryLimitInBytes: 128 << 20, CpuShares: 512, OomScoreAdj: 500}))
	c.WaitLog("holding 48")
	before := c.Limit(shares...)
	err := update(h, c, &limits{MemoryLimitInBytes: 32 << 20, CpuShares: 1024, OomScoreAdj: 600})
	h.WantCode(err, codes.FailedPrecondition, "the limit 33554432 is below the ", "bytes in use")
	if got := c.Limit(memory...); got != fmt.Sprint(128<<20) {
		t.Errorf("memory limit is %s", got)
	}
	if got := c.Limit(shares...); got != before {
		t.Errorf("shares are %s, were %s", got, before)
	}
	got := c.Status()
	if r := got.GetResources().GetLinux(); r.GetMemoryLimitInBytes() != 128<<20 || r.GetCpuShares() != 512 || r.GetOomScoreAdj() != 500 {
		t.Errorf("status tells %v", r)
	}
	if got.GetState() != runtimeapi.ContainerState_CONTAINER_RUNNING {
		t.Errorf("the container is %s (%s)", got.GetState(), got.GetReason())
	}
	// What is in use but can be freed is in nobody's way: pages of a file. (The kernel
	// does not wait for those that are still to be written.)
	c.Exec("fill /tmp/cache 40 + sync /tmp/cache")
	h.Must(update(h, c, &limits{MemoryLimitInBytes: 80 << 20}))
	if got := strings.TrimSpace(c.Exec("print alive")); got != "alive" {
		t.Error(got)
	}
}

// The kernel takes three limits and refuses the fourth.
func TestRefusedInTheMiddle(t *testing.T) {
	h := suite.Test(t)
	c := h.Pod().Start(harness.Say("sleep"), harness.Resources(&limits{MemoryLimitInBytes: 64 << 20, CpuPeriod: 100000, CpuQuota: 20000}))
	err := update(h, c, &limits{
		MemoryLimitInBytes: 96 << 20, CpuQuota: 30000, OomScoreAdj: 500,
		HugepageLimits: noPages,
	})
	h.WantCode(err, codes.FailedPrecondition, "hugetlb.16GB")
	for name, tc := range map[string][2]string{
		"memory": {c.Limit(memory...), "67108864"}, "quota": {first(c.Limit(quota...)), "20000"},
		"oom_score_adj": {strings.TrimSpace(c.Exec("cat /proc/1/oom_score_adj")), "0"},
	} {
		if tc[0] != tc[1] {
			t.Errorf("%s is %s, want %s", name, tc[0], tc[1])
		}
	}
	if got := c.Status().GetResources().GetLinux(); got.GetMemoryLimitInBytes() != 64<<20 || got.GetCpuQuota() != 20000 || len(got.GetHugepageLimits()) != 0 {
		t.Errorf("status tells %v", got)
	}
	if has(t, "cpuset") {
		h.WantCode(update(h, c, &limits{MemoryLimitInBytes: 96 << 20, CpusetCpus: "900"}), codes.InvalidArgument, "cpuset")
	}
	h.WantCode(update(h, c, &limits{MemorySwapLimitInBytes: 32 << 20}), codes.InvalidArgument, "memory_swap_limit_in_bytes")
}

// Of a container that has not started, the kernel is asked at once all the same.
func TestUpdateCreated(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod()
	c := pod.Create(harness.Say("sleep"), harness.Resources(&limits{MemoryLimitInBytes: 64 << 20, OomScoreAdj: 900}))
	h.WantCode(update(h, c, &limits{MemoryLimitInBytes: 96 << 20, HugepageLimits: noPages}), codes.FailedPrecondition, "hugetlb.16GB")
	if got := c.Status().GetResources().GetLinux(); got.GetMemoryLimitInBytes() != 64<<20 || len(got.GetHugepageLimits()) != 0 {
		t.Errorf("status tells %v", got)
	}
	h.Must(update(h, c, &limits{MemoryLimitInBytes: 80 << 20, CpuPeriod: 100000, CpuQuota: 40000, OomScoreAdj: 800}))
	h.Must(c.TryStart())
	if m, q := c.Limit(memory...), first(c.Limit(quota...)); m != fmt.Sprint(80<<20) || q != "40000" {
		t.Errorf("memory %s, quota %s", m, q)
	}
	if got := strings.TrimSpace(c.Exec("cat /proc/1/oom_score_adj")); got != "800" {
		t.Errorf("oom_score_adj is %s", got)
	}
	// The same by a daemon that has not planned it.
	c = pod.Create(harness.Say("sleep"), harness.Resources(&limits{MemoryLimitInBytes: 64 << 20}))
	h.Must(update(h, c, &limits{MemoryLimitInBytes: 80 << 20}))
	h.Kill(t)
	h.Restart(t)
	h.Must(update(h, c, &limits{OomScoreAdj: 700}))
	h.Must(c.TryStart())
	if m, adj := c.Limit(memory...), strings.TrimSpace(c.Exec("cat /proc/1/oom_score_adj")); m != fmt.Sprint(80<<20) || adj != "700" {
		t.Errorf("memory %s, oom_score_adj %s", m, adj)
	}
}

func TestUpdateExited(t *testing.T) {
	h := suite.Test(t)
	c := h.Pod().Start(harness.Say("exit 0"), harness.Resources(&limits{MemoryLimitInBytes: 64 << 20}))
	c.WaitExit()
	h.WantCode(update(h, c, &limits{MemoryLimitInBytes: 96 << 20}), codes.FailedPrecondition, c.ID, "Exited")
	if got := c.Status().GetResources().GetLinux().GetMemoryLimitInBytes(); got != 64<<20 {
		t.Errorf("status tells %d", got)
	}
	c.Remove()
	h.WantCode(update(h, c, &limits{MemoryLimitInBytes: 96 << 20}), codes.NotFound, c.ID)
}

// Keys of the v2 hierarchy: what the host has there is set and told, what it
// has not is refused by name.
func TestUnified(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod()
	key, other := "hugetlb.2MB.max", "hugetlb.1GB.max"
	if !unified(t, "hugetlb") {
		key, other = "memory.high", "memory.low"
	}
	c := pod.Start(harness.Say("sleep"), harness.Resources(&limits{Unified: map[string]string{key: "104857600"}}))
	if got := c.Limit(key); got != "104857600" {
		t.Errorf("%s is %s", key, got)
	}
	h.Must(update(h, c, &limits{Unified: map[string]string{key: "134217728", other: "0"}}))
	if got := c.Status().GetResources().GetLinux().GetUnified(); got[key] != "134217728" || got[other] != "0" || c.Limit(key) != "134217728" {
		t.Errorf("status tells %v, %s is %s", got, key, c.Limit(key))
	}
	for key, words := range map[string]string{"cgroup.freeze": "not a limit", "memory.reclaim": "not a limit", "../memory.max": "cgroup file", "nosuch.max": "no controller nosuch"} {
		h.WantCode(update(h, c, &limits{Unified: map[string]string{key: "1"}}), codes.InvalidArgument, "linux.unified", words)
	}
	// MemoryQoS, and the whole container killed when one of it is.
	qos := &limits{Unified: map[string]string{"memory.min": "8388608", "memory.high": "104857600", "memory.oom.group": "1"}}
	if !unified(t, "memory") {
		h.WantCode(update(h, c, qos), codes.InvalidArgument, `"memory.high": this node has no controller memory in a cgroup v2 hierarchy`)
		_, err := pod.TryCreate(harness.Say("sleep"), harness.Resources(qos))
		h.WantCode(err, codes.InvalidArgument, "config.linux.resources.unified")
		return
	}
	h.Must(update(h, c, qos))
	for name, want := range qos.Unified {
		if got := c.Limit(name); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
}

// Memory that a limit allows swap beside: what a kubelet with NodeSwap says.
func TestSwap(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod()
	files := []string{"memory.memsw.limit_in_bytes", "memory.swap.max"}
	beside := func(memory, swap int64) string {
		if v2() {
			return fmt.Sprint(swap)
		}
		return fmt.Sprint(memory + swap)
	}
	none := pod.Start(harness.Say("sleep"), harness.Resources(&limits{MemoryLimitInBytes: 64 << 20}))
	if got := none.Limit(files...); got != beside(64<<20, 0) {
		t.Errorf("without a word on swap: %s", got)
	}
	some := pod.Start(harness.Say("sleep"), harness.Resources(&limits{MemoryLimitInBytes: 64 << 20, MemorySwapLimitInBytes: 96 << 20}))
	if got := some.Limit(files...); got != beside(64<<20, 32<<20) {
		t.Errorf("with swap: %s", got)
	}
	h.Must(update(h, some, &limits{MemoryLimitInBytes: 80 << 20}))
	if got := some.Limit(files...); got != beside(80<<20, 32<<20) {
		t.Errorf("the swap beside other memory: %s", got)
	}
	if got := some.Status().GetResources().GetLinux().GetMemorySwapLimitInBytes(); got != 112<<20 {
		t.Errorf("status tells %d", got)
	}
}

// Many at once, and an exit in between: what is told is what applies.
func TestUpdateWhileItEnds(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod()
	for range 5 {
		c := pod.Start(harness.Say("sleep"), harness.Resources(&limits{MemoryLimitInBytes: 64 << 20}))
		errs := make(chan error)
		for i := range 4 {
			go func() { errs <- update(h, c, &limits{MemoryLimitInBytes: int64(70+i) << 20}) }()
		}
		c.Stop(0)
		for range 4 {
			if err := <-errs; err != nil {
				h.WantCode(err, codes.FailedPrecondition, c.ID)
			}
		}
		if got := c.Status(); got.GetState() != runtimeapi.ContainerState_CONTAINER_EXITED || time.Unix(0, got.GetFinishedAt()).IsZero() {
			t.Errorf("status %v", got)
		}
	}
}
