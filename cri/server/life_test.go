package server

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestLife(t *testing.T) {
	n := newNode(t)
	n.pull()
	pc := podConfig(t)
	pod := n.pod(pc)
	ps, err := n.PodSandboxStatus(n.ctx(), &runtimeapi.PodSandboxStatusRequest{PodSandboxId: pod, Verbose: true})
	if err != nil {
		t.Fatal(err)
	}
	if ps.GetStatus().GetState() != runtimeapi.PodSandboxState_SANDBOX_READY || ps.GetStatus().GetAnnotations()["note"] != "line1\nline2" || ps.GetInfo()["info"] == "" {
		t.Errorf("pod status: %v", ps)
	}
	id := n.run(pod, pc, containerConfig(pc, "main", "print", "hello", "+", "sleep"))
	st := n.status(id)
	if st.GetState() != runtimeapi.ContainerState_CONTAINER_RUNNING || st.GetStartedAt() < st.GetCreatedAt() || st.GetImageId() == "" || st.GetImageId() != st.GetImage().GetImage() && st.GetImageRef() == "" {
		t.Errorf("running: %v", st)
	}
	if out, err := n.exec(id, "print", "from", "exec"); err != nil || string(out.GetStdout()) != "from exec\n" || out.GetExitCode() != 0 {
		t.Errorf("exec: %v, %v", out, err)
	}
	if out, err := n.exec(id, "exit", "7"); err != nil || out.GetExitCode() != 7 {
		t.Errorf("exec: %v, %v", out, err)
	}
	// A busy machine may not have let it print when its execs are done.
	file := filepath.Join(pc.GetLogDirectory(), "main.log")
	await(t, "the container prints", func() bool {
		info, err := os.Stat(file)
		return err == nil && info.Size() > 0
	})
	for range 2 {
		if _, err := n.StopContainer(n.ctx(), &runtimeapi.StopContainerRequest{ContainerId: id}); err != nil {
			t.Fatal(err)
		}
	}
	st = n.status(id)
	if st.GetState() != runtimeapi.ContainerState_CONTAINER_EXITED || st.GetExitCode() != 137 || st.GetReason() != "Error" || st.GetFinishedAt() < st.GetStartedAt() {
		t.Errorf("stopped: %v", st)
	}
	log, err := os.ReadFile(file)
	if err != nil || !strings.HasSuffix(string(log), " stdout F hello\n") {
		t.Errorf("log %q, %v", log, err)
	}
	for range 2 {
		if _, err := n.RemoveContainer(n.ctx(), &runtimeapi.RemoveContainerRequest{ContainerId: id}); err != nil {
			t.Fatal(err)
		}
		if _, err := n.StopPodSandbox(n.ctx(), &runtimeapi.StopPodSandboxRequest{PodSandboxId: pod}); err != nil {
			t.Fatal(err)
		}
	}
	_, err = n.ContainerStatus(n.ctx(), &runtimeapi.ContainerStatusRequest{ContainerId: id})
	want(t, err, codes.NotFound, id)
	for range 2 {
		if _, err := n.RemovePodSandbox(n.ctx(), &runtimeapi.RemovePodSandboxRequest{PodSandboxId: pod}); err != nil {
			t.Fatal(err)
		}
	}
	_, err = n.PodSandboxStatus(n.ctx(), &runtimeapi.PodSandboxStatusRequest{PodSandboxId: pod})
	want(t, err, codes.NotFound, pod)
}

func TestExits(t *testing.T) {
	n := newNode(t)
	n.pull()
	pc := podConfig(t)
	pod := n.pod(pc)
	ok := n.exit(n.run(pod, pc, containerConfig(pc, "ok", "exit", "0")))
	if ok.GetExitCode() != 0 || ok.GetReason() != "Completed" {
		t.Errorf("exit 0: %v", ok)
	}
	bad := n.exit(n.run(pod, pc, containerConfig(pc, "bad", "exit", "3")))
	if bad.GetExitCode() != 3 || bad.GetReason() != "Error" {
		t.Errorf("exit 3: %v", bad)
	}
	trap := n.run(pod, pc, containerConfig(pc, "trap", "trap", "SIGTERM", "42"))
	waitLog(t, pc, "trap", "waiting")
	if _, err := n.StopContainer(n.ctx(), &runtimeapi.StopContainerRequest{ContainerId: trap, Timeout: 100}); err != nil {
		t.Fatal(err)
	}
	if st := n.status(trap); st.GetExitCode() != 42 {
		t.Errorf("stop signal: %v", st)
	}
	deaf := n.run(pod, pc, containerConfig(pc, "deaf", "ignore", "SIGTERM", "+", "print", "deaf", "+", "sleep"))
	waitLog(t, pc, "deaf", "deaf")
	begin := time.Now()
	if _, err := n.StopContainer(n.ctx(), &runtimeapi.StopContainerRequest{ContainerId: deaf, Timeout: 1}); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took < time.Second {
		t.Errorf("a deaf container had %v to stop", took)
	}
	if st := n.status(deaf); st.GetExitCode() != 137 {
		t.Errorf("killed: %v", st)
	}
}

