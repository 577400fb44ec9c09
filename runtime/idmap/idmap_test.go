package idmap

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestCheck(t *testing.T) {
	for want, ranges := range map[string][]Range{
		"no ids":                nil,
		"range 0 is empty":      {{0, 100000, 0}},
		"range 1, 10 ids":       {{0, 100000, 10}, {4294967290, 200000, 10}},
		"over the highest":      {{0, 4294967290, 10}},
		"ranges 0 and 1":        {{0, 100000, 10}, {9, 200000, 10}},
		"ranges 0 and 2":        {{0, 100000, 10}, {20, 200000, 10}, {40, 100009, 1}},
		"341 ranges, more than": make([]Range, MaxRanges+1),
	} {
		if err := Check(ranges); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %s", ranges, err, want)
		}
	}
	if err := Check([]Range{{0, 100000, 1000}, {1000, 200000, 64536}}); err != nil {
		t.Error(err)
	}
}

// tree is a detached copy of a new directory with one file of owner 5:6.
func tree(t *testing.T, dir string) *os.File {
	t.Helper()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(file, 5, 6); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, dir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), dir)
	t.Cleanup(func() { f.Close() })
	return f
}

func TestMount(t *testing.T) {
	ns, err := Namespace([]Range{{0, 100000, 65536}}, []Range{{0, 300000, 65536}})
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	mount := tree(t, t.TempDir())
	if err := Mount(mount, ns, true); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Fstatat(int(mount.Fd()), "file", &st, 0); err != nil || st.Uid != 100005 || st.Gid != 300006 {
		t.Errorf("owner %d:%d, %v", st.Uid, st.Gid, err)
	}
	if err := Mount(mount, ns, true); err == nil {
		t.Error("a mount was mapped twice")
	}
}

func TestMountOfAFileSystemThatCannot(t *testing.T) {
	ns, err := Namespace([]Range{{0, 100000, 1}}, []Range{{0, 100000, 1}})
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	fd, err := unix.OpenTree(unix.AT_FDCWD, "/proc", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	proc := os.NewFile(uintptr(fd), "/proc")
	defer proc.Close()
	if err := Mount(proc, ns, false); !errors.Is(err, ErrUnsupported) {
		t.Errorf("procfs: %v", err)
	}
}

// TestNamespaceLeavesNothing counts children and descriptors.
func TestNamespaceLeavesNothing(t *testing.T) {
	open := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	before := open()
	for range 20 {
		ns, err := Namespace([]Range{{0, 1, 1}}, []Range{{0, 1, 1}})
		if err != nil {
			t.Fatal(err)
		}
		ns.Close()
	}
	if after := open(); after != before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
	if pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); err != unix.ECHILD {
		t.Errorf("a child is left: %d, %v", pid, err)
	}
	if _, err := Namespace(nil, nil); err == nil {
		t.Error("a namespace without ids was made")
	}
}

func BenchmarkNamespace(b *testing.B) {
	for b.Loop() {
		ns, err := Namespace([]Range{{0, 100000, 65536}}, []Range{{0, 100000, 65536}})
		if err != nil {
			b.Fatal(err)
		}
		ns.Close()
	}
}
