package show

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/varve-cri/varve/cri/admin/wire"
	"github.com/varve-cri/varve/imagestore/progress"
)

var update = flag.Bool("update", false, "write the golden files")

// golden compares lines with testdata/NAME.txt.
func golden(t *testing.T, name string, lines []string) {
	t.Helper()
	path := filepath.Join("testdata", name+".txt")
	got := strings.Join(lines, "\n") + "\n"
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-want +got):\n%s", path, diff)
	}
}

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func digest(n int) string { return fmt.Sprintf("sha256:%016x%048d", uint64(n)*0x9e3779b97f4a7c15, n) }

// busy is a pull with a layer in each stage.
func busy() progress.State {
	s := progress.State{
		ID: "7", Reference: "docker.io/library/app:1", Started: start, Stage: progress.Layers,
		Fetched: 61 << 20, Rate: 9 << 20, Resumes: 1,
		Layers: []progress.LayerState{
			{Stage: progress.LayerPresent, Total: 30 << 20},
			{Stage: progress.LayerDone, Total: 10 << 20, Fetched: 10 << 20, Unpacked: 30 << 20},
			{Stage: progress.LayerSyncing, Total: 1 << 20, Fetched: 1 << 20},
			{Stage: progress.LayerUnpacking, Total: 20 << 20, Fetched: 20 << 20},
			{Stage: progress.LayerFetching, Total: 49 << 20, Fetched: 30 << 20, Rate: 9 << 20, Resumes: 1, Trouble: "unexpected EOF"},
			{Stage: progress.LayerFetching, Total: 5 << 20, Shared: true},
			{Stage: progress.LayerWaiting, Total: 999},
		},
	}
	for i := range s.Layers {
		s.Layers[i].Digest = digest(i + 1)
		s.Total += s.Layers[i].Total
	}
	return s
}

func ended(stage progress.Stage, change func(*progress.State)) progress.State {
	s := busy()
	end := start.Add(3400 * time.Millisecond)
	s.Stage, s.Ended, s.Rate = stage, &end, 0
	for i := range s.Layers {
		if !s.Layers[i].Stage.Ended() {
			s.Layers[i].Stage, s.Layers[i].Rate = progress.LayerDone, 0
		}
	}
	if change != nil {
		change(&s)
	}
	return s
}

func TestBars(t *testing.T) {
	for name, size := range map[string][2]int{
		"bars-wide": {160, 40}, "bars-80": {80, 24}, "bars-60": {60, 24}, "bars-30": {30, 24}, "bars-low": {100, 6},
	} {
		golden(t, name, Bars(busy(), size[0], size[1]))
	}
	early := progress.State{Reference: "a", Platform: "linux/arm64", Stage: progress.Resolving, Retries: 2, Trouble: "fetch manifest 1 from h: 429 Too Many Requests; again in 20s"}
	config, join, commit := early, early, early
	config.Stage, join.Stage, commit.Stage = progress.Config, progress.Joining, progress.Commit
	var lines []string
	for _, s := range []progress.State{
		early, config, join, commit, ended(progress.Done, nil),
		ended(progress.Done, func(s *progress.State) { s.Kept, s.Layers = 20<<20, nil }),
		ended(progress.Done, func(s *progress.State) { s.Unchanged, s.Layers = true, nil }),
		ended(progress.Failed, func(s *progress.State) { s.Error, s.Kind = "pull a: no", "unavailable" }),
		ended(progress.Failed, func(s *progress.State) { s.Error, s.Kind = "pull a: gone", "canceled" }),
	} {
		lines = append(lines, Bars(s, 120, 3)...)
	}
	golden(t, "bars-stages", lines)
}

// Whatever the size, no line is wider than the terminal and there are no more of
// them than fit.
func TestBarsFit(t *testing.T) {
	for width := range 200 {
		for height := 3; height < 12; height++ {
			lines := Bars(busy(), width, height)
			if len(lines) > height-1 {
				t.Errorf("%dx%d: %d lines", width, height, len(lines))
			}
			for _, l := range lines {
				if utf8.RuneCountInString(l) > width {
					t.Errorf("%dx%d: %q", width, height, l)
				}
			}
		}
	}
}

func TestPlain(t *testing.T) {
	var p Plain
	first, later := busy(), busy()
	later.Layers[4].Fetched, later.Fetched = 49<<20, 80<<20
	var lines []string
	for _, step := range []struct {
		s  progress.State
		at time.Duration
	}{
		{progress.State{Reference: first.Reference, Stage: progress.Resolving}, 0},
		{first, time.Second},
		{first, 2 * time.Second},
		{later, 12 * time.Second},
		{ended(progress.Done, nil), 13 * time.Second},
	} {
		lines = append(lines, p.Lines(step.s, start.Add(step.at))...)
	}
	golden(t, "plain", lines)
}

