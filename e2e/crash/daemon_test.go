package crash

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/admin/client"
	"github.com/varve-cri/varve/cri/admin/wire"
	"github.com/varve-cri/varve/e2e/harness"
	"github.com/varve-cri/varve/e2e/testimage"
	"github.com/varve-cri/varve/e2e/testregistry"
	"github.com/varve-cri/varve/imagestore/progress"
	"github.com/varve-cri/varve/shim"
)

const (
	running = runtimeapi.ContainerState_CONTAINER_RUNNING
	exited  = runtimeapi.ContainerState_CONTAINER_EXITED
)

func TestContainersOutliveTheDaemon(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod(harness.OwnNetwork)
	c := pod.Start(harness.Say("tick 10ms"))
	created := pod.Create(harness.Say("print started after the crash"))
	c.WaitLog("tick 5")
	before, podBefore := c.Status(), pod.Status()

	h.Kill(t)
	at := len(c.Log())
	harness.Eventually(t, "the log grows without a daemon", func() bool { return len(c.Log()) > at+20 })
	h.Restart(t)

	// The sockets that the killed one left are replaced.
	_, err := client.New(h.Node.AdminSocket()).Version(h.Ctx)
	h.Must(err)
	after := c.Status()
	if after.GetState() != running || after.GetStartedAt() != before.GetStartedAt() || after.GetCreatedAt() != before.GetCreatedAt() {
		t.Errorf("status before %v, after %v", before, after)
	}
	if got := pod.Status(); got.GetState() != podBefore.GetState() || got.GetNetwork().GetIp() != podBefore.GetNetwork().GetIp() {
		t.Errorf("pod before %v, after %v", podBefore, got)
	}
	if got := c.Exec("print still here"); got != "still here\n" {
		t.Errorf("exec after the restart: %q", got)
	}
	h.Must(created.TryStart())
	created.WaitLog("started after the crash")
	h.Must(os.Rename(c.LogFile, c.LogFile+".1"))
	_, err = h.ReopenContainerLog(h.Ctx, &runtimeapi.ReopenContainerLogRequest{ContainerId: c.ID})
	h.Must(err)
	c.WaitLog("tick")
	c.Stop(0)
	for i, line := range append(h.ReadLog(c.LogFile+".1"), c.Log()...) {
		if line.Text != fmt.Sprint("tick ", i) {
			t.Fatalf("line %d of the log is %q", i, line.Text)
		}
	}
	if got := c.Status(); got.GetExitCode() != 137 {
		t.Errorf("stopped after the restart: %v", got)
	}
}

// The operator's client is told that the daemon ended, and the next one knows
// nothing of its pull but the layers that were whole.
func TestPullWhileTheDaemonIsKilled(t *testing.T) {
	h := suite.Test(t)
	image, err := testimage.Build(testimage.Spec{Layers: [][]testimage.File{{{Name: "f", Body: t.Name()}}}})
	h.Must(err)
	h.Registry.Fault("killed", testregistry.Fault{Blobs: testregistry.BlobStalled})
	h.Must(h.Registry.Push("killed:1", image))
	admin := client.New(h.Node.AdminSocket())
	ended := make(chan error, 1)
	begun := make(chan struct{})
	begin := sync.OnceFunc(func() { close(begun) })
	go func() {
		_, err := admin.Pull(h.Ctx, wire.PullRequest{Image: "registry.test/killed:1"}, func(s progress.State) error {
			if len(s.Layers) > 0 && s.Layers[0].Stage == progress.LayerFetching {
				begin()
			}
			return nil
		})
		ended <- err
	}()
	select {
	case <-begun:
	case err := <-ended:
		t.Fatalf("the pull ended before its layer came: %v", err)
	}
	h.Kill(t)
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "the daemon ended before the pull did") {
		t.Errorf("error %v", err)
	}
	h.Restart(t)
	pulls, err := admin.Pulls(h.Ctx)
	h.Must(err)
	store, err := admin.Store(h.Ctx)
	h.Must(err)
	if len(pulls) != 0 || len(store.Orphans) != 0 {
		t.Errorf("pulls %+v, orphans %v", pulls, store.Orphans)
	}
}

