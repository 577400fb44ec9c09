package server

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/step"
	"github.com/varve-cri/varve/e2e/testimage"
	"github.com/varve-cri/varve/e2e/testregistry"
	"github.com/varve-cri/varve/imagestore/progress"
)

func TestPluginThatHangs(t *testing.T) {
	n := newNode(t)
	hang := n.faultyNetwork("hangs-at-")
	pc := podConfig(t, ownNetwork)
	run := &runtimeapi.RunPodSandboxRequest{Config: pc}
	hang("ADD", true)
	hang("DEL", true)
	_, err := n.RunPodSandbox(n.deadline(n.in("RunPodSandbox", "network", "CNI plugin")), run)
	want(t, err, codes.DeadlineExceeded, "RunPodSandbox test/pod: network: ", "plugin fake: ADD: ", "still running after ")
	// The first one is being undone, which hangs too.
	_, err = n.RunPodSandbox(n.deadline(joined(1)), run)
	want(t, err, codes.DeadlineExceeded, "RunPodSandbox test/pod: waits for RunPodSandbox test/pod, which is in step ")
	hang("ADD", false)
	hang("DEL", false)
	pod := n.pod(pc)
	stop := &runtimeapi.StopPodSandboxRequest{PodSandboxId: pod}
	hang("DEL", true)
	_, err = n.StopPodSandbox(n.deadline(n.in("StopPodSandbox", "network", "CNI plugin")), stop)
	want(t, err, codes.DeadlineExceeded, "StopPodSandbox test/pod: network: ", "plugin fake: DEL: ", "still running after ")
	hang("DEL", false)
	if _, err := n.StopPodSandbox(n.ctx(), stop); err != nil {
		t.Error(err)
	}
}

