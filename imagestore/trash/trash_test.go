package trash

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// opened gives a trash in a directory of its own, and the directory beside it.
func opened(t *testing.T, top string) *Trash {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(top, "trash"), 0o700); err != nil {
		t.Fatal(err)
	}
	b := Open(filepath.Join(top, "trash"), filepath.Join(top, "reserve"), func(m string) { t.Error(m) })
	t.Cleanup(b.Close)
	return b
}

func tree(t *testing.T, path string) string {
	t.Helper()
	if err := os.MkdirAll(path+"/d/d", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+"/d/f", []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func holds(t *testing.T, dir string) int {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// What is put there is out of sight at once and gone when the trash is empty; what is
// left when it is closed waits for the next life.
func TestPut(t *testing.T) {
	top := t.TempDir()
	b := opened(t, top)
	for i := range 20 {
		path := tree(t, fmt.Sprint(top, "/", i))
		b.Put(path)
		if _, err := os.Lstat(path); !os.IsNotExist(err) {
			t.Fatalf("%s: %v", path, err)
		}
	}
	b.Put(top + "/none")
	b.Wait()
	if n := holds(t, top+"/trash"); n != 0 || b.Pending() != 0 {
		t.Errorf("%d are left, %d pending", n, b.Pending())
	}
	b.Close()
	b.Put(tree(t, top+"/late"))
	b.Wait() // of what is closed there is nothing to wait for
	if n := holds(t, top+"/trash"); n != 1 {
		t.Errorf("%d wait for the next life", n)
	}
	again := opened(t, top)
	left, err := os.ReadDir(top + "/trash")
	if err != nil || len(left) != 1 {
		t.Fatal(left, err)
	}
	again.Enqueue(filepath.Join(top, "trash", left[0].Name()))
	again.Wait()
	if n := holds(t, top+"/trash"); n != 0 {
		t.Errorf("%d are left", n)
	}
}

// The reserve is there from the start, whole, and again after a deletion.
func TestReserve(t *testing.T) {
	top := t.TempDir()
	reserve := top + "/reserve"
	if err := os.Mkdir(reserve, 0o700); err != nil { // half of one
		t.Fatal(err)
	}
	b := opened(t, top)
	if n := holds(t, reserve); n != reserveInodes+1 {
		t.Errorf("the reserve has %d files", n)
	}
	if info, err := os.Stat(reserve + "/last"); err != nil || info.Size() != reserveBytes {
		t.Errorf("%v, %v", info, err)
	}
	if !b.Spend() || b.Spend() {
		t.Error("a reserve is spent once")
	}
	b.Put(tree(t, top+"/x"))
	b.Wait()
	if n := holds(t, reserve); n != reserveInodes+1 {
		t.Errorf("the reserve has %d files after a deletion", n)
	}
	if !SpendReserve(reserve) || SpendReserve(reserve) {
		t.Error("a reserve is spent once")
	}
}
