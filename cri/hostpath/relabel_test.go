package hostpath

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/cri/fault"
	"github.com/varve-cri/varve/cri/plan"
)

// Without SELinux in the kernel the attribute is one like any other of root's, so
// that what is labelled can be seen on every machine.
func label(t *testing.T, path string) string {
	t.Helper()
	buf := make([]byte, 256)
	n, err := unix.Lgetxattr(path, labelName, buf)
	if err != nil {
		return "" // it has none
	}
	return strings.TrimRight(string(buf[:n]), "\x00")
}

func TestRelabel(t *testing.T) {
	const mine, other = "system_u:object_r:container_file_t:s0:c1,c2", "system_u:object_r:container_file_t:s0:c3,c4"
	outside := filepath.Join(t.TempDir(), "secret")
	dir := t.TempDir()
	for _, d := range []string{"a/b/c", "empty"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{outside, dir + "/a/b/c/file", dir + "/file"} {
		if err := os.WriteFile(f, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Symlink(outside, dir+"/a/link"), os.Symlink(filepath.Dir(outside), dir+"/a/way"), os.Symlink(dir, outside+"-link")); err != nil {
		t.Fatal(err)
	}
	var c Checker
	source := func(path string) []plan.Source {
		return []plan.Source{{Field: "config.mounts[0].selinux_relabel", Path: path}}
	}
	if err := c.Relabel(t.Context(), source(outside+"-link"), mine); err != nil { // a link of the request is followed
		t.Fatal(err)
	}
	for _, f := range []string{"", "/a", "/a/b/c", "/a/b/c/file", "/file", "/empty"} {
		if got := label(t, dir+f); got != mine {
			t.Errorf("%s is labelled %q", f, got)
		}
	}
	if got := label(t, outside) + label(t, filepath.Dir(outside)); got != "" {
		t.Errorf("what links lead to is labelled %q", got)
	}
	// Done is done: what the container has made since is its own.
	if err := os.WriteFile(dir+"/later", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.Relabel(t.Context(), source(dir), mine); err != nil || label(t, dir+"/later") != "" {
		t.Errorf("the second time: %v, %q", err, label(t, dir+"/later"))
	}
	if err := c.Relabel(t.Context(), source(dir), other); err != nil || label(t, dir+"/later") != other || label(t, dir) != other {
		t.Errorf("another label: %v, %q", err, label(t, dir+"/later"))
	}

	if err := os.Symlink("/etc", dir+"/etc"); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{dir + "/etc": "is /etc, which belongs to the system", dir + "/none": "does not exist"} {
		err := c.Relabel(t.Context(), source(path), mine)
		var bad *fault.InvalidError
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if label(t, "/etc") == mine {
		t.Error("/etc is labelled")
	}
}
