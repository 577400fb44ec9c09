package metrics

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/step"
	"github.com/varve-cri/varve/e2e/testimage"
	"github.com/varve-cri/varve/e2e/testregistry"
	"github.com/varve-cri/varve/imagestore"
	"github.com/varve-cri/varve/imagestore/registry"
)

// node is a registry of metrics in which something of every kind has happened.
func node(t *testing.T) *Registry {
	t.Helper()
	images, err := testregistry.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { images.Close() })
	image, err := testimage.Build(testimage.Spec{Config: v1.Config{}, Layers: [][]testimage.File{{{Name: "f", Body: "hello"}}}})
	if err == nil {
		err = images.Push("app:1", image)
	}
	if err != nil {
		t.Fatal(err)
	}
	store, err := imagestore.Open(imagestore.Config{Root: t.TempDir(), Registries: registry.Rules{images.Host: {PlainHTTP: true}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	for ref, ok := range map[string]bool{"/app:1": true, "/app:2": false} {
		if _, err := store.Pull(t.Context(), images.Host+ref, imagestore.PullOptions{}); (err == nil) != ok {
			t.Errorf("%s: %v", ref, err)
		}
	}
	var steps step.Engine
	fails := func(context.Context) error { return errors.New("no") }
	_ = steps.Run(t.Context(), step.Op{Verb: "RunPodSandbox"}, []step.Step{{Name: "network", Do: fails}})
	calls := NewCalls(&runtimeapi.RuntimeService_ServiceDesc, &runtimeapi.ImageService_ServiceDesc)
	calls.Method("/runtime.v1.RuntimeService/RunPodSandbox").Observe(codes.OK, 3*time.Millisecond)
	calls.Method("/runtime.v1.RuntimeService/RunPodSandbox").Observe(codes.DeadlineExceeded, time.Hour)
	calls.Method("/runtime.v1.ImageService/StreamImages").Observe(99, 0)
	calls.Method("/elsewhere").Observe(codes.OK, -1)
	return New(Sources{
		Version: "test", Calls: calls, Steps: &steps, Images: store,
		Node: func() Node {
			return Node{Pods: map[string]int{"ready": 2}, Containers: map[string]int{"running": 3}, Shims: 4, Spares: map[string]int{"shim": 5}, Owed: 6}
		},
		Leaks: func() (map[string]int, time.Time) { return map[string]int{"mount": 0, "shim": 1}, time.Unix(7, 0) },
	})
}

// lacking is what a look at the registry does not tell, and what it tells.
func lacking(r *Registry) (lacks []string, text string) {
	answer := httptest.NewRecorder()
	r.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	text = answer.Body.String()
	for _, want := range []string{
		`varve_build_info{version="test"} 1`,
		`varve_rpc_requests_total{code="OK",method="RunPodSandbox"} 1`, `varve_rpc_requests_total{code="DeadlineExceeded",method="RunPodSandbox"} 1`,
		`varve_rpc_requests_total{code="Unknown",method="StreamImages"} 1`, `varve_rpc_requests_total{code="OK",method="other"} 1`,
		`varve_rpc_duration_seconds_bucket{method="RunPodSandbox",le="0.0025"} 0`, `varve_rpc_duration_seconds_bucket{method="RunPodSandbox",le="0.005"} 1`,
		`varve_rpc_duration_seconds_bucket{method="RunPodSandbox",le="300"} 1`, `varve_rpc_duration_seconds_bucket{method="RunPodSandbox",le="+Inf"} 2`,
		`varve_rpc_duration_seconds_sum{method="RunPodSandbox"} 3600.003`,
		"varve_operations_running 0", `varve_step_errors_total{operation="RunPodSandbox",step="network"} 1`, `varve_step_duration_seconds_count{operation="RunPodSandbox",step=""} 1`,
		`varve_pods{state="ready"} 2`, `varve_containers{state="running"} 3`, "varve_shims 4", `varve_spares{kind="shim"} 5`, "varve_network_detaches_owed 6",
		`varve_leaks{kind="mount"} 0`, `varve_leaks{kind="shim"} 1`, "varve_leaks_checked_timestamp_seconds 7",
		"varve_pulls_running 0", `varve_pulls_total{result="done"} 1`, `varve_pulls_total{result="not_found"} 1`, "varve_pull_resumes_total 0",
		`varve_pull_duration_seconds_bucket{le="+Inf"} 2`, "varve_pull_duration_seconds_count 2",
		"varve_images 1", "varve_layers 1", "varve_layers_damaged 0", "varve_trash_pending 0",
	} {
		if !strings.Contains(text, want+"\n") {
			lacks = append(lacks, want)
		}
	}
	for _, nonzero := range []string{
		"varve_pull_fetched_bytes_total", "varve_pull_unpacked_bytes_total", "varve_store_bytes", "varve_store_inodes", "go_goroutines", "process_resident_memory_bytes",
	} {
		if !regexp.MustCompile(`(?m)^` + nonzero + ` [1-9]`).MatchString(text) {
			lacks = append(lacks, nonzero)
		}
	}
	return lacks, text
}

func TestMetrics(t *testing.T) {
	r := node(t)
	lacks, text := lacking(r)
	// What the store measures and deletes in the background may take a moment.
	for end := time.Now().Add(time.Minute); len(lacks) > 0 && time.Now().Before(end); lacks, text = lacking(r) {
		time.Sleep(10 * time.Millisecond)
	}
	if len(lacks) > 0 {
		t.Errorf("lacks %q:\n%s", lacks, text)
	}
}

// Prometheus' own rules for names, units and help.
func TestLint(t *testing.T) {
	problems, err := testutil.GatherAndLint(node(t).Gatherer())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestEveryMethodHasACounter(t *testing.T) {
	calls := NewCalls(&runtimeapi.RuntimeService_ServiceDesc, &runtimeapi.ImageService_ServiceDesc)
	if len(calls.methods) != 43 {
		t.Errorf("%d methods", len(calls.methods))
	}
	names := map[string]bool{}
	for full, m := range calls.methods {
		if names[m.Name] || !strings.HasSuffix(full, "/"+m.Name) {
			t.Errorf("%s is counted as %s", full, m.Name)
		}
		names[m.Name] = true
	}
	for name, want := range map[string]bool{
		"RunPodSandbox": false, "StopContainer": false, "PullImage": false, "UpdateContainerResources": false,
		"ListContainers": true, "ContainerStats": true, "ExecSync": true, "GetContainerEvents": true, "PodSandboxStatus": true,
	} {
		for full, m := range calls.methods {
			if m.Name == name && m.Looks != want {
				t.Errorf("%s: looks is %v", full, m.Looks)
			}
		}
	}
}

func BenchmarkObserve(b *testing.B) {
	calls := NewCalls(&runtimeapi.RuntimeService_ServiceDesc)
	b.ReportAllocs()
	for b.Loop() {
		calls.Method("/runtime.v1.RuntimeService/ContainerStats").Observe(codes.OK, 300*time.Microsecond)
	}
}
