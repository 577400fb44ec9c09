package server

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/config"
	"github.com/varve-cri/varve/cri/network"
	"github.com/varve-cri/varve/cri/plan/host"
	"github.com/varve-cri/varve/cri/step"
	"github.com/varve-cri/varve/e2e/criclient"
	"github.com/varve-cri/varve/e2e/testimage"
	"github.com/varve-cri/varve/e2e/testregistry"
	"github.com/varve-cri/varve/imagestore"
	"github.com/varve-cri/varve/imagestore/registry"
	rtcgroup "github.com/varve-cri/varve/runtime/cgroup"
	"github.com/varve-cri/varve/shim"
)

// probe is the image of the tests: one static program with many commands.
const probe = "registry.test/probe:1"

// built is what all tests share: the shim's program and a registry.
var built struct {
	shim     string
	registry *testregistry.Registry
}

func TestMain(m *testing.M) {
	if os.Getenv(streamClient) != "" {
		fmt.Fprintln(os.Stderr, runStreamClients(os.Args[1:]))
		os.Exit(1)
	}
	code, err := setup(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func setup(m *testing.M) (int, error) {
	dir, err := os.MkdirTemp("", "varve-server-test-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	built.shim = filepath.Join(dir, "varve-shim")
	build := exec.Command("go", "build", "-o", built.shim, "github.com/varve-cri/varve/cmd/varve-shim")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return 1, fmt.Errorf("build the shim: %w\n%s", err, out)
	}
	if built.registry, err = testregistry.Listen("127.0.0.1:0"); err != nil {
		return 1, err
	}
	defer built.registry.Close()
	img, err := testimage.Probe(v1.Config{})
	if err != nil {
		return 1, err
	}
	if err := built.registry.Push("probe:1", img); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

// patience is how long something may take that is about to happen: a test that
// fails for its end has found something, however busy the machine is.
const patience = time.Minute

// await fails the test unless the condition comes to hold.
func await(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("this does not come to be: %s", what)
		}
	}
}

// node is a server on directories of its own, behind a real socket.
type node struct {
	*criclient.Client
	t        testing.TB
	cfg      *config.Config
	s        *Server
	grpc     *grpc.Server
	images   *imagestore.Store
	launcher *shim.Launcher
	adopted  <-chan struct{}
	hook     hook
	late     atomic.Pointer[func() bool] // of the next request; see deadline
}

// hook is told of every step before it begins; a test sets it.
type hook struct {
	f atomic.Pointer[func(ctx context.Context, op step.Op, name string)]
}

func (h *hook) Step(ctx context.Context, op step.Op, name string) (context.Context, func(error)) {
	if f := h.f.Load(); f != nil {
		(*f)(ctx, op, name)
	}
	return ctx, nil
}

// place is what a node has of the host.
type place struct{ State, Disk, Cgroup string }

// newNode starts a node. When the test ends, everything is removed through the
// CRI, and what is left then fails the test.
func newNode(t testing.TB) *node {
	t.Helper()
	disk := tempDir(t, "") // one that overlay takes as an upper layer
	return newNodeIn(t, place{tempDir(t, "/dev/shm"), disk, "/varve-test-" + strings.ToLower(rand.Text()[:8])})
}

// newNodeIn is newNode in a place that another one may have left.
func newNodeIn(t testing.TB, in place) *node {
	t.Helper()
	n := &node{t: t, cfg: &config.Config{}}
	dir := in.Disk
	n.cfg.StateDir, n.cfg.RootDir, n.cfg.Cgroup.Parent = in.State, filepath.Join(dir, "root"), in.Cgroup
	n.cfg.Network.ConfDir, n.cfg.Network.BinDirs = filepath.Join(dir, "net.d"), []string{filepath.Join(dir, "bin")}
	no := false
	n.cfg.Network.DefaultNetwork.Enabled = &no
	n.cfg.Complete()
	images, err := imagestore.Open(imagestore.Config{
		Root: n.cfg.RootDir, Registries: registry.Mirror(built.registry.URL()),
		Report: func(m string) { t.Log("image store: " + m) },
	})
	if err != nil {
		t.Fatal(err)
	}
	n.images = images
	spares := *n.cfg.Shim.Spares
	n.launcher, err = shim.NewLauncher(shim.LauncherConfig{Binary: built.shim, Spares: spares, LogPath: filepath.Join(dir, "shims.log")})
	if err != nil {
		t.Fatal(err)
	}
	n.start()
	t.Cleanup(func() {
		n.clean()
		n.launcher.Close()
		n.images.Close()
	})
	return n
}

func tempDir(t testing.TB, below string) string {
	dir, err := os.MkdirTemp(below, "varve-server-")
	if err != nil {
		t.Fatal(err)
	}
	removeLater(t, dir)
	return dir
}

func removeLater(t testing.TB, dir string) {
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
}

func (n *node) start() {
	n.t.Helper()
	facts, _, err := host.Read(n.cfg, host.Cgroups{Unified: rtcgroup.UnifiedControllers()})
	if err != nil {
		n.t.Fatal(err)
	}
	nw, err := network.New(network.Config{ConfDir: n.cfg.Network.ConfDir, BinDirs: n.cfg.Network.BinDirs, StateDir: n.cfg.Network.CacheDir})
	if err != nil {
		n.t.Fatal(err)
	}
	n.s, err = New(Options{Config: n.cfg, Host: facts, Images: n.images, Launcher: n.launcher, Network: nw, Version: "test", Observer: &n.hook})
	if err != nil {
		n.t.Fatal(err)
	}
	if n.adopted, err = n.s.Restore(); err != nil {
		n.t.Fatal(err)
	}
	socket := filepath.Join(n.cfg.StateDir, "test.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		n.t.Fatal(err)
	}
	n.grpc = grpc.NewServer(append(n.s.Options(), grpc.ChainUnaryInterceptor(n.intercept), grpc.MaxSendMsgSize(64<<20), grpc.MaxRecvMsgSize(16<<20))...)
	n.s.Register(n.grpc)
	go n.grpc.Serve(l)       //nolint:errcheck // it ends with the test
	go n.s.Streams().Serve() //nolint:errcheck // it ends with the test
	if n.Client, err = criclient.Dial(socket); err != nil {
		n.t.Fatal(err)
	}
}

// crash does what a kill of the daemon does to everything but the process:
// connections end, memory is lost, nothing is written.
func (n *node) crash() {
	n.Client.Close()
	n.grpc.Stop()
	n.s.Streams().Close()
	n.s.table.eachContainer(func(c *container) {
		c.write.Lock() // what is saved aside must not come over what the next one writes
		c.dead = true
		c.write.Unlock()
		if client := c.client.Load(); client != nil {
			client.Close()
		}
	})
	n.s.table.eachPod(func(p *pod) {
		p.write.Lock()
		p.dead = true
		p.write.Unlock()
		if client := p.pause.Load(); client != nil {
			client.Close()
		}
	})
}

// restart starts a server on what a crashed one left, and waits until all is
// adopted.
func (n *node) restart() {
	n.t.Helper()
	n.start()
	select {
	case <-n.adopted:
	case <-time.After(patience):
		n.t.Fatal("adoption does not end")
	}
}

func (n *node) clean() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	list, err := n.ListPodSandbox(ctx, &runtimeapi.ListPodSandboxRequest{})
	if err != nil {
		n.t.Error(err)
	}
	for _, p := range list.GetItems() {
		if _, err := n.RemovePodSandbox(ctx, &runtimeapi.RemovePodSandboxRequest{PodSandboxId: p.GetId()}); err != nil {
			n.t.Errorf("remove pod %s: %v", p.GetId(), err)
		}
	}
	n.Client.Close()
	n.grpc.Stop()
	n.s.Streams().Close()
	n.audit()
}