func waitLog(t *testing.T, pc *runtimeapi.PodSandboxConfig, name, words string) {
	t.Helper()
	await(t, fmt.Sprintf("the log of %s says %q", name, words), func() bool {
		body, err := os.ReadFile(filepath.Join(pc.GetLogDirectory(), name+".log"))
		return err == nil && strings.Contains(string(body), words)
	})
}

func TestCommandThatCannotRun(t *testing.T) {
	n := newNode(t)
	n.pull()
	pc := podConfig(t)
	pod := n.pod(pc)
	for command, code := range map[string]int32{"/bin/nosuch": 127, "nosuch": 127, "/etc/note": 126} {
		cc := containerConfig(pc, strings.ReplaceAll(strings.Trim(command, "/"), "/", "-"))
		cc.Command = []string{command}
		id, err := n.create(pod, pc, cc)
		if err != nil {
			t.Fatal(err)
		}
		_, err = n.StartContainer(n.ctx(), &runtimeapi.StartContainerRequest{ContainerId: id})
		want(t, err, codes.Unknown, command)
		st := n.status(id)
		if st.GetState() != runtimeapi.ContainerState_CONTAINER_EXITED || st.GetExitCode() != code || st.GetReason() != "ContainerCannotRun" || !strings.Contains(st.GetMessage(), command) {
			t.Errorf("%s: %v", command, st)
		}
		_, err = n.StartContainer(n.ctx(), &runtimeapi.StartContainerRequest{ContainerId: id})
		want(t, err, codes.FailedPrecondition, "Exited")
	}
}

func TestSharedPID(t *testing.T) {
	n := newNode(t)
	n.pull()
	pc := podConfig(t, sharedPID)
	pod := n.pod(pc)
	a := n.run(pod, pc, containerConfig(pc, "a", "sleep"))
	b := n.run(pod, pc, containerConfig(pc, "b", "sleep"))
	// A start is over when the kernel has taken the program; its arguments are
	// there to be seen a moment later.
	await(t, "both containers are seen", func() bool {
		out, err := n.exec(b, "pids")
		if err != nil {
			t.Fatal(err)
		}
		return strings.Count(string(out.GetStdout()), "sleep") == 2
	})
	if _, err := n.StopContainer(n.ctx(), &runtimeapi.StopContainerRequest{ContainerId: a}); err != nil {
		t.Fatal(err)
	}
	if st := n.status(b); st.GetState() != runtimeapi.ContainerState_CONTAINER_RUNNING {
		t.Errorf("the other container: %v", st)
	}
	// Another container may look into this one's processes by target.
	cc := containerConfig(pc, "debug", "pids")
	cc.Linux.SecurityContext.NamespaceOptions = &runtimeapi.NamespaceOption{
		Network: runtimeapi.NamespaceMode_NODE, Pid: runtimeapi.NamespaceMode_TARGET, TargetId: b,
	}
	if st := n.exit(n.run(pod, pc, cc)); st.GetExitCode() != 0 {
		t.Errorf("target: %v", st)
	}
	waitLog(t, pc, "debug", "sleep")
}

func TestSharedMemory(t *testing.T) {
	n := newNode(t)
	n.pull()
	pc := podConfig(t)
	pod := n.pod(pc)
	a := n.run(pod, pc, containerConfig(pc, "a", "sleep"))
	b := n.run(pod, pc, containerConfig(pc, "b", "sleep"))
	if _, err := n.exec(a, "write", "/dev/shm/x", "shared"); err != nil {
		t.Fatal(err)
	}
	out, err := n.exec(b, "cat", "/dev/shm/x")
	if err != nil || !strings.Contains(string(out.GetStdout()), "shared") {
		t.Errorf("%v, %v", out, err)
	}
}

