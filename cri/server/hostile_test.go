package server

import (
	"context"
	"crypto/rand"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/e2e/hostile"
)

// stage is a node with a bit of everything, on which bad requests are tried:
// each has to leave it exactly as it was.
type stage struct {
	*node
	podConfig             *runtimeapi.PodSandboxConfig
	pod, running, created string // ids
	spare                 string // a container to be changed
	methods               map[string]*hostile.Method

	bounds struct{ request, change time.Duration } // of a request, and for things to be as they were
}

func newStage(t testing.TB) *stage {
	s := &stage{node: newNode(t), methods: map[string]*hostile.Method{}}
	s.bounds.request, s.bounds.change = patience, patience
	for _, m := range hostile.Methods() {
		s.methods[m.Name] = m
	}
	s.pull()
	s.podConfig = podConfig(t)
	s.pod = s.node.pod(s.podConfig)
	s.running = s.run(s.pod, s.podConfig, containerConfig(s.podConfig, "running", "sleep"))
	var err error
	if s.created, err = s.create(s.pod, s.podConfig, containerConfig(s.podConfig, "created", "sleep")); err != nil {
		t.Fatal(err)
	}
	c, err := s.s.table.findContainer(s.created)
	if err != nil {
		t.Fatal(err)
	}
	<-c.group.Load().done // its cgroup is made in the background
	return s
}

// base returns a request of the method that is all right. What is asked for is
// new each time, and where something would be taken away, it is not there.
func (s *stage) base(method string) proto.Message {
	none := strings.Repeat("0", 64)
	image := &runtimeapi.ImageSpec{Image: probe}
	switch method {
	case "RunPodSandbox":
		return &runtimeapi.RunPodSandboxRequest{Config: s.richPod()}
	case "CreateContainer":
		return &runtimeapi.CreateContainerRequest{PodSandboxId: s.pod, SandboxConfig: proto.CloneOf(s.podConfig), Config: s.richContainer()}
	case "StopPodSandbox":
		return &runtimeapi.StopPodSandboxRequest{PodSandboxId: none}
	case "RemovePodSandbox":
		return &runtimeapi.RemovePodSandboxRequest{PodSandboxId: none}
	case "RemoveContainer":
		return &runtimeapi.RemoveContainerRequest{ContainerId: none}
	case "StopContainer":
		return &runtimeapi.StopContainerRequest{ContainerId: s.created}
	case "UpdateContainerResources":
		return &runtimeapi.UpdateContainerResourcesRequest{ContainerId: s.another(), Linux: &runtimeapi.LinuxContainerResources{}}
	case "ExecSync":
		return &runtimeapi.ExecSyncRequest{ContainerId: s.running, Cmd: []string{"/bin/probe", "print"}}
	case "Exec":
		return &runtimeapi.ExecRequest{ContainerId: s.running, Cmd: []string{"/bin/probe", "print"}, Stdout: true}
	case "Attach":
		return &runtimeapi.AttachRequest{ContainerId: s.running, Stdout: true}
	case "UpdateRuntimeConfig":
		return &runtimeapi.UpdateRuntimeConfigRequest{RuntimeConfig: &runtimeapi.RuntimeConfig{NetworkConfig: &runtimeapi.NetworkConfig{PodCidr: "10.9.0.0/24"}}}
	case "PullImage":
		return &runtimeapi.PullImageRequest{Image: image, SandboxConfig: proto.CloneOf(s.podConfig)}
	case "ImageStatus":
		return &runtimeapi.ImageStatusRequest{Image: image}
	case "RemoveImage":
		return &runtimeapi.RemoveImageRequest{Image: &runtimeapi.ImageSpec{Image: "registry.test/none:1"}}
	}
	req := s.methods[method].Request()
	// What is left asks for one object, or for all, or for nothing.
	for path, id := range map[string]string{"container_id": s.running, "pod_sandbox_id": s.pod} {
		if req.ProtoReflect().Descriptor().Fields().ByName("filter") == nil {
			_ = hostile.Set(req, path, id)
		}
	}
	return req
}

// richPod is a pod with something valid in every list, so that a bad item
// is bad for one reason only.
func (s *stage) richPod() *runtimeapi.PodSandboxConfig {
	pc := proto.CloneOf(s.podConfig)
	pc.Metadata.Uid, pc.Hostname = rand.Text(), "web"
	pc.DnsConfig = &runtimeapi.DNSConfig{Servers: []string{"10.0.0.10"}, Searches: []string{"default.svc"}, Options: []string{"ndots:5"}}
	pc.PortMappings = []*runtimeapi.PortMapping{{HostPort: 8080, ContainerPort: 80, HostIp: "127.0.0.1"}}
	pc.Linux.Sysctls = map[string]string{"kernel.shm_rmid_forced": "1"}
	sc := pc.Linux.SecurityContext
	sc.RunAsUser, sc.RunAsGroup, sc.SupplementalGroups = &runtimeapi.Int64Value{}, &runtimeapi.Int64Value{}, []int64{1}
	return pc
}

