package thread

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// What the thread makes has its new owner, it may still do what only
// capabilities allow, and no other thread has changed.
func TestBecome(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	Go(func() {
		err := Become(100000, 200000)
		if err == nil {
			err = errors.Join(os.WriteFile(filepath.Join(dir, "made"), nil, 0o600), os.Chown(filepath.Join(dir, "made"), -1, 200007),
				unix.Mknod(filepath.Join(dir, "node"), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))))
		}
		done <- err
	})
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for name, gid := range map[string]uint32{"made": 200007, "node": 200000} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if st, ok := info.Sys().(*syscall.Stat_t); !ok || st.Uid != 100000 || st.Gid != gid {
			t.Errorf("%s: owner %d:%d", name, st.Uid, st.Gid)
		}
	}
	if now, err := unix.SetfsuidRetUid(-1); now != 0 || err != nil {
		t.Errorf("another thread is %d, %v", now, err)
	}
}
