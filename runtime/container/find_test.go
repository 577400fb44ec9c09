package container

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/runtime/plan"
)

// The search leaves one string behind, the path that it found.
func TestFindAllocates(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(dir+"/usr/bin", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/usr/bin/tool", nil, 0o755); err != nil {
		t.Fatal(err)
	}
	root, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(root)
	p := &plan.Process{Args: []string{"tool"}, Env: []string{"PATH=" + defaultPath}}
	if n := testing.AllocsPerRun(100, func() {
		if path, err := find(root, p); path != "/usr/bin/tool" || err != nil {
			t.Error(path, err)
		}
	}); n > 1 {
		t.Errorf("%v allocations", n)
	}
	p.Args[0] = "to\x00ol"
	if path, err := find(root, p); !errors.Is(err, unix.EACCES) {
		t.Errorf("a name with a zero byte: %q, %v", path, err)
	}
}