// deadDirectory is one whose file system does not answer, until it is revived to
// answer with an error.
func deadDirectory(t *testing.T) (dir string, revive func()) {
	t.Helper()
	dir = t.TempDir()
	device, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	options := fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", device.Fd())
	if err := unix.Mount("varve-dead", dir, "fuse", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	revive = func() {
		once.Do(func() {
			device.Close() // who waits gets an error
			if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(revive)
	return dir, revive
}

func TestHostPathThatHangs(t *testing.T) {
	n := newNode(t)
	n.pull()
	pc := podConfig(t)
	pod := n.pod(pc)
	dir, revive := deadDirectory(t)
	cc := containerConfig(pc, "main", "sleep")
	cc.Mounts = []*runtimeapi.Mount{{HostPath: dir, ContainerPath: "/data"}}
	create := &runtimeapi.CreateContainerRequest{PodSandboxId: pod, Config: cc, SandboxConfig: pc}
	_, err := n.CreateContainer(n.deadline(n.in("CreateContainer", "host paths", "host path")), create)
	want(t, err, codes.DeadlineExceeded, "CreateContainer main: host paths: ", dir, "still running after ")
	// A log directory cannot be looked at with a limit: the step hangs, the request does not.
	logs := podConfig(t, func(c *runtimeapi.PodSandboxConfig) { c.LogDirectory = dir + "/logs" })
	for _, hangs := range []func() bool{n.begun("RunPodSandbox", "files"), joined(1)} {
		_, err = n.RunPodSandbox(n.deadline(hangs), &runtimeapi.RunPodSandboxRequest{Config: logs})
		want(t, err, codes.DeadlineExceeded, "RunPodSandbox test/pod: ", "files")
	}
	revive()
	if _, err := n.CreateContainer(n.ctx(), create); err != nil {
		t.Error(err)
	}
	n.pod(logs)
}

// stopShim stops the shim of a container, so that it does not answer.
func (n *node) stopShim(id string) {
	n.t.Helper()
	c, err := n.s.table.findContainer(id)
	if err != nil {
		n.t.Fatal(err)
	}
	if err := unix.Kill(c.client.Load().PID(), unix.SIGSTOP); err != nil {
		n.t.Fatal(err)
	}
}

func TestShimThatHangs(t *testing.T) {
	n := newNode(t)
	n.pull()
	pc := podConfig(t)
	pod := n.pod(pc)
	id := n.run(pod, pc, containerConfig(pc, "main", "sleep"))
	n.stopShim(id)
	stop := &runtimeapi.StopContainerRequest{ContainerId: id}
	_, err := n.StopContainer(n.deadline(n.begun("StopContainer", "kill")), stop)
	want(t, err, codes.DeadlineExceeded, "StopContainer main: kill: still running after ")
	if _, err := n.StopContainer(n.ctx(), stop); err != nil {
		t.Fatal(err)
	}
	if st := n.status(id); st.GetState() != runtimeapi.ContainerState_CONTAINER_EXITED || st.GetExitCode() != 137 {
		t.Errorf("stopped: %v", st)
	}
	other := n.run(pod, pc, containerConfig(pc, "other", "sleep"))
	n.stopShim(other)
	n.s.removePodNow(t, pod)
}

// stopSpares stops all shims that wait for work, and returns what ends them.
func (n *node) stopSpares() (end func()) {
	n.t.Helper()
	var spares []int
	lists, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		n.t.Fatal(err)
	}
	for _, list := range lists {
		body, _ := os.ReadFile(list)
		for _, word := range strings.Fields(string(body)) {
			if exe, err := os.Readlink("/proc/" + word + "/exe"); err == nil && strings.HasPrefix(exe, "/memfd:varve-shim") {
				pid, _ := strconv.Atoi(word)
				spares = append(spares, pid)
			}
		}
	}
	signal := func(sig unix.Signal) {
		for _, pid := range spares {
			_ = unix.Kill(pid, sig)
		}
	}
	signal(unix.SIGSTOP)
	return func() { signal(unix.SIGKILL) }
}

// A start that hangs goes on for a moment, and the container is used up; the next
// one starts.
func TestStartThatHangs(t *testing.T) {
	n := newNode(t)
	n.pull()
	pc := podConfig(t)
	pod := n.pod(pc)
	id, err := n.create(pod, pc, containerConfig(pc, "main", "sleep"))
	if err != nil {
		t.Fatal(err)
	}
	await(t, "the spares wait", func() bool { return n.launcher.Waiting() == *n.cfg.Shim.Spares })
	end := n.stopSpares()
	defer end()
	start := &runtimeapi.StartContainerRequest{ContainerId: id}
	_, err = n.StartContainer(n.deadline(n.begun("StartContainer", "launch")), start)
	want(t, err, codes.DeadlineExceeded, "StartContainer main: launch: still running after ")
	st := n.exit(id)
	_, err = n.StartContainer(n.ctx(), start)
	want(t, err, codes.FailedPrecondition, "Exited")
	if st.GetReason() != "StartError" || st.GetExitCode() != 128 || !strings.Contains(st.GetMessage(), "launch: still running after ") {
		t.Errorf("given up: %v", st)
	}
	end()
	for try := range 10 { // a spare may be taken before its end is noticed
		id, err := n.create(pod, pc, containerConfig(pc, fmt.Sprint("other", try), "sleep"))
		if err == nil {
			_, err = n.StartContainer(n.ctx(), &runtimeapi.StartContainerRequest{ContainerId: id})
		}
		if err == nil {
			return
		}
		t.Log(err)
	}
	t.Error("no container starts any more")
}

func TestRegistryThatHangs(t *testing.T) {
	n := newNode(t)
	random := strings.Repeat("a layer of its own ", 1000)
	image, err := testimage.Build(testimage.Spec{Config: v1.Config{}, Layers: [][]testimage.File{{{Name: "f", Body: random}}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := built.registry.Push("hangs:1", image); err != nil {
		t.Fatal(err)
	}
	built.registry.Fault("hangs", testregistry.Fault{Blobs: testregistry.BlobStalled})
	pull := &runtimeapi.PullImageRequest{Image: &runtimeapi.ImageSpec{Image: "registry.test/hangs:1"}}
	_, err = n.PullImage(n.deadline(func() bool {
		for _, p := range n.images.Pulls().List() {
			if len(p.Layers) == 1 && p.Layers[0].Stage == progress.LayerFetching {
				return true
			}
		}
		return false
	}), pull)
	want(t, err, codes.DeadlineExceeded, "PullImage registry.test/hangs:1: layers: ", " bytes had come: still running after ")
	built.registry.Fault("hangs", testregistry.Fault{})
	if _, err := n.PullImage(n.ctx(), pull); err != nil {
		t.Error(err)
	}
	remove := &runtimeapi.RemoveImageRequest{Image: pull.GetImage()}
	if _, err := n.RemoveImage(n.ctx(), remove); err != nil {
		t.Error(err)
	}
}

// hold makes the first step with the name wait until it is released.
func (n *node) hold(verb, name string) (reached <-chan bool, release func()) {
	at, hold := make(chan bool, 1), make(chan bool)
	var once, free sync.Once
	f := func(_ context.Context, op step.Op, s string) {
		if op.Verb == verb && s == name {
			once.Do(func() { at <- true; <-hold })
		}
	}
	n.hook.f.Store(&f)
	release = func() { free.Do(func() { close(hold) }); n.hook.f.Store(nil) }
	n.t.Cleanup(release)
	return at, release
}

// Who waits for another request is told for which, and where that is.
func TestWaitsForAnotherRequest(t *testing.T) {
	n := newNode(t)
	n.pull()
	pc := podConfig(t)
	pod := n.pod(pc)
	id, err := n.create(pod, pc, containerConfig(pc, "main", "sleep"))
	if err != nil {
		t.Fatal(err)
	}
	reached, release := n.hold("StartContainer", "launch")
	started := make(chan error, 1)
	go func() {
		_, err := n.StartContainer(n.ctx(), &runtimeapi.StartContainerRequest{ContainerId: id})
		started <- err
	}()
	<-reached
	const waits = "waits for StartContainer main, which is in step launch for "
	_, err = n.StopContainer(n.deadline(joined(2)), &runtimeapi.StopContainerRequest{ContainerId: id})
	want(t, err, codes.DeadlineExceeded, "StopContainer main: "+waits)
	_, err = n.RemoveContainer(n.deadline(joined(2)), &runtimeapi.RemoveContainerRequest{ContainerId: id})
	want(t, err, codes.DeadlineExceeded, "RemoveContainer main: "+waits)
	_, err = n.StopPodSandbox(n.deadline(n.begun("StopPodSandbox", "containers")), &runtimeapi.StopPodSandboxRequest{PodSandboxId: pod})
	want(t, err, codes.DeadlineExceeded, "StopPodSandbox test/pod: containers: ", waits)
	_, err = n.StartContainer(n.deadline(joined(2)), &runtimeapi.StartContainerRequest{ContainerId: id})
	want(t, err, codes.DeadlineExceeded, "StartContainer main: launch: still running after ")
	release()
	if err := <-started; err != nil {
		t.Errorf("the start itself: %v", err)
	}
}

// Two that ask for the same get the result of one run.
func TestSecondRequestJoins(t *testing.T) {
	n := newNode(t)
	n.pull()
	pc := podConfig(t)
	pod := n.pod(pc)
	id := n.run(pod, pc, containerConfig(pc, "main", "sleep"))
	for _, r := range []struct {
		verb, step string
		send       func() error
	}{
		{"StopContainer", "kill", func() error {
			_, err := n.StopContainer(n.ctx(), &runtimeapi.StopContainerRequest{ContainerId: id})
			return err
		}},
		{"RemoveContainer", "layer", func() error {
			_, err := n.RemoveContainer(n.ctx(), &runtimeapi.RemoveContainerRequest{ContainerId: id})
			return err
		}},
		{"RemovePodSandbox", "mark", func() error {
			_, err := n.RemovePodSandbox(n.ctx(), &runtimeapi.RemovePodSandboxRequest{PodSandboxId: pod})
			return err
		}},
	} {
		reached, release := n.hold(r.verb, r.step)
		results := make(chan error, 2)
		go func() { results <- r.send() }()
		<-reached
		go func() { results <- r.send() }()
		await(t, "the second one has joined", joined(2))
		var runs []step.Live // of all, those of before may not have ended
		for _, l := range n.s.steps.Live() {
			if l.Verb == r.verb {
				runs = append(runs, l)
			}
		}
		if len(runs) != 1 || runs[0].Step != r.step {
			t.Errorf("%s: runs %v", r.verb, runs)
		}
		release()
		for range 2 {
			if err := <-results; err != nil {
				t.Errorf("%s: %v", r.verb, err)
			}
		}
	}
}
