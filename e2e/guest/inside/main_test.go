package inside

import (
	"fmt"
	"os"
	"os/exec"
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/e2e/harness"
)

var suite *harness.Suite

func TestMain(m *testing.M) {
	if _, err := os.Stat(root + "/cgroup.controllers"); err != nil {
		fmt.Fprintln(os.Stderr, "this machine is not one with cgroup v2 alone; hack/guest.sh makes one:", err)
		os.Exit(1)
	}
	harness.Main(m, &suite)
}

// root is where the only hierarchy is mounted.
const root = "/sys/fs/cgroup"

type limits = runtimeapi.LinuxContainerResources

func stats(h *harness.Test, c *harness.Container) *runtimeapi.ContainerStats {
	h.T.Helper()
	answer, err := h.ContainerStats(h.Ctx, &runtimeapi.ContainerStatsRequest{ContainerId: c.ID})
	h.Must(err)
	return answer.GetStats()
}

// there says whether the kernel has a file, which stands for a feature that it
// may be built without.
func there(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// withSwap turns the machine's swap on for a test. The disk is the one that
// the guest's init tells.
func withSwap(t *testing.T) {
	t.Helper()
	disk := os.Getenv("VARVE_SWAP")
	run := func(program string) {
		if said, err := exec.Command(program, disk).CombinedOutput(); err != nil {
			t.Errorf("%s %q: %v: %s", program, disk, err, said)
		}
	}
	t.Cleanup(func() { run("swapoff") })
	run("swapon")
}
