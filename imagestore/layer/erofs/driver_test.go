package erofs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/varve-cri/varve/imagestore/layer"
	"github.com/varve-cri/varve/imagestore/layer/layertest"
	"github.com/varve-cri/varve/imagestore/layer/overlay"
	"github.com/varve-cri/varve/runtime/idmap"
)

func opened(scratch string) (*Driver, error) {
	over, err := overlay.New(scratch)
	if err != nil {
		return nil, err
	}
	return New(scratch, over)
}

func TestDriver(t *testing.T) {
	layertest.Run(t, func(scratch string) (layer.Driver, error) { return opened(scratch) })
}

// The way of kernels before 6.15 is tried on all.
func TestDriverWithKeeper(t *testing.T) {
	layertest.Run(t, func(scratch string) (layer.Driver, error) {
		over, err := overlay.New(scratch)
		if err != nil {
			return nil, err
		}
		return newKept(scratch, over)
	})
}

// Nothing is in the host's mount table, what is dropped is unmounted, and what ends
// leaves no thread in another namespace.
func TestKeeperLeavesNothing(t *testing.T) {
	scratch := t.TempDir()
	over, err := overlay.New(scratch)
	if err != nil {
		t.Fatal(err)
	}
	// Threads of tests before this one may still be ending.
	awaitOneNamespace(t)
	d, err := newKept(scratch, over)
	if err != nil {
		t.Fatal(err)
	}
	probe := filepath.Join(scratch, "probe-erofs")
	stack := layer.Stack{Layers: probeLayers(probe), Joined: filepath.Join(probe, "stack"), Root: filepath.Join(probe, "root")}
	f, err := d.Mount(stack)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || strings.Contains(string(table), scratch) {
		t.Errorf("a mount of ours is in the mount table: %v\n%s", err, table)
	}
	kept := filepath.Join(scratch, "kept-erofs")
	if points, _ := os.ReadDir(kept); len(points) != 1 {
		t.Errorf("%d mount points", len(points))
	}
	d.Drop(stack.Joined)
	if points, _ := os.ReadDir(kept); len(points) != 0 {
		t.Errorf("%d mount points after the drop", len(points))
	}
	if b, err := os.ReadFile(fmt.Sprintf("/proc/self/fd/%d/%s", f.Fd(), probeFile)); err != nil || string(b) != probeText {
		t.Errorf("after the drop: %q, %v", b, err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	awaitOneNamespace(t)
}

// awaitOneNamespace waits until all threads are in one mount namespace: a thread's end
// is not its goroutine's.
func awaitOneNamespace(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(time.Minute); namespaces(t) != 1; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d mount namespaces", namespaces(t))
		}
	}
}

// namespaces counts the mount namespaces that this process's threads are in.
func namespaces(t *testing.T) int {
	t.Helper()
	links, err := filepath.Glob("/proc/self/task/*/ns/mnt")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, l := range links {
		if name, err := os.Readlink(l); err == nil {
			seen[name] = true
		}
	}
	return len(seen)
}

// Other owners, by detached mounts and by those of a namespace of their own.
func TestTryOwners(t *testing.T) {
	for _, open := range []func(string, *overlay.Driver) (*Driver, error){New, newKept} {
		dir := t.TempDir()
		over, err := overlay.New(dir)
		if err != nil {
			t.Fatal(err)
		}
		d, err := open(dir, over)
		if err != nil {
			t.Fatal(err)
		}
		ns, err := idmap.Namespace([]idmap.Range{{Outside: 100000, Length: 1000}}, []idmap.Range{{Outside: 200000, Length: 1000}})
		if err != nil {
			t.Fatal(err)
		}
		if err := d.TryOwners(dir, &layer.Owners{Namespace: ns, UID: 100000, GID: 200000, Dir: dir}); err != nil {
			t.Error(err)
		}
		if err := errors.Join(d.Close(), ns.Close()); err != nil {
			t.Error(err)
		}
	}
}
