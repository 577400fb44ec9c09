package shim

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func itoa(n int) string { return strconv.Itoa(n) }

// kids are the children of this process that run the shim program.
func kids(tb testing.TB) []int {
	tb.Helper()
	var pids []int
	for _, pid := range children(os.Getpid()) {
		if exe, _ := os.Readlink("/proc/" + itoa(pid) + "/exe"); strings.HasPrefix(exe, "/memfd:varve-shim") {
			pids = append(pids, pid)
		}
	}
	return pids
}

func TestSparesAreRefilledAndEnd(t *testing.T) {
	until(t, "the end of earlier tests' shims", func() bool { return len(kids(t)) == 0 })
	l := newLauncher(t, 3)
	until(t, "three spares", func() bool { return l.Waiting() == 3 })
	if n := len(kids(t)); n != 3 {
		t.Errorf("%d shims", n)
	}
	// A spare that dies is not used.
	pids := kids(t)
	if err := unix.Kill(pids[0], unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	until(t, "the end of one", func() bool { return unix.Kill(pids[0], 0) == unix.ESRCH })
	boxes := make([]*box, 6) // more than wait
	for i := range boxes {
		boxes[i] = run(t, l, newPlan("sleep"), nil)
	}
	until(t, "three spares again", func() bool { return l.Waiting() == 3 })
	for _, b := range boxes {
		if err := b.Shutdown(deadline(t)); err != nil {
			t.Error(err)
		}
	}
	l.Close()
	until(t, "the end of all shims", func() bool { return len(kids(t)) == 0 })
}

// TestStrayDescriptors: what the daemon's parent left open in it does not go on
// to the shims, which outlive it.
func TestStrayDescriptors(t *testing.T) {
	var stray [2]int
	if err := unix.Pipe2(stray[:], 0); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(stray[1])
	defer unix.Close(stray[0])
	link, err := os.Readlink("/proc/self/fd/" + itoa(stray[1]))
	if err != nil {
		t.Fatal(err)
	}
	l := newLauncher(t, 1)
	until(t, "a spare", func() bool { return l.Waiting() == 1 })
	for _, pid := range kids(t) {
		dir := "/proc/" + itoa(pid) + "/fd/"
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if has, _ := os.Readlink(dir + e.Name()); has == link {
				t.Errorf("the shim has %s, as descriptor %s", has, e.Name())
			}
		}
	}
}

// TestSparesDieWithTheDaemon kills a daemon that has spares.
func TestSparesDieWithTheDaemon(t *testing.T) {
	if dir := os.Getenv("SHIM_TEST_DAEMON"); dir != "" {
		actDaemon(t, dir)
		return
	}
	d := startDaemon(t, "TestSparesDieWithTheDaemon")
	spares := children(d.Process.Pid)
	if len(spares) < 2 {
		t.Errorf("the daemon has %d children", len(spares))
	}
	_ = d.Process.Kill()
	_ = d.Wait()
	for _, pid := range spares {
		until(t, "the end of a spare", func() bool {
			_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil)
			return unix.Kill(pid, 0) == unix.ESRCH
		})
	}
}

// startDaemon runs a test of this binary as another process until it has
// written "ready".
func startDaemon(t *testing.T, test string) *exec.Cmd {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+test+"$")
	// Its TempDir is below this one's, because it will not clean up.
	cmd.Env = append(os.Environ(), "TMPDIR="+dir, "SHIM_TEST_BUILT="+builtDir, "SHIM_TEST_DAEMON="+dir)
	cmd.Stderr, cmd.Stdout = os.Stderr, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // for one that the test has not waited for
	})
	until(t, "daemon ready", func() bool { _, err := os.Stat(filepath.Join(dir, "ready")); return err == nil })
	return cmd
}

func actDaemon(t *testing.T, dir string) {
	l := newLauncher(t, 2)
	until(t, "spares", func() bool { return l.Waiting() == 2 })
	if err := os.WriteFile(filepath.Join(dir, "ready"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	select {}
}

func TestLauncherRefusesABadProgram(t *testing.T) {
	for _, path := range []string{"/no/such/program", "/tmp", "/etc/passwd"} {
		if _, err := NewLauncher(LauncherConfig{Binary: path}); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
	}
}
