package kubelet

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/e2e/criclient"
	"github.com/varve-cri/varve/e2e/harness"
	"github.com/varve-cri/varve/e2e/testimage"
	"github.com/varve-cri/varve/e2e/testregistry"
)

// loaded is a pod that writes 8 MiB, burns 1.5 s, holds 40 MiB and answers requests, and
// does next to nothing in a second container.
const loaded = `apiVersion: v1
kind: Pod
metadata: {name: load, namespace: default}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: busy
    image: registry.test/probe:1
    args: [fill, /big, "8", +, spin, 1500ms, +, alloc, "40", +, serve, ":8080", %s]
    resources: {limits: {memory: 128Mi, cpu: 1500m}}
    readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1, timeoutSeconds: 60}
  - name: quiet
    image: registry.test/probe:1
    args: [sleep]
`

// answerBytes is how long the answer to each request is.
const answerBytes = 64 << 10

const mib = 1 << 20

// limits is where a figure must be.
type limits struct{ low, high float64 }

// TestStatsFromCRI has a kubelet that takes all figures of pods from varve, and shows the
// load that the pod is. Lists come in streams, as that kubelet wants them then.
func TestStatsFromCRI(t *testing.T) {
	registry, err := testregistry.Listen("127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { registry.Close() })
	image, err := testimage.Probe(v1.Config{})
	must(t, err)
	must(t, registry.Push("probe:1", image))
	w := newWorld(t, registry.URL(), "PodAndContainerStatsFromCRI", "CRIListStreaming")
	manifest := filepath.Join(w.dir, "manifests/load.yaml")
	must(t, os.WriteFile(manifest, fmt.Appendf(nil, loaded, strings.Repeat("x", answerBytes)), 0o600))
	w.await("the pod is ready", func(ready bool, c map[string]container) bool { return ready && len(c) == 2 })

	var summary map[string]float64
	harness.Eventually(t, "the summary has the file and the network's bytes", func() bool {
		summary = w.summary("pods/load-e2e/")
		// A rate may be that of a second in which nobody asked for anything.
		return summary["containers/busy/rootfs/usedBytes"] >= 8*mib && summary["network/txBytes"] >= answerBytes &&
			summary["containers/busy/cpu/usageNanoCores"] > 0 && summary["cpu/usageNanoCores"] > 0
	})
	for name, want := range map[string]limits{
		"containers/busy/cpu/usageCoreNanoSeconds":  {1.35e9, 60e9},
		"containers/busy/cpu/usageNanoCores":        {1, 16e9},
		"containers/busy/memory/workingSetBytes":    {40 * mib, 128 * mib},
		"containers/busy/memory/rssBytes":           {40 * mib, 100 * mib},
		"containers/busy/memory/usageBytes":         {40 * mib, 128 * mib},
		"containers/busy/memory/availableBytes":     {1 * mib, 88 * mib},
		"containers/busy/memory/pageFaults":         {100, 1e9},
		"containers/busy/rootfs/usedBytes":          {8 * mib, 10 * mib},
		"containers/busy/rootfs/inodesUsed":         {1, 50},
		"containers/busy/rootfs/capacityBytes":      {100 * mib, 1e18},
		"containers/quiet/cpu/usageCoreNanoSeconds": {1e5, 1.3e9},
		"containers/quiet/memory/workingSetBytes":   {1 << 16, 39 * mib},
		"cpu/usageCoreNanoSeconds":                  {1.36e9, 60e9},
		"cpu/usageNanoCores":                        {1, 16e9},
		"memory/workingSetBytes":                    {40 * mib, 200 * mib},
		"process_stats/process_count":               {2, 100},
		"network/txBytes":                           {answerBytes, 1e9},
		"network/rxBytes":                           {100, 1e9},
		"network/rxErrors":                          {0, 0},
		"ephemeral-storage/usedBytes":               {8 * mib, 20 * mib},
	} {
		if got, there := summary[name]; !there || got < want.low || got > want.high {
			t.Errorf("summary: %s is %v (%v), want %v", name, got, there, want)
		}
	}
	if _, err := os.Stat("/proc/pressure"); err == nil {
		for _, name := range []string{"containers/busy/cpu/psi/some/total", "containers/busy/memory/psi/full/avg10", "containers/busy/io/psi/some/avg300", "io/psi/full/total", "cpu/psi/some/total"} {
			if _, there := summary[name]; !there {
				t.Errorf("summary: no %s", name)
			}
		}
	}
	w.checkMetrics()
	must(t, os.Remove(manifest))
}

// checkMetrics looks for the load in /metrics/cadvisor.
func (w *world) checkMetrics() {
	w.t.Helper()
	var busy, pod, own map[string]float64
	harness.Eventually(w.t, "the metrics have the file and the network's bytes", func() bool {
		text := w.get("metrics/cadvisor")
		busy, pod, own = metrics(text, `container="busy"`), metrics(text, `container="POD"`), metrics(text, `container="",`)
		return busy["container_fs_usage_bytes"] >= 8*mib && pod["container_network_transmit_bytes_total"] >= answerBytes
	})
	for name, want := range map[string]limits{
		"container_cpu_usage_seconds_total":  {1, 60},
		"container_memory_rss":               {40 * mib, 100 * mib},
		"container_memory_working_set_bytes": {40 * mib, 128 * mib},
		"container_memory_max_usage_bytes":   {40 * mib, 128 * mib},
		"container_spec_memory_limit_bytes":  {128 * mib, 128 * mib},
		"container_spec_cpu_quota":           {150000, 150000},
		"container_processes":                {1, 1},
		"container_file_descriptors":         {4, 100},
		"container_sockets":                  {1, 100},
		"container_fs_usage_bytes":           {8 * mib, 10 * mib},
		"container_oom_events_total":         {0, 0},
		"container_start_time_seconds":       {float64(time.Now().Add(-30 * time.Minute).Unix()), float64(time.Now().Unix())},
		"container_last_seen":                {float64(time.Now().Add(-10 * time.Minute).Unix()), float64(time.Now().Unix() + 1)},
	} {
		if got, there := busy[name]; !there || got < want.low || got > want.high {
			w.t.Errorf("metric %s is %v (%v), want %v", name, got, there, want)
		}
	}
	if own["container_memory_working_set_bytes"] < busy["container_memory_working_set_bytes"] || own["container_cpu_usage_seconds_total"] < 1 {
		w.t.Errorf("the pod's own metrics: %v", own)
	}
	// The kubelet lets through what it was told of at its start, and drops the rest.
	client, err := criclient.Dial(w.node.Socket())
	must(w.t, err)
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	described, err := client.ListMetricDescriptors(ctx, &runtimeapi.ListMetricDescriptorsRequest{})
	must(w.t, err)
	for _, d := range described.GetDescriptors() {
		_, inBusy := busy[d.GetName()]
		_, inPod := pod[d.GetName()]
		if !inBusy && !inPod && !strings.HasPrefix(d.GetName(), "container_hugetlb_") { // which the pod may not use
			w.t.Errorf("the kubelet has no %s", d.GetName())
		}
	}
}

// get is what the kubelet answers, nothing when it does not.
func (w *world) get(path string) []byte {
	answer, err := w.client.Get(fmt.Sprintf("https://127.0.0.1:%d/%s", w.port, path))
	if err != nil {
		return nil
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		return nil
	}
	return body
}

// summary is what the kubelet's summary has below a prefix, by path. Items of lists go
// by their name.
func (w *world) summary(prefix string) map[string]float64 {
	var tree any
	out := map[string]float64{}
	if json.Unmarshal(w.get("stats/summary"), &tree) != nil {
		return out
	}
	flatten(tree, "", func(path string, v float64) {
		if rest, ok := strings.CutPrefix(path, prefix); ok {
			out[rest] = v
		}
	})
	return out
}

func flatten(v any, path string, add func(string, float64)) {
	switch v := v.(type) {
	case float64:
		add(strings.TrimSuffix(path, "/"), v)
	case map[string]any:
		for key, below := range v {
			flatten(below, path+key+"/", add)
		}
	case []any:
		for _, item := range v {
			named, _ := item.(map[string]any)
			if ref, ok := named["podRef"].(map[string]any); ok {
				named["name"] = ref["name"]
			}
			flatten(item, path+fmt.Sprint(named["name"])+"/", add)
		}
	}
}

var sample = regexp.MustCompile(`^(\w+)\{(.*)\} (\S+)`)

// metrics are those of the pod in the kubelet's /metrics/cadvisor that have a label: sums
// over the others.
func metrics(text []byte, label string) map[string]float64 {
	out := map[string]float64{}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		m := sample.FindStringSubmatch(lines.Text())
		if m == nil || !strings.HasPrefix(m[2], label) || !strings.Contains(m[2], `namespace="default",`) || !strings.Contains(m[2], `pod="load-e2e"`) {
			continue
		}
		if v, err := strconv.ParseFloat(m[3], 64); err == nil {
			out[m[1]] += v
		}
	}
	return out
}
