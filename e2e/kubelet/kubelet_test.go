package kubelet

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/e2e/harness"
	"github.com/varve-cri/varve/e2e/testimage"
	"github.com/varve-cri/varve/e2e/testregistry"
)

// staticPod is probed each second, and no probe fails because a machine is slow.
const staticPod = `apiVersion: v1
kind: Pod
metadata: {name: two, namespace: default}
spec:
  terminationGracePeriodSeconds: 2
  containers:
  - name: web
    image: registry.test/probe:1
    args: [serve, ":8080", kubelet-test-web]
    readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1, timeoutSeconds: 60}
  - name: worker
    image: registry.test/probe:1
    args: [trap, SIGUSR1, "7", kubelet-test-worker]
    livenessProbe: {exec: {command: [/bin/probe, id]}, periodSeconds: 1, timeoutSeconds: 60}
    readinessProbe: {exec: {command: [/bin/probe, cat, /model/weights, /all/model/weights]}, periodSeconds: 1, timeoutSeconds: 60}
    resources: {limits: {memory: 64Mi, cpu: 500m}}
    volumeMounts:
    - {name: data, mountPath: /model, subPath: model}
    - {name: data, mountPath: /all}
  volumes:
  - name: data
    image: {reference: "registry.test/data:1"}
`

// TestStaticPod is one story, because bringing a kubelet up is what costs.
func TestStaticPod(t *testing.T) {
	registry, err := testregistry.Listen("127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { registry.Close() })
	image, err := testimage.Probe(v1.Config{})
	must(t, err)
	must(t, registry.Push("probe:1", image))
	data, err := testimage.Build(testimage.Spec{Layers: [][]testimage.File{{testimage.Dir("model"), {Name: "model/weights", Body: "weights"}}}})
	must(t, err)
	must(t, registry.Push("data:1", data))

	w := newWorld(t, registry.URL(), "EventedPLEG") // beside its own looks at all containers
	manifest := filepath.Join(w.dir, "manifests/two.yaml")
	must(t, os.WriteFile(manifest, []byte(staticPod), 0o600))
	first := w.await("the pod is ready", func(ready bool, c map[string]container) bool { return ready && len(c) == 2 })

	w.streams()
	w.signal("kubelet-test-web", unix.SIGKILL)
	w.await("web was restarted after a kill", func(ready bool, c map[string]container) bool {
		return ready && c["web"].RestartCount == 1 && exitCode(c["web"]) == 137
	})
	w.signal("kubelet-test-worker", unix.SIGUSR1)
	before := w.await("worker was restarted after its exit", func(ready bool, c map[string]container) bool {
		return ready && c["worker"].RestartCount == 1 && exitCode(c["worker"]) == 7
	})
	if before["web"].ContainerID == first["web"].ContainerID {
		t.Error("the restarted container has its old id")
	}
	// The pod began, and each container began twice and ended once.
	const events = "kubelet_evented_pleg_connection_latency_seconds_count"
	harness.Eventually(t, "the kubelet hears of what happens", func() bool { return w.figure(events) >= 12 })
	var broke float64
	harness.Eventually(t, "the kubelet tells how often the stream of events broke", func() bool {
		broke = w.figure("kubelet_evented_pleg_connection_error_count")
		return broke >= 0
	})
	if broke != 0 {
		t.Errorf("the stream of events broke %v times", broke)
	}

	// Killing the daemon changes nothing for the containers, nor, once it is
	// there again, in the kubelet's eyes.
	web := w.process("kubelet-test-web")
	w.signal("varved", unix.SIGKILL)
	time.Sleep(2 * time.Second) // long enough for the kubelet to see it gone
	if got := w.process("kubelet-test-web"); got != web {
		t.Errorf("the process of web was %d, is %d", web, got)
	}
	must(t, w.inside(abs(t, "../../hack/node.sh"), "start", filepath.Join(w.dir, "node")))
	time.Sleep(3 * time.Second) // several of the kubelet's looks at all containers
	after := w.await("the pod is ready again", func(ready bool, c map[string]container) bool { return ready })
	for name := range before {
		if a, b := after[name], before[name]; a.ContainerID != b.ContainerID || a.RestartCount != b.RestartCount || a.State.Running == nil {
			t.Errorf("%s: before the daemon's end %+v, after %+v", name, b, a)
		}
	}
	w.signal("kubelet-test-web", unix.SIGKILL)
	w.await("web was restarted by the new daemon", func(ready bool, c map[string]container) bool {
		return ready && c["web"].RestartCount == 2
	})

	must(t, os.Remove(manifest))
	harness.Eventually(t, "the pod's processes end", func() bool {
		for _, p := range w.node.Processes() {
			if strings.Contains(p.Line, "kubelet-test-") && !strings.Contains(p.Line, "varve-shim") {
				return false
			}
		}
		return true
	})
}

func exitCode(c container) int {
	if c.LastState.Terminated == nil {
		return -1
	}
	return c.LastState.Terminated.ExitCode
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