// audit fails the test for everything that the node has left on the host.
func (n *node) audit() {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		n.t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, n.cfg.StateDir) || strings.Contains(line, n.cfg.RootDir) {
			n.t.Errorf("leaked mount: %s", line)
		}
	}
	for _, kind := range []string{"pods", "containers"} {
		left, _ := os.ReadDir(filepath.Join(n.cfg.StateDir, kind))
		for _, e := range left {
			n.t.Errorf("leaked record: %s %s", kind, e.Name())
		}
	}
	if ids := n.images.ListRW(); len(ids) > 0 {
		n.t.Errorf("leaked layers: %v", ids)
	}
	left, _ := filepath.Glob("/sys/fs/cgroup/*" + n.cfg.Cgroup.Parent + "/*/cgroup.procs")
	for _, file := range left {
		n.t.Errorf("leaked cgroup: %s", filepath.Dir(file))
	}
	if err := rtcgroup.Open(n.cfg.Cgroup.Parent).Remove(); err != nil { // the daemon keeps it
		n.t.Error(err)
	}
	if owed, _ := n.s.net.Owed(); len(owed) > 0 {
		n.t.Errorf("network is owed: %v", owed)
	}
	if live := n.s.steps.Live(); len(live) > 0 {
		n.t.Errorf("running operations: %v", live)
	}
}

// ctx is a context that ends a test which hangs.
func (n *node) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	n.t.Cleanup(cancel)
	return ctx
}

