package server

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestExecTimeout(t *testing.T) {
	n := newNode(t)
	n.pull()
	pc := podConfig(t)
	id := n.run(n.pod(pc), pc, containerConfig(pc, "main", "sleep"))
	_, err := n.ExecSync(n.ctx(), &runtimeapi.ExecSyncRequest{ContainerId: id, Cmd: []string{"/bin/probe", "spawn", "sleep", "+", "sleep"}, Timeout: 1})
	want(t, err, codes.DeadlineExceeded, "timeout 1s exceeded")
	n.alone(id)
	// The caller may lose interest as well.
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	_, err = n.ExecSync(ctx, &runtimeapi.ExecSyncRequest{ContainerId: id, Cmd: []string{"/bin/probe", "sleep"}})
	want(t, err, codes.DeadlineExceeded)
	settle(t, n)
	n.alone(id)
}

// alone fails the test unless the container's own process is all there is.
func (n *node) alone(id string) {
	n.t.Helper()
	var seen string
	for end := time.Now().Add(patience); time.Now().Before(end); {
		out, err := n.exec(id, "pids")
		if err != nil {
			n.t.Fatal(err)
		}
		seen = string(out.GetStdout())
		living := 0 // without zombies, which are the first process's to reap
		for line := range strings.Lines(seen) {
			if len(strings.Fields(line)) > 1 {
				living++
			}
		}
		if living == 2 { // its own and the one that looks
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	n.t.Errorf("left behind:\n%s", seen)
}

func TestExecLeavesChildBehind(t *testing.T) {
	n := newNode(t)
	n.cfg.Exec.DrainTimeout = 200e6
	n.pull()
	pc := podConfig(t)
	id := n.run(n.pod(pc), pc, containerConfig(pc, "main", "sleep"))
	out, err := n.exec(id, "spawn", "sleep") // for whose output it would wait for ever
	if err != nil || !strings.Contains(string(out.GetStdout()), "spawned") {
		t.Errorf("%v, %v", out, err)
	}
}

func TestExecOutputIsCapped(t *testing.T) {
	n := newNode(t)
	n.cfg.Exec.MaxOutputBytes = 1 << 20
	n.pull()
	pc := podConfig(t)
	id := n.run(n.pod(pc), pc, containerConfig(pc, "main", "sleep"))
	out, err := n.exec(id, "bytes", "5000000")
	if err != nil || len(out.GetStdout()) != 1<<20 || out.GetExitCode() != 0 {
		t.Errorf("%d bytes, exit code %d, %v", len(out.GetStdout()), out.GetExitCode(), err)
	}
}

func TestExecThatCannotRun(t *testing.T) {
	n := newNode(t)
	n.pull()
	pc := podConfig(t)
	pod := n.pod(pc)
	id := n.run(pod, pc, containerConfig(pc, "main", "sleep"))
	_, err := n.ExecSync(n.ctx(), &runtimeapi.ExecSyncRequest{ContainerId: id, Cmd: []string{"nosuch"}})
	want(t, err, codes.Unknown, "nosuch", "exit code 127")
	_, err = n.ExecSync(n.ctx(), &runtimeapi.ExecSyncRequest{ContainerId: id})
	want(t, err, codes.InvalidArgument, "cmd")
	created, err := n.create(pod, pc, containerConfig(pc, "idle", "sleep"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = n.exec(created, "print")
	want(t, err, codes.FailedPrecondition, "Created")
}

func TestReopenLog(t *testing.T) {
	n := newNode(t)
	n.pull()
	pc := podConfig(t)
	id := n.run(n.pod(pc), pc, containerConfig(pc, "main", "tick", "5ms"))
	waitLog(t, pc, "main", "tick 3")
	path := filepath.Join(pc.GetLogDirectory(), "main.log")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	if _, err := n.ReopenContainerLog(n.ctx(), &runtimeapi.ReopenContainerLogRequest{ContainerId: id}); err != nil {
		t.Fatal(err)
	}
	waitLog(t, pc, "main", "tick")
}
