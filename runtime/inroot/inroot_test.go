package inroot

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// tree makes a root beside a directory that must stay empty.
func tree(t *testing.T, links map[string]string) (root *os.File, outside string) {
	t.Helper()
	top := t.TempDir()
	outside = filepath.Join(top, "outside")
	dir := filepath.Join(top, "root")
	for _, d := range []string{outside, dir, dir + "/a/b", dir + "/proc"} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(dir+"/a/file", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for name, to := range links {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	root, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		root.Close()
		if left, err := os.ReadDir(outside); err != nil || len(left) > 0 {
			t.Errorf("outside of the root: %v, %v", left, err)
		}
	})
	return root, outside
}

// at returns where in the root an open file is.
func at(t *testing.T, root *os.File, fd int) string {
	t.Helper()
	defer unix.Close(fd)
	base, err := os.Readlink("/proc/self/fd/" + itoa(int(root.Fd())))
	if err != nil {
		t.Fatal(err)
	}
	path, err := os.Readlink("/proc/self/fd/" + itoa(fd))
	if err != nil {
		t.Fatal(err)
	}
	rel, err := filepath.Rel(base, path)
	if err != nil {
		t.Fatal(err)
	}
	return rel
}

func itoa(n int) string {
	if n < 10 {
		return string(rune('0' + n))
	}
	return itoa(n/10) + string(rune('0'+n%10))
}

func TestPathsStayInside(t *testing.T) {
	root, outside := tree(t, map[string]string{
		"abs": "/a/b", "up": "../../../../..", "rel": "a/../a", "dangling": "/new/place", "loop": "loop", "file": "/a/missing/f",
		"deep": "dangling/more", "slash": "a/b/",
	})
	for _, c := range []struct {
		open func(int, string, uint32) (int, error)
		path string
		want string
		err  error
	}{
		{Dir, "/a/b", "a/b", nil}, {Dir, "abs", "a/b", nil}, {Dir, "/up/up/a", "a", nil}, {Dir, "rel/x/y", "a/x/y", nil},
		{Dir, "dangling/z", "new/place/z", nil}, {Dir, "deep/q", "new/place/more/q", nil}, {Dir, "/../../n", "n", nil},
		{Dir, outside + "/x", outside[1:] + "/x", nil}, {Dir, "slash/s", "a/b/s", nil}, {Dir, "/", ".", nil},
		{Dir, "loop/x", "", unix.ELOOP}, {Dir, "a/file", "", unix.ENOTDIR}, {Dir, "a/file/x", "", unix.ENOTDIR},
		{Dir, "gone/../x", "", unix.ENOENT},
		{File, "/a/file", "a/file", nil}, {File, "/n/ew/file", "n/ew/file", nil}, {File, "file", "a/missing/f", nil},
		{File, "abs", "a/b", nil}, {File, "loop", "", unix.ELOOP}, {File, "a/file/x", "", unix.ENOTDIR},
		{RealDir, "/a/b", "a/b", nil}, {RealDir, "/proc", "proc", nil}, {RealDir, "made/of", "made/of", nil},
		{RealDir, "abs", "", unix.ELOOP}, {RealDir, "rel/b", "", unix.ELOOP}, {RealDir, "dangling", "", unix.ELOOP},
		{RealDir, "a/file", "", unix.ENOTDIR},
	} {
		if c.path == "gone/../x" {
			// Made as the walk goes: "gone" first, then ".." of it.
			c.want, c.err = "x", nil
		}
		fd, err := c.open(int(root.Fd()), c.path, 0o755)
		if !errors.Is(err, c.err) {
			t.Errorf("%s: %v, want %v", c.path, err, c.err)
			continue
		}
		if err == nil {
			if got := at(t, root, fd); got != c.want {
				t.Errorf("%s is %s, want %s", c.path, got, c.want)
			}
		}
	}
}

// A magic link of procfs is no way out (CVE-2024-21626).
func TestNoMagicLinks(t *testing.T) {
	proc, err := os.Open("/proc")
	if err != nil {
		t.Fatal(err)
	}
	defer proc.Close()
	if fd, err := FD(int(proc.Fd()), "self/root", unix.O_PATH); err != unix.ELOOP {
		unix.Close(fd)
		t.Errorf("error %v", err)
	}
}

// While somebody renames a directory of the path, nothing is made outside
// (CVE-2024-45310).
func TestRace(t *testing.T) {
	root, outside := tree(t, nil)
	dir := root.Name()
	if err := os.Symlink(outside, dir+"/link"); err != nil {
		t.Fatal(err)
	}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				_ = unix.Renameat2(unix.AT_FDCWD, dir+"/a", unix.AT_FDCWD, dir+"/link", unix.RENAME_EXCHANGE)
			}
		}
	}()
	for i := range 200 {
		if fd, err := Dir(int(root.Fd()), "a/b/"+itoa(i)+"/x", 0o755); err == nil {
			unix.Close(fd)
		}
		if fd, err := File(int(root.Fd()), "a/b/"+itoa(i)+"/f", 0o644); err == nil {
			unix.Close(fd)
		}
	}
	close(stop)
	<-done
}
