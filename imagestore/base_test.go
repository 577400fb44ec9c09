package imagestore

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestBase: the skeleton has the modes that containers must see, whatever the
// umask, and making it again mends it.
func TestBase(t *testing.T) {
	defer unix.Umask(unix.Umask(0o077))
	root := filepath.Join(t.TempDir(), "base")
	if err := makeBase(root); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(root + "/etc/hosts"); err != nil {
		t.Fatal(err)
	}
	if err := makeBase(root); err != nil {
		t.Fatal(err)
	}
	for _, d := range append([]string{"."}, baseDirs...) {
		if fi, err := os.Stat(filepath.Join(root, d)); err != nil || fi.Mode() != os.ModeDir|0o755 {
			t.Errorf("%s: %v %v", d, fi, err)
		}
	}
	for _, f := range baseFiles {
		if fi, err := os.Stat(filepath.Join(root, f)); err != nil || fi.Mode() != 0o644 || fi.Size() != 0 {
			t.Errorf("%s: %v %v", f, fi, err)
		}
	}
}
