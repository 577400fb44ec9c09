package usage

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"sync/atomic"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/varve-cri/varve/runtime/cgroup"
)

var names atomic.Int32

// group is a new cgroup with a process that has used some processor time.
func group(t testing.TB) (*cgroup.Group, *exec.Cmd) {
	t.Helper()
	limit, tasks := int64(64<<20), int64(100)
	g, err := cgroup.Create(fmt.Sprintf("/varve-test-usage-%d-%d", os.Getpid(), names.Add(1)), &specs.LinuxResources{
		Memory: &specs.LinuxMemory{Limit: &limit}, Pids: &specs.LinuxPids{Limit: &tasks},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(g.Kill(), g.Remove()); err != nil {
			t.Error(err)
		}
	})
	cmd := exec.Command("sh", "-c", "read x; for i in 1 2 3 4 5 6 7 8 9; do head -c 3000000 /dev/urandom >/dev/null; done; echo done; read x")
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	dirs := g.V1Paths()
	if g.V2Path() != "" {
		dirs = append(dirs[:len(dirs):len(dirs)], g.V2Path())
	}
	for _, dir := range dirs {
		if err := os.WriteFile(dir+"/cgroup.procs", []byte(fmt.Sprint(cmd.Process.Pid)), 0); err != nil {
			t.Fatal(err)
		}
	}
	fmt.Fprintln(in)
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	return g, cmd
}

func TestKernel(t *testing.T) {
	g, process := group(t)
	var m Meter
	defer m.Close()
	for range 3 { // newly opened and kept
		u, err := m.Read(g.Path(), Detail)
		if err != nil {
			t.Fatal(err)
		}
		if u.CPU.Total < 5e6 || u.CPU.User+u.CPU.System == 0 || u.Memory.Usage == 0 || u.Memory.RSS == 0 || u.Memory.WorkingSet > u.Memory.Usage || u.Memory.PageFaults == 0 ||
			u.Memory.Limit != 64<<20 || u.Memory.Peak < u.Memory.RSS || u.Tasks != (Tasks{1, 100}) {
			t.Errorf("%+v", u)
		}
		_, kept := os.Stat("/proc/pressure") // not of every kernel
		if g.V2Path() != "" && kept == nil && (!u.CPU.PSI.Known || !u.Memory.PSI.Known || !u.IO.PSI.Known) {
			t.Errorf("no pressure: %+v", u)
		}
	}
	if err := g.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = process.Wait() // it was killed
	if err := g.Remove(); err != nil {
		t.Fatalf("open files hold the group: %v", err)
	}
	if _, err := m.Read(g.Path(), Detail); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a group that is gone: %v", err)
	}
}

// TestManyReaders has readers in each other's way, and a Close among them.
func TestManyReaders(t *testing.T) {
	g, _ := group(t)
	before := budget.open.Load()
	var m Meter
	done := make(chan error, 8)
	for i := range cap(done) {
		go func() {
			var err error
			for n := 0; n < 200 && err == nil; n++ {
				var u Usage
				if u, err = m.Read(g.Path(), Count); err == nil && u.Tasks.Current != 1 {
					err = fmt.Errorf("%+v", u)
				}
				if i == 0 && n == 100 {
					m.Close()
				}
			}
			done <- err
		}()
	}
	for range cap(done) {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if budget.open.Load() != before {
		t.Errorf("%d files are still open", budget.open.Load()-before)
	}
}

func BenchmarkRead(b *testing.B) {
	g, _ := group(b)
	for name, c := range map[string]struct {
		parts  Parts
		closed bool
	}{"kept": {0, false}, "opened": {0, true}, "detail": {Detail, false}} {
		b.Run(name, func(b *testing.B) {
			m := Meter{closed: c.closed}
			defer m.Close()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := m.Read(g.Path(), c.parts); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
