package server

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/record"
)

func TestSharesPID(t *testing.T) {
	mode := func(m runtimeapi.NamespaceMode) *runtimeapi.NamespaceOption {
		return &runtimeapi.NamespaceOption{Pid: m}
	}
	for _, c := range []struct {
		pod, own *runtimeapi.NamespaceOption
		want     bool
	}{
		{mode(runtimeapi.NamespaceMode_CONTAINER), nil, false},
		{mode(runtimeapi.NamespaceMode_POD), nil, true},
		{mode(runtimeapi.NamespaceMode_NODE), nil, true},
		{mode(runtimeapi.NamespaceMode_POD), mode(runtimeapi.NamespaceMode_CONTAINER), false},
		{mode(runtimeapi.NamespaceMode_CONTAINER), mode(runtimeapi.NamespaceMode_TARGET), true},
	} {
		pod := &record.Pod{Config: &runtimeapi.PodSandboxConfig{Linux: &runtimeapi.LinuxPodSandboxConfig{
			SecurityContext: &runtimeapi.LinuxSandboxSecurityContext{NamespaceOptions: c.pod},
		}}}
		rec := &record.Container{Config: &runtimeapi.ContainerConfig{}}
		if c.own != nil {
			rec.Config.Linux = &runtimeapi.LinuxContainerConfig{SecurityContext: &runtimeapi.LinuxContainerSecurityContext{NamespaceOptions: c.own}}
		}
		if got := sharesPID(pod, rec); got != c.want {
			t.Errorf("pod %v, container %v: %v", c.pod, c.own, got)
		}
	}
}

// A number that has another owner by now must not be taken for the pause
// process.
func TestReusedPausePID(t *testing.T) {
	n := newNode(t)
	n.pull()
	pc := podConfig(t, sharedPID)
	pod := n.pod(pc)
	id, err := n.create(pod, pc, containerConfig(pc, "main", "sleep"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := n.s.table.findPod(pod)
	if err != nil {
		t.Fatal(err)
	}
	good, other := p.rec.Load(), n.pod(podConfig(t, sharedPID))
	o, err := n.s.table.findPod(other)
	if err != nil {
		t.Fatal(err)
	}
	bad := good.Clone()
	bad.PausePID = o.rec.Load().PausePID
	p.rec.Store(bad)
	_, err = n.StartContainer(n.ctx(), &runtimeapi.StartContainerRequest{ContainerId: id})
	want(t, err, codes.FailedPrecondition, "pause process", "another")
	if st := n.status(id).GetState(); st != runtimeapi.ContainerState_CONTAINER_CREATED {
		t.Errorf("refused container is %v", st)
	}
	p.rec.Store(good)
	if _, err := n.StartContainer(n.ctx(), &runtimeapi.StartContainerRequest{ContainerId: id}); err != nil {
		t.Fatal(err)
	}
	init, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", good.PausePID))
	if err != nil {
		t.Fatal(err)
	}
	c, err := n.s.table.findContainer(id)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", c.rec.Load().PID)); err != nil || got != init {
		t.Errorf("container is in %s (%v), the pause process in %s", got, err, init)
	}
}

func TestTargetExitedMeanwhile(t *testing.T) {
	n := newNode(t)
	n.pull()
	pc := podConfig(t)
	pod := n.pod(pc)
	target := n.run(pod, pc, containerConfig(pc, "main", "sleep"))
	var ids []string
	for _, name := range []string{"first", "second"} {
		cc := containerConfig(pc, name, "sleep")
		cc.Linux.SecurityContext.NamespaceOptions = &runtimeapi.NamespaceOption{
			Pid: runtimeapi.NamespaceMode_TARGET, TargetId: target, Network: runtimeapi.NamespaceMode_NODE,
		}
		id, err := n.create(pod, pc, cc)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	if _, err := n.StartContainer(n.ctx(), &runtimeapi.StartContainerRequest{ContainerId: ids[0]}); err != nil {
		t.Fatal(err)
	}
	if _, err := n.StopContainer(n.ctx(), &runtimeapi.StopContainerRequest{ContainerId: target}); err != nil {
		t.Fatal(err)
	}
	_, err := n.StartContainer(n.ctx(), &runtimeapi.StartContainerRequest{ContainerId: ids[1]})
	want(t, err, codes.FailedPrecondition, target)
}

func TestHostname(t *testing.T) {
	n := newNode(t)
	n.pull()
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	named := func(c *runtimeapi.PodSandboxConfig) { c.Metadata.Name = "my pod" }
	own := podConfig(t, named) // on the host's network: the host's name
	id := n.run(n.pod(own), own, containerConfig(own, "main", "sleep"))
	if out, err := n.exec(id, "env", "HOSTNAME"); err != nil || strings.TrimSpace(string(out.GetStdout())) != host {
		t.Errorf("HOSTNAME on the host's network: %s, %v; want %s", out.GetStdout(), err, host)
	}
	p := newPod(&record.Pod{ID: id, Config: own, Pins: record.Pins{Net: true, UTS: true}})
	if f, err := n.s.podFacts(p, nil); err != nil || f.Hostname != "my-pod" {
		t.Errorf("a pod without a host name: %v, %v", f, err)
	}
}
