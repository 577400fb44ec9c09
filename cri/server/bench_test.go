package server

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// stopwatch collects durations by phase and reports their medians.
type stopwatch struct {
	order []string
	took  map[string][]time.Duration
}

func (w *stopwatch) time(phase string, f func()) {
	if w.took == nil {
		w.took = map[string][]time.Duration{}
	}
	if w.took[phase] == nil {
		w.order = append(w.order, phase)
	}
	begin := time.Now()
	f()
	w.took[phase] = append(w.took[phase], time.Since(begin))
}

func (w *stopwatch) report(b *testing.B) {
	for _, phase := range w.order {
		d := w.took[phase]
		slices.Sort(d)
		b.ReportMetric(float64(d[len(d)/2].Microseconds()), phase+"-us")
	}
}

// BenchmarkPod is a pod's whole life on the host's network, by phase, over a
// real socket.
func BenchmarkPod(b *testing.B) {
	n := newNode(b)
	n.pull()
	var w stopwatch
	for i := 0; b.Loop(); i++ {
		pc := podConfig(b)
		pc.Metadata.Name = fmt.Sprint("pod", i)
		var pod, id string
		w.time("run", func() { pod = n.pod(pc) })
		cc := containerConfig(pc, "main", "sleep")
		w.time("create", func() {
			var err error
			if id, err = n.create(pod, pc, cc); err != nil {
				b.Fatal(err)
			}
		})
		w.time("start", func() {
			if _, err := n.StartContainer(n.ctx(), &runtimeapi.StartContainerRequest{ContainerId: id}); err != nil {
				b.Fatal(err)
			}
		})
		time.Sleep(5 * time.Millisecond)
		w.time("exec", func() {
			if _, err := n.exec(id, "print"); err != nil {
				b.Fatal(err)
			}
		})
		w.time("stats", func() {
			if _, err := n.ContainerStats(n.ctx(), &runtimeapi.ContainerStatsRequest{ContainerId: id}); err != nil {
				b.Fatal(err)
			}
		})
		w.time("stop", func() {
			if _, err := n.StopContainer(n.ctx(), &runtimeapi.StopContainerRequest{ContainerId: id}); err != nil {
				b.Fatal(err)
			}
		})
		w.time("remove", func() {
			if _, err := n.RemoveContainer(n.ctx(), &runtimeapi.RemoveContainerRequest{ContainerId: id}); err != nil {
				b.Fatal(err)
			}
		})
		w.time("stoppod", func() {
			if _, err := n.StopPodSandbox(n.ctx(), &runtimeapi.StopPodSandboxRequest{PodSandboxId: pod}); err != nil {
				b.Fatal(err)
			}
		})
		w.time("removepod", func() {
			if _, err := n.RemovePodSandbox(n.ctx(), &runtimeapi.RemovePodSandboxRequest{PodSandboxId: pod}); err != nil {
				b.Fatal(err)
			}
		})
	}
	w.report(b)
	if path := os.Getenv("VARVE_STEPS"); path != "" { // a benchmark's own log is cut to ten lines
		var all strings.Builder
		for _, t := range n.s.steps.Timings() {
			fmt.Fprintf(&all, "%-18s %-16s %6d %10v\n", t.Verb, t.Step, t.Count, t.Sum/time.Duration(t.Count))
		}
		if err := os.WriteFile(path, []byte(all.String()), 0o600); err != nil {
			b.Error(err)
		}
	}
}
