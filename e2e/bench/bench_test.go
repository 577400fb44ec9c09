package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/varve-cri/varve/e2e/bench/figure"
	"github.com/varve-cri/varve/e2e/node"
)

func TestEndpointFlag(t *testing.T) {
	var e endpointFlags
	for value, good := range map[string]bool{
		"a=unix:///run/a.sock": true, "unix:///run/a.sock": false, "a=tcp://1.2.3.4:5": false, "=unix:///a": false,
	} {
		if err := e.Set(value); (err == nil) != good {
			t.Errorf("%q: %v", value, err)
		}
	}
	if len(e) != 1 {
		t.Errorf("kept %v", e)
	}
}

func TestProcesses(t *testing.T) {
	child := exec.Command("sleep", "60")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer child.Wait() //nolint:errcheck // it was killed
	defer child.Process.Kill()
	for _, p := range readProcesses() {
		if p.pid == child.Process.Pid && p.parent == os.Getpid() {
			return
		}
	}
	t.Error("the child is not in the list")
}

func TestPSS(t *testing.T) {
	got, err := pss(map[int]bool{os.Getpid(): true})
	if err != nil || got < 0.5 || got > 1000 {
		t.Errorf("own PSS is %v MiB, %v", got, err)
	}
}

func TestRunWithoutStart(t *testing.T) {
	s := &starts{}
	if err := s.run(t.Context(), []string{"sh", "-c", "echo 1500 2500.5"}, []string{"a", "b"}); err != nil {
		t.Fatal(err)
	}
	if a, b := s.Stat("a").Median, s.Stat("b").Median; a != 1.5 || b != 2.5005 {
		t.Errorf("%v and %v, want 1.5 and 2.5005", a, b)
	}
	for _, script := range []string{"echo 1", "echo x y", "echo broken >&2; exit 3"} {
		err := s.run(t.Context(), []string{"sh", "-c", script}, []string{"a", "b"})
		if err == nil {
			t.Errorf("%s: no error", script)
		}
	}
}

// TestTargets: every target has its row.
func TestTargets(t *testing.T) {
	b := &bench{
		options: options{only: "start,phases,cycles,memory", pods: 100}, starts: &starts{}, plugins: &plugins{},
		endpoints: []*endpoint{{name: "varve", node: &node.Node{}}},
	}
	e := b.endpoints[0]
	for _, n := range networks {
		for _, phase := range []string{"pod up", "pod down", "ExecSync", "StopContainer(0)", "ContainerStats", "lives"} {
			e.Of(sampleName(phase, n)).Add(50)
		}
	}
	for _, name := range []string{pssShims, pssUsed, pssDaemon} {
		e.Of(name).Add(1)
	}
	b.starts.Of(limitPlain).Add(1)
	b.starts.Of(aloneExec).Add(1.4)
	b.starts.Of(aloneExit).Add(1.7)
	var out strings.Builder
	for _, s := range b.sections() {
		s.Print(&out)
	}
	for _, want := range []string{
		"pod up 50.0 ms <= 6.00 no", "x <= 4.70 no", "x <= 1.60 yes", "ExecSync 50.0 ms <= 2.00 no",
		"pod up without the plugins 50.0 ms <= 7.00 no", "pods/s >= 60.0 no", "each pod 1.00 MiB <= 0.80 no", "after 200 execs 1.00 MiB <= 0.80 no", "MiB <= 40.0 yes",
		"StopContainer(0) 50.0 ms <= 3.00 no", "ContainerStats 50.0 ms <= 0.40 no", "pod down 50.0 ms <= 6.00 no",
	} {
		if !strings.Contains(strings.Join(strings.Fields(out.String()), " "), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

func TestLess(t *testing.T) {
	if got := less(figure.Stat{N: 2, Median: 70, P90: 80, Min: 60}, 65); got.Median != 5 || got.P90 != 15 {
		t.Errorf("%+v", got)
	}
}