// What came of a big layer before the daemon was killed is not fetched again.
func TestPullGoesOnAfterAKill(t *testing.T) {
	h := suite.Test(t)
	random := make([]byte, 48<<20)
	seed := [32]byte{}
	binary.NativeEndian.PutUint64(seed[:], uint64(time.Now().UnixNano())) // another layer each time
	_, _ = rand.NewChaCha8(seed).Read(random)
	image, err := testimage.Build(testimage.Spec{Layers: [][]testimage.File{{{Name: "f", Body: string(random)}}}})
	h.Must(err)
	layers, err := image.Layers()
	h.Must(err)
	digest, err := layers[0].Digest()
	h.Must(err)
	h.Registry.Fault("goes-on", testregistry.Fault{Blobs: testregistry.BlobSlow})
	h.Must(h.Registry.Push("goes-on:1", image))
	go h.Pull(h.Ctx, "registry.test/goes-on:1") //nolint:errcheck // it ends with the daemon
	harness.Eventually(t, "4 MiB of the layer are kept", func() bool {
		files, _ := filepath.Glob(filepath.Join(h.Node.Dir, "images/spool/*.blob"))
		if len(files) != 1 {
			return false
		}
		info, err := os.Stat(files[0])
		return err == nil && info.Size() > 4<<20
	})
	h.Kill(t)
	h.Restart(t)
	h.Registry.Fault("goes-on", testregistry.Fault{})
	h.Must(h.Pull(h.Ctx, "registry.test/goes-on:1"))
	var ranges []string
	for _, q := range h.Registry.Requests("goes-on") {
		if strings.HasSuffix(q.Path, digest.String()) {
			ranges = append(ranges, q.Range)
		}
	}
	// Keeping begins only when the transfer is slow: so the beginning, and from the middle on.
	var end, from int
	if len(ranges) == 3 {
		_, _ = fmt.Sscanf(ranges[1], "bytes=0-%d", &end)
		_, _ = fmt.Sscanf(ranges[2], "bytes=%d-", &from)
	}
	if end == 0 || from < end+1+4<<20 {
		t.Errorf("the registry was asked for %q", ranges)
	}
	if files, _ := os.ReadDir(filepath.Join(h.Node.Dir, "images/spool")); len(files) != 0 {
		t.Errorf("left in the spool: %v", files)
	}
}

func TestExitsWhileTheDaemonWasDown(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod()
	// They end when the test lets them, by a file of their volume.
	gate := t.TempDir()
	waits := func(c *runtimeapi.ContainerConfig) {
		c.Mounts = append(c.Mounts, &runtimeapi.Mount{HostPath: gate, ContainerPath: "/gate"})
	}
	own := pod.Start(harness.Say("print here + await /gate/open + exit 9"), waits)
	oom := pod.Start(harness.Say("print here + await /gate/open + alloc 200"), waits, harness.Resources(&runtimeapi.LinuxContainerResources{
		MemoryLimitInBytes: 32 << 20, MemorySwapLimitInBytes: 32 << 20,
	}))
	before := pod.Start(harness.Say("exit 4"))
	ended := before.WaitExit()
	own.WaitLog("here")
	oom.WaitLog("here")
	h.Kill(t)
	open := time.Now()
	h.Must(os.WriteFile(filepath.Join(gate, "open"), nil, 0o600))
	harness.Eventually(t, "both shims note the end while there is no daemon", func() bool {
		return !slices.ContainsFunc([]*harness.Container{own, oom}, func(c *harness.Container) bool {
			_, err := shim.ReadExit(filepath.Join(h.Dir, "state/containers", c.ID))
			return err != nil
		})
	})
	noted := time.Now()
	h.Restart(t)

	status := own.WaitExit()
	if status.GetExitCode() != 9 || status.GetReason() != "Error" {
		t.Errorf("exit code %d, reason %s", status.GetExitCode(), status.GetReason())
	}
	if at := time.Unix(0, status.GetFinishedAt()); at.Before(open) || at.After(noted) {
		t.Errorf("finished at %s, want it between %s and %s", at, open, noted)
	}
	if got := oom.WaitExit(); got.GetReason() != "OOMKilled" || got.GetExitCode() != 137 {
		t.Errorf("out of memory while the daemon was down: %d, %s", got.GetExitCode(), got.GetReason())
	}
	if got := before.Status(); got.GetExitCode() != 4 || got.GetFinishedAt() != ended.GetFinishedAt() {
		t.Errorf("exit before the crash: before %v, after %v", ended, got)
	}
}

// TestRemovalsAfterARestart: what was made by one daemon is taken down whole by
// the next.
func TestRemovalsAfterARestart(t *testing.T) {
	h := suite.Test(t)
	pods := []*harness.Pod{h.Pod(harness.OwnNetwork), h.Pod(harness.SharedPID), h.Pod()}
	for _, pod := range pods {
		pod.Start(harness.Say("sleep"))
		pod.Start(harness.Say("exit 0")).WaitExit()
	}
	pods[2].Stop()
	h.Kill(t)
	h.Restart(t)
	for _, pod := range pods {
		h.Must(h.RemovePod(h.Ctx, pod.ID))
	}
}

