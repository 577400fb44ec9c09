package namespace

import (
	"errors"
	"os"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// What is mounted inside is not seen outside, the process stays where it is, and the
// threads end.
func TestDo(t *testing.T) {
	dir := t.TempDir()
	before, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			f, err := Do(func() (*os.File, error) {
				if err := unix.Mount("namespace-test", dir, "tmpfs", 0, ""); err != nil {
					return nil, err
				}
				return os.Create(dir + "/file")
			})
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := f.WriteString("x"); err != nil {
				t.Error(err)
			}
			f.Close()
		})
	}
	wg.Wait()
	table, err := os.ReadFile("/proc/self/mountinfo")
	after, _ := os.Readlink("/proc/self/ns/mnt")
	left, _ := os.ReadDir(dir)
	if err != nil || after != before || len(left) > 0 || strings.Contains(string(table), dir) {
		t.Errorf("namespace %s, before %s; files %v, %v", after, before, left, err)
	}
	wrong := errors.New("of the function")
	if _, err := Do(func() (*os.File, error) { return nil, wrong }); !errors.Is(err, wrong) {
		t.Errorf("%v", err)
	}
}
