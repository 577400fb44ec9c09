package shm

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func TestEnsureAndRemove(t *testing.T) {
	pod := t.TempDir()
	t.Cleanup(func() { _ = unix.Unmount(Dir(pod), unix.MNT_DETACH) })
	for range 2 { // both are idempotent
		if err := Ensure(pod, Options{Bytes: 3 << 20, UID: 100000, GID: 200000}); err != nil {
			t.Fatal(err)
		}
	}
	var fs unix.Statfs_t
	var st unix.Stat_t
	if err := unix.Statfs(Dir(pod), &fs); err != nil || fs.Type != unix.TMPFS_MAGIC || fs.Blocks*uint64(fs.Bsize) != 3<<20 {
		t.Errorf("%+v, %v", fs, err)
	}
	if err := unix.Stat(Dir(pod), &st); err != nil || st.Mode&0o7777 != 0o1777 {
		t.Errorf("mode %o, %v", st.Mode, err)
	}
	for range 2 {
		if err := Remove(pod); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Lstat(Dir(pod)); !os.IsNotExist(err) {
		t.Error("the directory is left:", err)
	}
}