// TestKillInTheMiddle kills the daemon at a different moment of many pods'
// starts each time. Whatever it was in the middle of, the next daemon ends
// with no half-made thing: the audit of the test says so.
func TestKillInTheMiddle(t *testing.T) {
	h := suite.Test(t)
	for round := range 6 {
		done := make(chan bool)
		for i := range 4 {
			changes := []harness.PodChange{harness.OwnNetwork}[:i%2]
			config := h.PodConfig(changes...)
			go func() {
				defer func() { done <- true }()
				halfCycle(h, config)
			}()
		}
		time.Sleep(time.Duration(5+round*17) * time.Millisecond)
		h.Kill(t)
		for range 4 {
			<-done
		}
		h.Restart(t)
	}
	// Readers do not wait until the containers are adopted.
	harness.Eventually(t, "no container is in an unknown state", func() bool {
		answer, err := h.ListContainers(h.Ctx, &runtimeapi.ListContainersRequest{})
		h.Must(err)
		return !slices.ContainsFunc(answer.GetContainers(), func(c *runtimeapi.Container) bool {
			return c.GetState() == runtimeapi.ContainerState_CONTAINER_UNKNOWN
		})
	})
}

// halfCycle goes as far as the daemon lives.
func halfCycle(h *harness.Test, config *runtimeapi.PodSandboxConfig) {
	pod, err := h.RunPodSandbox(h.Ctx, &runtimeapi.RunPodSandboxRequest{Config: config})
	if err != nil {
		return
	}
	c, err := h.CreateContainer(h.Ctx, &runtimeapi.CreateContainerRequest{
		PodSandboxId: pod.GetPodSandboxId(), SandboxConfig: config,
		Config: &runtimeapi.ContainerConfig{
			Metadata: &runtimeapi.ContainerMetadata{Name: "c"}, Args: []string{"sleep"},
			Image: &runtimeapi.ImageSpec{Image: harness.Probe}, Linux: &runtimeapi.LinuxContainerConfig{},
		},
	})
	if err != nil {
		return
	}
	h.StartContainer(h.Ctx, &runtimeapi.StartContainerRequest{ContainerId: c.GetContainerId()}) //nolint:errcheck // the daemon may be dead
}

func TestBadRecordsStopNothing(t *testing.T) {
	h := suite.Test(t)
	good, bad := h.Pod(), h.Pod()
	c := good.Start(harness.Say("sleep"))
	broken := good.Create(harness.Say("sleep"))
	h.Kill(t)
	for _, name := range []string{
		filepath.Join(h.Dir, "state/pods", bad.ID, "pod.json"),
		filepath.Join(h.Dir, "state/containers", broken.ID, "container.json"),
	} {
		h.Must(os.WriteFile(name, []byte(`{"id": 7, "st`), 0o600))
	}
	h.Must(os.MkdirAll(filepath.Join(h.Dir, "state/pods", strings.Repeat("00", 32)), 0o700))
	h.Restart(t)
	if got := c.Status().GetState(); got != running {
		t.Errorf("the good container is %s", got)
	}
	c.Exec("id")
	// The bad ones are no longer known, and can be removed without an error.
	_, err := h.PodSandboxStatus(h.Ctx, &runtimeapi.PodSandboxStatusRequest{PodSandboxId: bad.ID})
	h.WantCode(err, codes.NotFound)
	h.Must(h.RemovePod(h.Ctx, bad.ID))
	_, err = h.RemoveContainer(h.Ctx, &runtimeapi.RemoveContainerRequest{ContainerId: broken.ID})
	h.Must(err)
}

func TestKilledShim(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod()
	c := pod.Start(harness.Say("sleep 4242s"))
	for _, p := range h.Node.Processes() {
		if strings.Contains(p.Line, "varve-shim") && strings.Contains(p.Line+p.Why, c.ID) {
			process, err := os.FindProcess(p.PID)
			h.Must(err)
			h.Must(process.Kill())
		}
	}
	if got := c.WaitExit(); got.GetExitCode() == 0 {
		t.Errorf("a container without its shim: %v", got)
	}
	for _, p := range h.Node.Processes() {
		if strings.Contains(p.Line, "4242s") {
			t.Errorf("still there: %s", p)
		}
	}
}

func TestStopWhileTheDaemonIsKilledAndStartedTwice(t *testing.T) {
	h := suite.Test(t)
	c := h.Pod().Start(harness.Say("trap SIGTERM 5"))
	c.WaitLog("waiting")
	for range 2 {
		h.Kill(t)
		h.Restart(t)
	}
	c.Stop(time.Minute)
	if got := c.Status(); got.GetState() != exited || got.GetExitCode() != 5 {
		t.Errorf("got %v", got)
	}
}