func TestStopPodKillsContainers(t *testing.T) {
	n := newNode(t)
	n.pull()
	pc := podConfig(t)
	pod := n.pod(pc)
	id := n.run(pod, pc, containerConfig(pc, "main", "sleep"))
	created, err := n.create(pod, pc, containerConfig(pc, "second", "sleep"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.StopPodSandbox(n.ctx(), &runtimeapi.StopPodSandboxRequest{PodSandboxId: pod}); err != nil {
		t.Fatal(err)
	}
	if st := n.status(id); st.GetState() != runtimeapi.ContainerState_CONTAINER_EXITED {
		t.Errorf("running: %v", st)
	}
	_, err = n.StartContainer(n.ctx(), &runtimeapi.StartContainerRequest{ContainerId: created})
	want(t, err, codes.FailedPrecondition, "NotReady")
	_, err = n.create(pod, pc, containerConfig(pc, "third", "sleep"))
	want(t, err, codes.FailedPrecondition, "NotReady")
	list, err := n.ListPodSandbox(n.ctx(), &runtimeapi.ListPodSandboxRequest{Filter: &runtimeapi.PodSandboxFilter{State: &runtimeapi.PodSandboxStateValue{State: runtimeapi.PodSandboxState_SANDBOX_NOTREADY}}})
	if err != nil || len(list.GetItems()) != 1 {
		t.Errorf("not ready: %v, %v", list, err)
	}
}

func TestFilters(t *testing.T) {
	n := newNode(t)
	n.pull()
	pc := podConfig(t)
	pod := n.pod(pc)
	other := podConfig(t, func(c *runtimeapi.PodSandboxConfig) { c.Labels = map[string]string{"app": "db"} })
	otherPod := n.pod(other)
	a := n.run(pod, pc, containerConfig(pc, "a", "sleep"))
	b, err := n.create(pod, pc, containerConfig(pc, "b", "sleep"))
	if err != nil {
		t.Fatal(err)
	}
	c := n.run(otherPod, other, containerConfig(other, "c", "sleep"))
	running := &runtimeapi.ContainerStateValue{State: runtimeapi.ContainerState_CONTAINER_RUNNING}
	for name, f := range map[string]struct {
		filter *runtimeapi.ContainerFilter
		want   []string
	}{
		"all":       {nil, []string{c, b, a}},
		"state":     {&runtimeapi.ContainerFilter{State: running}, []string{c, a}},
		"pod":       {&runtimeapi.ContainerFilter{PodSandboxId: pod}, []string{b, a}},
		"pod begin": {&runtimeapi.ContainerFilter{PodSandboxId: pod[:12]}, []string{b, a}},
		"id":        {&runtimeapi.ContainerFilter{Id: b}, []string{b}},
		"id begin":  {&runtimeapi.ContainerFilter{Id: b[:10]}, []string{b}},
		"labels":    {&runtimeapi.ContainerFilter{LabelSelector: map[string]string{"name": "c"}}, []string{c}},
		"both":      {&runtimeapi.ContainerFilter{Id: b, State: running}, nil},
		"none":      {&runtimeapi.ContainerFilter{Id: "nosuch"}, nil},
	} {
		r, err := n.ListContainers(n.ctx(), &runtimeapi.ListContainersRequest{Filter: f.filter})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, item := range r.GetContainers() {
			got = append(got, item.GetId())
		}
		if !slices.Equal(got, f.want) {
			t.Errorf("%s: %v, want %v", name, got, f.want)
		}
	}
	stats, err := n.ListContainerStats(n.ctx(), &runtimeapi.ListContainerStatsRequest{Filter: &runtimeapi.ContainerStatsFilter{PodSandboxId: pod}})
	if err != nil || len(stats.GetStats()) != 2 {
		t.Errorf("stats: %v, %v", stats, err)
	}
	one, err := n.ContainerStats(n.ctx(), &runtimeapi.ContainerStatsRequest{ContainerId: a})
	if err != nil || one.GetStats().GetMemory().GetUsageBytes().GetValue() == 0 || one.GetStats().GetCpu().GetTimestamp() == 0 || one.GetStats().GetWritableLayer().GetFsId() == nil {
		t.Errorf("stats of one: %v, %v", one, err)
	}
	pods, err := n.ListPodSandboxStats(n.ctx(), &runtimeapi.ListPodSandboxStatsRequest{Filter: &runtimeapi.PodSandboxStatsFilter{LabelSelector: map[string]string{"app": "web"}}})
	if err != nil || len(pods.GetStats()) != 1 || len(pods.GetStats()[0].GetLinux().GetContainers()) != 2 {
		t.Errorf("pod stats: %v, %v", pods, err)
	}
}