// richContainer is richPod for containers.
func (s *stage) richContainer() *runtimeapi.ContainerConfig {
	cc := proto.CloneOf(containerConfig(s.podConfig, rand.Text(), "sleep"))
	cc.Command, cc.WorkingDir = []string{"/bin/probe"}, "/"
	cc.Envs = []*runtimeapi.KeyValue{{Key: "A", Value: []byte("b")}}
	cc.Mounts = []*runtimeapi.Mount{{ContainerPath: "/m", HostPath: s.cfg.StateDir}}
	cc.Devices = []*runtimeapi.Device{{ContainerPath: "/dev/nothing", HostPath: "/dev/null", Permissions: "r"}}
	cc.Linux.Resources = &runtimeapi.LinuxContainerResources{CpuShares: 2}
	sc := cc.Linux.SecurityContext
	sc.RunAsUser, sc.RunAsGroup, sc.SupplementalGroups = &runtimeapi.Int64Value{}, &runtimeapi.Int64Value{}, []int64{1}
	sc.MaskedPaths, sc.ReadonlyPaths = []string{"/proc/kcore"}, []string{"/proc/sys"}
	return cc
}

// another makes a container that is changed and then removed.
func (s *stage) another() string {
	s.t.Helper()
	var err error
	if s.spare, err = s.create(s.pod, s.podConfig, containerConfig(s.podConfig, rand.Text(), "sleep")); err != nil {
		s.t.Fatal(err)
	}
	return s.spare
}

func (s *stage) remove(id string) {
	s.t.Helper()
	if _, err := s.RemoveContainer(s.ctx(), &runtimeapi.RemoveContainerRequest{ContainerId: id}); err != nil {
		s.t.Error(err)
	}
}

// call sends a request and takes away what a creation has made.
func (s *stage) call(method string, req proto.Message) error {
	s.t.Helper()
	m := s.methods[method]
	limit := s.bounds.request
	if method == "GetContainerEvents" {
		limit = 50 * time.Millisecond // it has no end
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if s.spare != "" {
		defer func() { s.remove(s.spare); s.spare = "" }()
	}
	resp := m.Response()
	err := s.Call(ctx, m.Path, m.Streams, req, resp)
	if method == "GetContainerEvents" && status.Code(err) == codes.DeadlineExceeded {
		return nil
	}
	if err != nil {
		return err
	}
	switch r := resp.(type) {
	case *runtimeapi.RunPodSandboxResponse:
		s.s.removePodNow(s.t, r.GetPodSandboxId())
	case *runtimeapi.CreateContainerResponse:
		s.remove(r.GetContainerId())
	}
	return nil
}

// picture is everything that the stage holds, as text. A record that is being
// written beside the answer to a start is on its way to its own name.
func (s *stage) picture() string {
	s.t.Helper()
	p := s.look()
	for end := time.Now().Add(s.bounds.change); strings.Contains(p, ".tmp\n") && time.Now().Before(end); p = s.look() {
		time.Sleep(time.Millisecond)
	}
	return p
}

// look is picture at this moment.
func (s *stage) look() string {
	s.t.Helper()
	s.s.table.containers.Range(func(_, c any) bool { // a cgroup that is still made is not there yet
		if p := c.(*container).group.Load(); p != nil { //nolint:forcetypeassert // the table's
			<-p.done
		}
		return true
	})
	var b strings.Builder
	ctx := s.ctx()
	for _, list := range []func() (proto.Message, error){
		func() (proto.Message, error) { return s.ListPodSandbox(ctx, &runtimeapi.ListPodSandboxRequest{}) },
		func() (proto.Message, error) { return s.ListContainers(ctx, &runtimeapi.ListContainersRequest{}) },
		func() (proto.Message, error) { return s.ListImages(ctx, &runtimeapi.ListImagesRequest{}) },
		func() (proto.Message, error) {
			return s.ContainerStatus(ctx, &runtimeapi.ContainerStatusRequest{ContainerId: s.created})
		},
		func() (proto.Message, error) {
			return s.ContainerStatus(ctx, &runtimeapi.ContainerStatusRequest{ContainerId: s.running})
		},
	} {
		m, err := list()
		if err != nil {
			s.t.Fatal(err)
		}
		// prototext varies its white space on purpose.
		b.WriteString(strings.Join(strings.Fields(prototext.Format(m)), " ") + "\n")
	}
	fmt.Fprintln(&b, "layers", s.images.ListRW(), "operations", s.s.steps.Live())
	for _, root := range []string{s.cfg.StateDir, s.cfg.RootDir + "/containers", "/sys/fs/cgroup/unified" + s.cfg.Cgroup.Parent, "/sys/fs/cgroup/memory" + s.cfg.Cgroup.Parent, s.podConfig.GetLogDirectory()} {
		_ = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
			if err == nil && (e.IsDir() || root == s.cfg.StateDir) {
				fmt.Fprintln(&b, path)
			}
			return nil
		})
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		s.t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, s.cfg.StateDir) || strings.Contains(line, s.cfg.RootDir) {
			b.WriteString(line)
		}
	}
	return b.String()
}

// same fails the test when something is not as it was. What is made aside and
// in the background (spare layers, a cgroup on its way out) gets its time.
func (s *stage) same(what, before string) {
	s.t.Helper()
	after := s.picture()
	for end := time.Now().Add(s.bounds.change); after != before && time.Now().Before(end); after = s.picture() {
		time.Sleep(10 * time.Millisecond)
	}
	if after == before {
		return
	}
	was, is := strings.Split(before, "\n"), strings.Split(after, "\n")
	for _, line := range is {
		if !slices.Contains(was, line) {
			s.t.Errorf("%s: now there is %.2000s", what, line)
		}
	}
	for _, line := range was {
		if !slices.Contains(is, line) {
			s.t.Errorf("%s: there is no more %.2000s", what, line)
		}
	}
	s.t.Fatalf("%s: the node has changed", what)
}
