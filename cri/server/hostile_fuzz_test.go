package server

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/e2e/hostile"
)

// The names that stand for ids in the fuzzer's requests: those of a node are
// made by chance.
const (
	podName0     = "POD"
	runningName  = "RUNNING"
	anotherName  = "ANOTHER" // one that is removed after the request
	registryName = "registry.test/"
)

// ids are the fields that hold an object's id.
var ids = []protoreflect.Name{"pod_sandbox_id", "container_id"}

// FuzzRequests sends any bytes as any request to a live node: it must answer
// with a code that blames the request, and be as it was.
//
//	go test ./cri/server -run xxx -fuzz FuzzRequests -fuzztime 5m
func FuzzRequests(f *testing.F) {
	atEnd := func() {}
	f.Cleanup(func() { atEnd() })
	s := newStage(f)
	atEnd = s.prepareWorkers(f)
	methods := hostile.Methods()
	replace := strings.NewReplacer(s.pod, podName0, s.running, runningName, s.created, anotherName)
	for i, m := range methods {
		req := s.base(m.Name)
		if m.Name == "UpdateContainerResources" {
			s.remove(s.spare)
			_ = hostile.Set(req, "container_id", anotherName)
		}
		for _, name := range ids {
			if d := req.ProtoReflect().Descriptor().Fields().ByName(name); d != nil && !d.IsList() {
				_ = hostile.Set(req, string(name), replace.Replace(req.ProtoReflect().Get(d).String()))
			}
		}
		b, err := proto.Marshal(req)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(i), b)
		f.Add(uint8(i), []byte{})
	}
	before := s.picture()
	f.Fuzz(func(t *testing.T, n uint8, data []byte) {
		s.t = t // f is not to be used in here
		defer func() {
			if t.Failed() {
				before = s.picture()
			}
			s.t = f
		}()
		m := methods[int(n)%len(methods)]
		req := m.Request()
		if proto.Unmarshal(data, req) != nil || !s.tame(m.Name, req) {
			return // gRPC refuses it, or it asks for what the next request needs
		}
		err := s.call(m.Name, req)
		if status.Code(err) == codes.ResourceExhausted && strings.Contains(err.Error(), "URLs wait for their clients") {
			err = nil // that so many ask and none comes is the fuzzer's own doing
		}
		if m.Name != "PullImage" && badCode(err) || status.Code(err) == codes.Internal {
			t.Errorf("%s: %v", m.Name, err)
		}
		s.same(m.Name, before)
	})
}

// tame puts ids in, keeps the request's traces in the node's own directories, and
// says whether it leaves in place what the stage consists of.
func (s *stage) tame(method string, req proto.Message) bool {
	fields := req.ProtoReflect().Descriptor().Fields()
	for _, field := range ids {
		name := string(field)
		d := fields.ByName(field)
		if d == nil || d.IsList() {
			continue
		}
		id := req.ProtoReflect().Get(d).String()
		changes := strings.HasPrefix(method, "Stop") || strings.HasPrefix(method, "Remove") || strings.HasPrefix(method, "Start") || strings.HasPrefix(method, "Update")
		switch {
		case id == anotherName && method == "UpdateContainerResources":
			_ = hostile.Set(req, name, s.another())
			continue
		case changes && s.known(id):
			return false
		case id == podName0 && !changes:
			_ = hostile.Set(req, name, s.pod)
		case id == runningName && !changes:
			_ = hostile.Set(req, name, s.running)
		}
	}
	switch r := req.(type) {
	case *runtimeapi.RunPodSandboxRequest:
		s.settle(r.GetConfig())
	case *runtimeapi.UpdateContainerResourcesRequest:
		return r.GetContainerId() == s.spare || !s.known(r.GetContainerId())
	case *runtimeapi.ExecSyncRequest:
		r.Timeout = 1
		return len(r.GetCmd()) < 2 // none that sleeps
	case *runtimeapi.RemoveImageRequest:
		_, err := s.images.Get(r.GetImage().GetImage())
		return err != nil
	case *runtimeapi.PullImageRequest:
		// The registry is the mirror of all others, where the image has new names.
		name := r.GetImage().GetImage()
		return name == probe || !strings.HasPrefix(name, registryName) && !strings.Contains(name, "probe")
	case *runtimeapi.GetEventsRequest, *runtimeapi.UpdateRuntimeConfigRequest:
		return false // has nothing to say; is kept
	}
	return true
}

// settle keeps a pod's directories and groups below the node's own.
func (s *stage) settle(c *runtimeapi.PodSandboxConfig) {
	if strings.HasPrefix(c.GetLogDirectory(), "/") {
		c.LogDirectory = filepath.Dir(s.podConfig.GetLogDirectory()) + "/fuzz/" + c.LogDirectory
	}
	if p := c.GetLinux().GetCgroupParent(); p != "" {
		c.Linux.CgroupParent = fmt.Sprint(s.cfg.Cgroup.Parent, "/", p)
	}
}

// known says whether an id, or the beginning of one, is of something that the
// stage has.
func (s *stage) known(id string) bool {
	_, pod := s.s.table.findPod(id)
	_, container := s.s.table.findContainer(id)
	return pod == nil || container == nil
}
