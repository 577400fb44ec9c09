package leak

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/runtime/cgroup"
	"github.com/varve-cri/varve/runtime/namespace"
)

// parent is of this process: its neighbours may run the same test.
var parent = fmt.Sprintf("/varve-leak-test-%d", os.Getpid())

// left makes one thing of every kind but shims in a state directory, all of the
// pod or container named id.
func left(t *testing.T, id string) Owners {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "varve-leak-")
	if err != nil {
		t.Fatal(err)
	}
	pod := filepath.Join(dir, "pods", id)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.MkdirAll(filepath.Join(pod, "shm"), 0o700))
	must(os.MkdirAll(filepath.Join(dir, "containers"), 0o700))
	must(unix.Mount("shm", filepath.Join(pod, "shm"), "tmpfs", 0, "size=64k"))
	must(namespace.Pin(filepath.Join(pod, "ns"), namespace.Spec{UTS: true}))
	g, err := cgroup.Create(parent+"/"+id, nil)
	must(err)
	t.Cleanup(func() {
		for _, undo := range []func() error{
			func() error { return unix.Unmount(filepath.Join(pod, "shm"), 0) },
			func() error { return namespace.Unpin(filepath.Join(pod, "ns")) },
			g.Remove, cgroup.Open(parent).Remove, func() error { return os.RemoveAll(dir) },
		} {
			if err := undo(); err != nil {
				t.Error(err)
			}
		}
	})
	return Owners{
		StateDir: dir, Groups: func() []string { return []string{parent} },
		Layers: func() ([]string, []string) { return []string{id}, []string{"layers/x"} },
	}
}

func TestWhatBelongsToNobody(t *testing.T) {
	id := strings.Repeat("a1", 32)
	o := left(t, id)
	known := true
	o.Known = func(string) bool { return known }
	w := New(o)
	for range 2 {
		if got := w.Look(); len(got) > 1 || len(got) == 1 && got[0] != (Finding{Layer, "layers/x"}) {
			t.Errorf("while there is an owner: %v", got)
		}
	}
	known = false
	if got := w.Look(); len(got) != 1 {
		t.Errorf("the first time: %v", got)
	}
	leaks := w.Look()
	for kind, part := range map[string]string{
		Mount: "pods/" + id + "/shm", Namespace: "pods/" + id + "/ns/uts", Cgroup: parent + "/" + id, State: "pods/" + id, Layer: "rw/" + id,
	} {
		if !slices.ContainsFunc(leaks, func(f Finding) bool { return f.Kind == kind && strings.HasSuffix(f.What, part) }) {
			t.Errorf("lacks %s %s: %v", kind, part, leaks)
		}
	}
	counts, at := w.Counts()
	if counts[Mount] != 1 || counts[Namespace] != 1 || counts[Layer] != 2 || counts[Shim] != 0 || len(counts) != len(kinds) || time.Since(at) > time.Minute {
		t.Errorf("counts %v at %v", counts, at)
	}
	known = true
	if got := w.Look(); len(got) != 1 {
		t.Errorf("owned again: %v", got)
	}
}

// Who asks is not kept waiting: the look is made for the next one.
func TestCountsDoNotWait(t *testing.T) {
	looks := make(chan bool)
	w := New(Owners{StateDir: t.TempDir(), Known: func(string) bool { return true }, Groups: func() []string { looks <- true; return nil }, Layers: func() ([]string, []string) { return nil, nil }})
	for range 3 {
		if counts, at := w.Counts(); !at.IsZero() || counts[Shim] != 0 {
			t.Errorf("before the first look: %v at %v", counts, at)
		}
	}
	<-looks
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		if _, at := w.Counts(); !at.IsZero() {
			return
		}
		if time.Now().After(end) {
			t.Fatal("the look does not end")
		}
	}
}
