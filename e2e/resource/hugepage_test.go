package resource

import (
	"os"
	"strings"
	"testing"

	"github.com/varve-cri/varve/e2e/harness"
)

// reserve has the kernel set huge pages of 2 MiB aside until the test ends.
func reserve(h *harness.Test, pages string) {
	h.T.Helper()
	const file = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"
	before, err := os.ReadFile(file)
	h.Must(err)
	h.T.Cleanup(func() {
		h.Drain(h.Ctx) //nolint:errcheck // the test's own cleanup says it
		h.Must(os.WriteFile(file, before, 0))
	})
	// A busy machine may have its memory in pieces: the kernel tries again when it is asked again.
	harness.Eventually(h.T, pages+" huge pages can be had", func() bool {
		h.Must(os.WriteFile(file, []byte(pages), 0))
		got, err := os.ReadFile(file)
		return err == nil && strings.TrimSpace(string(got)) == pages
	})
}

// What a container may have of the node's huge pages: as many as it was given,
// none when it was given none, and more after an update.
func TestHugepages(t *testing.T) {
	if !has(t, "hugetlb") {
		t.Log("this host has no hugetlb controller; TestResize sends it the limits of 0")
		return
	}
	h := suite.Test(t)
	reserve(h, "8")
	pod := h.Pod()
	none := pod.Start(harness.Say("sleep"), harness.Resources(&limits{HugepageLimits: hugepages(0)}))
	two := pod.Start(harness.Say("sleep"), harness.Resources(&limits{HugepageLimits: hugepages(4 << 20)}))
	try := func(c *harness.Container, pages string, want bool) {
		t.Helper()
		answer, err := c.TryExec(0, "huge", pages)
		h.Must(err)
		if (answer.GetExitCode() == 0) != want {
			t.Errorf("%s pages: exit code %d: %s", pages, answer.GetExitCode(), answer.GetStderr())
		}
	}
	try(none, "1", false)
	try(two, "2", true)
	try(two, "3", false)
	h.Must(update(h, two, &limits{HugepageLimits: hugepages(8 << 20)}))
	try(two, "4", true)
	try(two, "5", false)
	h.Must(update(h, two, &limits{HugepageLimits: hugepages(0)}))
	try(two, "1", false)
}
