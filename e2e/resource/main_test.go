package resource

import (
	"os"
	"slices"
	"strings"
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/e2e/harness"
)

var suite *harness.Suite

func TestMain(m *testing.M) { harness.Main(m, &suite) }

type (
	limits    = runtimeapi.LinuxContainerResources
	podConfig = runtimeapi.PodSandboxConfig
)

// The names of a limit's file: v1's, then v2's.
var (
	memory = []string{"memory.limit_in_bytes", "memory.max"}
	quota  = []string{"cpu.cfs_quota_us", "cpu.max"}
	shares = []string{"cpu.shares", "cpu.weight"}
	cpus   = []string{"cpuset.cpus"}
	pages  = []string{"hugetlb.2MB.limit_in_bytes", "hugetlb.2MB.max"}
)

// first is the first word of a limit's file.
func first(text string) string { return strings.Fields(text)[0] }

// unified says whether this host's v2 hierarchy has a controller.
func unified(t *testing.T, controller string) bool {
	t.Helper()
	for _, root := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		if body, err := os.ReadFile(root + "/cgroup.controllers"); err == nil {
			return slices.Contains(strings.Fields(string(body)), controller)
		}
	}
	t.Fatal("this host has no v2 hierarchy")
	return false
}

// has says whether this host has a controller, in whichever hierarchy.
func has(t *testing.T, controller string) bool {
	t.Helper()
	_, err := os.Stat("/sys/fs/cgroup/" + controller)
	return err == nil || unified(t, controller)
}

// noPages is a size of huge pages that this architecture does not have: what a
// kernel refuses after it has taken all other limits.
var noPages = []*runtimeapi.HugepageLimit{{PageSize: "16GB", Limit: 1 << 40}}

// v2 says whether all controllers are in it.
func v2() bool {
	_, err := os.Stat("/sys/fs/cgroup/cgroup.controllers")
	return err == nil
}

func update(h *harness.Test, c *harness.Container, r *limits) error {
	_, err := h.UpdateContainerResources(h.Ctx, &runtimeapi.UpdateContainerResourcesRequest{ContainerId: c.ID, Linux: r})
	return err
}

func updatePod(h *harness.Test, p *harness.Pod, resources, overhead *limits) error {
	_, err := h.UpdatePodSandboxResources(h.Ctx, &runtimeapi.UpdatePodSandboxResourcesRequest{PodSandboxId: p.ID, Resources: resources, Overhead: overhead})
	return err
}
