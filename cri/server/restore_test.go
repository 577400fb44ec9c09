package server

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/record"
	"github.com/varve-cri/varve/shim"
)

func TestRestart(t *testing.T) {
	n := newNode(t)
	n.pull()
	pc := podConfig(t, sharedPID)
	pod := n.pod(pc)
	runs := n.run(pod, pc, containerConfig(pc, "runs", "sleep"))
	ends := n.run(pod, pc, containerConfig(pc, "ends", "trap", "SIGTERM", "9"))
	waitLog(t, pc, "ends", "waiting")
	created, err := n.create(pod, pc, containerConfig(pc, "created", "print", "late"))
	if err != nil {
		t.Fatal(err)
	}
	before := n.status(runs)
	c, err := n.s.table.findContainer(ends)
	if err != nil {
		t.Fatal(err)
	}
	n.crash()
	if err := unix.Kill(c.rec.Load().PID, unix.SIGTERM); err != nil { // one exits while there is no daemon
		t.Fatal(err)
	}
	await(t, "its exit is on record", func() bool {
		_, err := shim.ReadExit(n.s.records.ContainerDir(ends))
		return err == nil
	})
	ended := time.Now()
	n.restart()
	if st := n.status(runs); st.GetState() != runtimeapi.ContainerState_CONTAINER_RUNNING || st.GetStartedAt() != before.GetStartedAt() {
		t.Errorf("running: %v", st)
	}
	st := n.status(ends)
	if st.GetState() != runtimeapi.ContainerState_CONTAINER_EXITED || st.GetExitCode() != 9 || st.GetFinishedAt() > ended.UnixNano() {
		t.Errorf("ended meanwhile: %v", st)
	}
	if out, err := n.exec(runs, "print", "still", "here"); err != nil || string(out.GetStdout()) != "still here\n" {
		t.Errorf("exec after the restart: %v, %v", out, err)
	}
	if _, err := n.StartContainer(n.ctx(), &runtimeapi.StartContainerRequest{ContainerId: created}); err != nil {
		t.Errorf("start of what was created before: %v", err)
	}
	if st := n.exit(created); st.GetExitCode() != 0 {
		t.Errorf("created before: %v", st)
	}
	if again := n.pod(pc); again != pod {
		t.Errorf("a retry after the restart made another pod")
	}
	if _, err := n.StopContainer(n.ctx(), &runtimeapi.StopContainerRequest{ContainerId: runs}); err != nil {
		t.Fatal(err)
	}
	if st := n.status(runs); st.GetExitCode() != 137 {
		t.Errorf("stopped after the restart: %v", st)
	}
}

func TestHalfMadeIsRemoved(t *testing.T) {
	n := newNode(t)
	n.pull()
	pc := podConfig(t)
	pod := n.pod(pc)
	kept := n.run(pod, pc, containerConfig(pc, "kept", "sleep"))
	gone, err := n.create(pod, pc, containerConfig(pc, "gone", "sleep"))
	if err != nil {
		t.Fatal(err)
	}
	n.crash()
	// A pod whose making was cut off, a container without its layer, a layer
	// without a container, directories without records.
	half := &record.Pod{ID: newID(), CreatedAt: 1, State: record.PodPreparing, Config: podConfig(t), CgroupParent: n.cfg.Cgroup.Parent + "/x"}
	half.Owe(record.DutyNamespaces, "")
	if err := n.s.records.SavePod(half); err != nil {
		t.Fatal(err)
	}
	if err := n.images.RemoveRW(gone); err != nil {
		t.Fatal(err)
	}
	img, err := n.images.Get(probe)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.images.CreateRW(newID(), img.ID); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"pods", "containers"} {
		if err := os.MkdirAll(filepath.Join(n.cfg.StateDir, kind, newID()), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	bad := filepath.Join(n.cfg.StateDir, "pods", newID())
	if err := os.MkdirAll(bad, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(bad, "pod.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	n.restart()
	if st := n.status(kept); st.GetState() != runtimeapi.ContainerState_CONTAINER_RUNNING {
		t.Errorf("what was whole: %v", st)
	}
	_, err = n.ContainerStatus(n.ctx(), &runtimeapi.ContainerStatusRequest{ContainerId: gone})
	want(t, err, codes.NotFound)
	if layers := n.images.ListRW(); len(layers) != 1 || layers[0] != kept {
		t.Errorf("layers %v", layers)
	}
	for kind, count := range map[string]int{"pods": 1, "containers": 1, "bad": 1} {
		left, err := os.ReadDir(filepath.Join(n.cfg.StateDir, kind))
		if err != nil || len(left) != count {
			t.Errorf("%s: %v, %v: want %d", kind, left, err, count)
		}
	}
}

func TestShimIsKilled(t *testing.T) {
	n := newNode(t)
	n.pull()
	pc := podConfig(t)
	pod := n.pod(pc)
	id := n.run(pod, pc, containerConfig(pc, "main", "sleep"))
	c, err := n.s.table.findContainer(id)
	if err != nil {
		t.Fatal(err)
	}
	state, err := c.client.Load().State(n.ctx())
	if err != nil {
		t.Fatal(err)
	}
	shimProcess, err := os.FindProcess(state.ShimPID)
	if err != nil {
		t.Fatal(err)
	}
	if err := shimProcess.Kill(); err != nil {
		t.Fatal(err)
	}
	st := n.exit(id)
	if st.GetExitCode() != 137 || !strings.Contains(st.GetMessage(), "shim was killed") {
		t.Errorf("status: %v", st)
	}
}
