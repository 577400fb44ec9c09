package server

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/config"
)

// What the configuration gives every container: rlimits, a handler's over the
// node's, and the size of /dev/shm.
func TestLimitsOfTheConfiguration(t *testing.T) {
	n := newNode(t)
	n.pull()
	n.cfg.Limits.Rlimits = map[string]config.Rlimit{"core": {Soft: 0, Hard: 4096}, "nproc": {Soft: 77, Hard: 99}, "stack": {Soft: 1 << 20, Hard: 2 << 20}}
	n.cfg.Limits.ShmBytes = 5 << 20
	n.cfg.Runtime.Handlers = map[string]config.Handler{"tight": {Rlimits: map[string]config.Rlimit{"nproc": {Soft: 55, Hard: 66}}}}
	if err := n.cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	n.crash()
	n.restart()
	run := func(handler, nproc string) {
		pc := podConfig(t)
		pod, err := n.RunPodSandbox(n.ctx(), &runtimeapi.RunPodSandboxRequest{Config: pc, RuntimeHandler: handler})
		if err != nil {
			t.Fatal(err)
		}
		id := n.run(pod.GetPodSandboxId(), pc, containerConfig(pc, "main", "sleep"))
		out, err := n.exec(id, "cat", "/proc/1/limits", "/proc/mounts")
		if err != nil {
			t.Fatal(err)
		}
		text := strings.Join(strings.Fields(string(out.GetStdout())), " ")
		// A bounding set without CAP_SYS_RESOURCE cannot raise what this process has.
		var own unix.Rlimit
		if err := unix.Getrlimit(unix.RLIMIT_CORE, &own); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{
			fmt.Sprintf("Max core file size 0 %d bytes", min(own.Max, 4096)),
			"Max processes " + nproc + " processes", "Max stack size 1048576 2097152 bytes", "size=5120k",
		} {
			if !strings.Contains(text, want) {
				t.Errorf("handler %q: no %q in:\n%s", handler, want, out.GetStdout())
			}
		}
	}
	run("", "77 99")
	run("tight", "55 66")
}
