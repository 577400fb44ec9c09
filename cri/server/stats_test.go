package server

import (
	"fmt"
	"os"
	"strings"
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// cgroupFiles are this process's descriptors of files of cgroups below a path.
func cgroupFiles(t *testing.T, path string) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, e := range entries {
		if target, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && strings.HasPrefix(target, "/sys/fs/cgroup/") && strings.Contains(target, path) {
			n++
		}
	}
	return n
}

// TestStatsLetGo keeps a group's files for who asks often, and no longer than the
// container runs, or the pod is there.
func TestStatsLetGo(t *testing.T) {
	n := newNode(t)
	n.pull()
	pc := podConfig(t)
	pod := n.pod(pc)
	a, b := n.run(pod, pc, containerConfig(pc, "a", "sleep")), n.run(pod, pc, containerConfig(pc, "b", "sleep"))
	// What works on a group just now may have a file of it open for a moment.
	check := func(when, want string) {
		t.Helper()
		await(t, want+" are open after "+when, func() bool {
			return fmt.Sprint(cgroupFiles(t, "/"+a+"/") > 0, cgroupFiles(t, "/"+b+"/") > 0, cgroupFiles(t, n.cfg.Cgroup.Parent) > 0) == want
		})
	}
	ask := func() {
		t.Helper()
		if _, err := n.ListPodSandboxStats(n.ctx(), &runtimeapi.ListPodSandboxStatsRequest{}); err != nil {
			t.Fatal(err)
		}
		if _, err := n.ListPodSandboxMetrics(n.ctx(), &runtimeapi.ListPodSandboxMetricsRequest{}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := n.ContainerStats(n.ctx(), &runtimeapi.ContainerStatsRequest{ContainerId: b}); err != nil {
		t.Fatal(err)
	}
	check("one look", "false false false")
	ask()
	ask()
	check("several looks", "true true true")
	if _, err := n.StopContainer(n.ctx(), &runtimeapi.StopContainerRequest{ContainerId: a}); err != nil {
		t.Fatal(err)
	}
	if _, err := n.RemoveContainer(n.ctx(), &runtimeapi.RemoveContainerRequest{ContainerId: a}); err != nil {
		t.Fatal(err)
	}
	ask()
	check("one container's end", "false true true")
	if _, err := n.StopPodSandbox(n.ctx(), &runtimeapi.StopPodSandboxRequest{PodSandboxId: pod}); err != nil {
		t.Fatal(err)
	}
	ask()
	if _, err := n.RemovePodSandbox(n.ctx(), &runtimeapi.RemovePodSandboxRequest{PodSandboxId: pod}); err != nil {
		t.Fatal(err)
	}
	check("the pod's end", "false false false")
}
