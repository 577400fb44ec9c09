package server

import (
	"context"
	"strings"
	"testing"

	"github.com/go-logr/logr/funcr"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/klog/v2"

	"github.com/varve-cri/varve/cri/record"
)

// A line about a container has its names and ids, its pod's, and what the request
// has put into the context.
func TestLinesNameTheirObjects(t *testing.T) {
	p := newPod(&record.Pod{ID: "p1", Config: &runtimeapi.PodSandboxConfig{Metadata: &runtimeapi.PodSandboxMetadata{Name: "web", Namespace: "shop", Uid: "u1"}}})
	c := newContainer(p, &record.Container{ID: "c1", Config: &runtimeapi.ContainerConfig{Metadata: &runtimeapi.ContainerMetadata{Name: "main"}}})
	var line string
	logger := funcr.New(func(_, args string) { line = args }, funcr.Options{})
	ctx := klog.NewContext(context.Background(), logger.WithValues("request", 7))
	c.log(ctx).Info("x")
	for _, want := range []string{`"request"=7`, `"pod"={"name"="web" "namespace"="shop"}`, `"podUID"="u1"`, `"podID"="p1"`, `"container"="main"`, `"containerID"="c1"`} {
		if !strings.Contains(line, want) {
			t.Errorf("lacks %s: %s", want, line)
		}
	}
	stray := newContainer(newPod(&record.Pod{ID: "p2"}), &record.Container{ID: "c2"})
	stray.log(ctx).Info("x")
	if !strings.Contains(line, `"podID"="p2"`) || !strings.Contains(line, `"containerID"="c2"`) {
		t.Errorf("without a configuration: %s", line)
	}
}

// What a request is about is known before it is served, also when that removes it.
func TestObjectsOfRequests(t *testing.T) {
	s := &Server{}
	p := newPod(&record.Pod{ID: "p1", Config: &runtimeapi.PodSandboxConfig{Metadata: &runtimeapi.PodSandboxMetadata{Name: "web", Namespace: "shop", Uid: "u1"}}})
	s.table.addPod(p)
	for _, c := range []struct {
		req  any
		want string
	}{
		{&runtimeapi.StopPodSandboxRequest{PodSandboxId: "p1"}, "shop/web"},
		{&runtimeapi.StopPodSandboxRequest{PodSandboxId: "none"}, "none"},
		{&runtimeapi.RunPodSandboxRequest{Config: p.rec.Load().Config}, "shop/web"},
		{&runtimeapi.CreateContainerRequest{PodSandboxId: "p1", Config: &runtimeapi.ContainerConfig{Metadata: &runtimeapi.ContainerMetadata{Name: "main"}}}, "main"},
		{&runtimeapi.StartContainerRequest{ContainerId: "c9"}, "c9"},
		{&runtimeapi.PullImageRequest{Image: &runtimeapi.ImageSpec{Image: "a/b:1"}}, "a/b:1"},
		{&runtimeapi.RunPodSandboxRequest{}, "podUID"},
		{&runtimeapi.VersionRequest{}, ""},
	} {
		values := s.objects(c.req)()
		var text strings.Builder
		for _, v := range values {
			text.WriteString(strings.TrimSpace(" " + toText(v)))
			text.WriteByte(' ')
		}
		if !strings.Contains(text.String(), c.want) || len(values)%2 != 0 || c.want == "" && len(values) > 0 {
			t.Errorf("%T: %s", c.req, text.String())
		}
	}
}

func toText(v any) string {
	if ref, ok := v.(klog.ObjectRef); ok {
		return ref.String()
	}
	s, _ := v.(string)
	return s
}