func (n *node) pull() {
	n.t.Helper()
	_, err := n.PullImage(n.ctx(), &runtimeapi.PullImageRequest{Image: &runtimeapi.ImageSpec{Image: probe}})
	if err != nil {
		n.t.Fatal(err)
	}
}

// podConfig is a pod on the host's network whose containers have their own
// processes.
func podConfig(t testing.TB, change ...func(*runtimeapi.PodSandboxConfig)) *runtimeapi.PodSandboxConfig {
	c := &runtimeapi.PodSandboxConfig{
		Metadata:     &runtimeapi.PodSandboxMetadata{Name: "pod", Namespace: "test", Uid: rand.Text()},
		LogDirectory: filepath.Join(t.TempDir(), "logs"),
		Labels:       map[string]string{"app": "web"}, Annotations: map[string]string{"note": "line1\nline2"},
		Linux: &runtimeapi.LinuxPodSandboxConfig{SecurityContext: &runtimeapi.LinuxSandboxSecurityContext{
			NamespaceOptions: &runtimeapi.NamespaceOption{Network: runtimeapi.NamespaceMode_NODE, Pid: runtimeapi.NamespaceMode_CONTAINER},
		}},
	}
	for _, f := range change {
		f(c)
	}
	return c
}

func sharedPID(c *runtimeapi.PodSandboxConfig) {
	c.Linux.SecurityContext.NamespaceOptions.Pid = runtimeapi.NamespaceMode_POD
}

func (n *node) pod(config *runtimeapi.PodSandboxConfig) string {
	n.t.Helper()
	r, err := n.RunPodSandbox(n.ctx(), &runtimeapi.RunPodSandboxRequest{Config: config})
	if err != nil {
		n.t.Fatal(err)
	}
	return r.GetPodSandboxId()
}

func containerConfig(pod *runtimeapi.PodSandboxConfig, name string, args ...string) *runtimeapi.ContainerConfig {
	return &runtimeapi.ContainerConfig{
		Metadata: &runtimeapi.ContainerMetadata{Name: name}, Image: &runtimeapi.ImageSpec{Image: probe},
		Args: args, LogPath: name + ".log", Labels: map[string]string{"name": name},
		Linux: &runtimeapi.LinuxContainerConfig{SecurityContext: &runtimeapi.LinuxContainerSecurityContext{
			NamespaceOptions: pod.GetLinux().GetSecurityContext().GetNamespaceOptions(),
		}},
	}
}

func (n *node) create(podID string, pc *runtimeapi.PodSandboxConfig, cc *runtimeapi.ContainerConfig) (string, error) {
	r, err := n.CreateContainer(n.ctx(), &runtimeapi.CreateContainerRequest{PodSandboxId: podID, Config: cc, SandboxConfig: pc})
	return r.GetContainerId(), err
}

// run creates and starts a container.
func (n *node) run(podID string, pc *runtimeapi.PodSandboxConfig, cc *runtimeapi.ContainerConfig) string {
	n.t.Helper()
	id, err := n.create(podID, pc, cc)
	if err != nil {
		n.t.Fatal(err)
	}
	if _, err := n.StartContainer(n.ctx(), &runtimeapi.StartContainerRequest{ContainerId: id}); err != nil {
		n.t.Fatal(err)
	}
	return id
}

func (n *node) status(id string) *runtimeapi.ContainerStatus {
	n.t.Helper()
	r, err := n.ContainerStatus(n.ctx(), &runtimeapi.ContainerStatusRequest{ContainerId: id})
	if err != nil {
		n.t.Fatal(err)
	}
	return r.GetStatus()
}

// exit waits for the container's end.
func (n *node) exit(id string) *runtimeapi.ContainerStatus {
	n.t.Helper()
	var st *runtimeapi.ContainerStatus
	await(n.t, "container "+id+" exits", func() bool {
		st = n.status(id)
		return st.GetState() == runtimeapi.ContainerState_CONTAINER_EXITED
	})
	return st
}

func (n *node) exec(id string, cmd ...string) (*runtimeapi.ExecSyncResponse, error) {
	return n.ExecSync(n.ctx(), &runtimeapi.ExecSyncRequest{ContainerId: id, Cmd: append([]string{"/bin/probe"}, cmd...)})
}

// want fails the test unless err has the code and its message holds words.
func want(t testing.TB, err error, code codes.Code, words ...string) {
	t.Helper()
	if status.Code(err) != code {
		_, file, line, _ := runtime.Caller(1)
		t.Errorf("%s:%d: %v: want %v", filepath.Base(file), line, err, code)
		return
	}
	for _, w := range words {
		if !strings.Contains(fmt.Sprint(err), w) {
			t.Errorf("error %q does not say %q", err, w)
		}
	}
}