func TestTables(t *testing.T) {
	now := start.Add(26 * time.Hour)
	failed := ended(progress.Failed, func(s *progress.State) { s.ID, s.Error = "6", "pull a: fetch manifest 1 from h: 404\x1b[31m Not Found" })
	pulls := []progress.State{failed, busy()}
	golden(t, "pulls", append(Pulls(pulls, start.Add(time.Minute), 100), PullLine(failed, 0), PullLine(pulls[1], 60), Pulls(nil, now, 80)[0]))
	made := start.Add(-400 * time.Hour)
	golden(t, "images", append(Images([]wire.Image{
		{ID: digest(1), Tags: []string{"docker.io/library/app:1", "docker.io/library/app:latest"}, Layers: make([]string, 3), Size: 400 << 20, Unique: 3 << 20, Pulled: start, Pinned: true},
		{ID: digest(2), Digests: []string{"quay.io/x/y@" + digest(3)}, Layers: make([]string, 1), Size: 512, Pulled: now},
		{ID: digest(4), Pulled: start.Add(-100 * time.Hour)},
	}, now), Images(nil, now)...))
	golden(t, "history", History(wire.History{ID: digest(1), Steps: []wire.Step{
		{Layer: digest(1), Size: 74 << 20, Created: &made, CreatedBy: "/bin/sh -c #(nop) ADD file:1 in / \n\t\x1b]0;evil\a", Comment: "base"},
		{CreatedBy: "CMD [\"sh\"]", Created: &time.Time{}},
		{Layer: digest(2), Size: 10},
	}}, now, 80))
	golden(t, "store", Store(wire.Store{
		Root: "/var/lib/varve", Format: "erofs", FormatReason: "probed", Images: 2, Layers: 5, Containers: 1, Bytes: 1 << 30, Inodes: 4000,
		TrashPending: 1, Free: 70 << 30, Total: 100 << 30, Orphans: []string{"layers/stray"},
		Damaged: []wire.Damage{{Layer: digest(3), Images: []string{"a:1", "b:2"}, Problem: "file etc/passwd: digest is another"}},
	}))
	golden(t, "operations", append(Operations([]wire.Operation{
		{Verb: "RunPodSandbox", Object: "pod default/web", Step: "network", Detail: "CNI plugin bridge: ADD", Index: 3, Steps: 6, Since: now.Add(-75 * time.Second)},
		{Verb: "CreateContainer", Object: "container web", Step: "record", Index: 1, Steps: 4, Undoing: true, Since: now},
	}, now, 100), Operations(nil, now, 80)...))
}

func TestReload(t *testing.T) {
	got := Reload(wire.Reload{Changed: []string{"log.verbosity"}, NeedsRestart: []string{"socket"}})
	if strings.Join(got, "|") != "log.verbosity has changed|socket needs a restart of varved to change" || len(Reload(wire.Reload{})) != 1 {
		t.Errorf("got %q", got)
	}
}

func TestLayers(t *testing.T) {
	layer := func(n, parent int, size uint64, by string, images ...string) wire.Layer {
		l := wire.Layer{ID: digest(n), Tree: fmt.Sprint(n), Format: "overlay", Size: size, Images: images}
		if parent > 0 {
			l.Parent = digest(parent)
		}
		if by != "" {
			l.Step = &wire.Step{CreatedBy: by}
		}
		return l
	}
	twin := layer(9, 0, 5<<20, "ADD twin", "b")
	twin.Tree = "8"
	golden(t, "layers", Layers([]wire.Layer{
		layer(1, 0, 74<<20, "ADD file:1 in /", "a", "b", "c"),
		layer(2, 1, 1<<20, "RUN apt-get install", "a", "b", "c"),
		layer(3, 2, 2<<20, "COPY one", "a"),
		layer(4, 3, 3<<20, "COPY two", "a"),
		layer(5, 2, 4<<20, "COPY three", "b", "c"),
		layer(6, 5, 5<<10, "", "b"),
		layer(7, 5, 6<<10, "", "c"),
		layer(8, 0, 5<<20, "ADD other", "a"),
		twin,
		layer(10, 9, 100, "RUN \x1b[2J", []string{}...),
	}, 80))
	golden(t, "layers-none", Layers(nil, 80))
}

func TestBytes(t *testing.T) {
	for n, want := range map[uint64]string{
		0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 100 << 10: "100 KiB", 1<<20 - 1: "1.0 MiB", 381 << 20: "381 MiB",
		1 << 60: "1.0 EiB", 1<<64 - 1: "16.0 EiB",
	} {
		if got := Bytes(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}

func TestShort(t *testing.T) {
	for in, want := range map[string]string{"sha256:" + strings.Repeat("a", 64): "aaaaaaaaaaaa", "sha256:ab": "ab", "": "", "abc": "abc"} {
		if got := Short(in); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
}
