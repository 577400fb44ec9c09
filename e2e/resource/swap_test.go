package resource

import (
	"fmt"
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/e2e/harness"
)

// A pod's limit of memory allows the swap that its containers were given by name,
// and no more.
func TestSwapOfPod(t *testing.T) {
	h := suite.Test(t)
	memory, files := int64(256<<20), []string{"memory.memsw.limit_in_bytes", "memory.swap.max"}
	pod := h.Pod(func(c *runtimeapi.PodSandboxConfig) {
		c.Linux.Resources, c.Linux.Overhead = &limits{MemoryLimitInBytes: memory - 16<<20}, &limits{MemoryLimitInBytes: 16 << 20}
	})
	check := func(when string, mib int64) {
		t.Helper()
		want := fmt.Sprint(mib << 20)
		if !v2() {
			want = fmt.Sprint(memory + mib<<20)
		}
		if got := pod.Limit(files...); got != want {
			t.Errorf("%s: the pod's limit of swap is %s, want %s", when, got, want)
		}
	}
	given := func(swap int64) *limits {
		return &limits{MemoryLimitInBytes: 64 << 20, MemorySwapLimitInBytes: (64 + swap) << 20}
	}
	check("a new pod", 0)
	pod.Start(harness.Say("sleep"))
	pod.Start(harness.Say("sleep"), harness.Resources(&limits{MemoryLimitInBytes: 64 << 20}))
	check("containers without a word on swap", 0)
	first := pod.Start(harness.Say("sleep"), harness.Resources(given(32)))
	check("one with swap", 32)
	second := pod.Create(harness.Say("sleep"), harness.Resources(given(8)))
	h.Must(update(h, second, given(16)))
	h.Must(second.TryStart())
	check("two with swap", 48)
	h.Must(update(h, first, given(64)))
	check("more for one", 80)
	memory += 32 << 20
	h.Must(updatePod(h, pod, &limits{MemoryLimitInBytes: memory - 16<<20}, nil))
	check("more memory for the pod", 80)
	h.Kill(t)
	h.Restart(t)
	check("after a crash", 80)
	h.Must(update(h, first, given(4)))
	check("less for one", 20)
	first.Remove()
	check("one of them removed", 16)
	second.Stop(0)
	third := pod.Start(harness.Say("sleep"), harness.Resources(given(2)))
	check("one of them stopped, another started", 2)
	h.Must(update(h, third, &limits{MemorySwapLimitInBytes: -1}))
	if got := pod.Limit(files...); got != "max" && got != "9223372036854771712" { // v1 rounds to pages
		t.Errorf("the pod's limit of swap is %s for a container without one", got)
	}

	said := h.Pod(func(c *runtimeapi.PodSandboxConfig) {
		c.Linux.Resources = &limits{MemoryLimitInBytes: 128 << 20, MemorySwapLimitInBytes: 192 << 20}
	})
	said.Start(harness.Say("sleep"), harness.Resources(given(8)))
	pod, memory = said, 128<<20
	check("said for the pod itself", 64)
}
