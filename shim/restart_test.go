package shim

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/shim/proto"
)

// TestDaemonKilled kills the process that has started a container with
// SIGKILL and adopts the container from another.
func TestDaemonKilled(t *testing.T) {
	if dir := os.Getenv("SHIM_TEST_DAEMON"); dir != "" {
		actStarter(t, dir)
		return
	}
	d := startDaemon(t, "TestDaemonKilled")
	dir := strings.TrimPrefix(d.Env[len(d.Env)-1], "SHIM_TEST_DAEMON=")
	_ = d.Process.Kill()
	_ = d.Wait()
	box := filepath.Join(dir, "box")
	log := filepath.Join(box, "0.log")
	before := len(readSoFar(t, log))
	until(t, "more log", func() bool { return len(readSoFar(t, log)) > before+5 })
	c, err := Dial(deadline(t), box)
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.State(deadline(t))
	if err != nil || s.PID == 0 || s.Exited {
		t.Fatalf("%+v, %v", s, err)
	}
	if err := c.Signal(deadline(t), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-c.Done()
	if e, ok := c.Exit(); !ok || e.Code != 137 {
		t.Errorf("%+v, %v", e, ok)
	}
	until(t, "the shim's end", func() bool {
		_, _ = unix.Wait4(s.ShimPID, nil, unix.WNOHANG, nil)
		return unix.Kill(s.ShimPID, 0) == unix.ESRCH
	})
}

func actStarter(t *testing.T, dir string) {
	l := newLauncher(t, 1)
	box := filepath.Join(dir, "box")
	if err := os.Mkdir(box, 0o700); err != nil {
		t.Fatal(err)
	}
	r := StartRequest{Dir: box, Plan: newPlan("tick"), Root: newRoot(t), LogPath: filepath.Join(box, "0.log")}
	if _, _, err := l.Start(deadline(t), r); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "ready"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	select {}
}

// TestExitWhileNobodyListens finds the exit in the record.
func TestExitWhileNobodyListens(t *testing.T) {
	l := newLauncher(t, 1)
	b := run(t, l, newPlan("sleep"), nil)
	shim := b.shimPID()
	b.Close()
	if err := unix.Kill(b.pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	until(t, "the record", func() bool { _, err := ReadExit(b.dir); return err == nil })
	until(t, "the shim's end", func() bool { return unix.Kill(shim, 0) == unix.ESRCH })
	if _, err := Dial(deadline(t), b.dir); !errors.Is(err, ErrGone) {
		t.Error(err)
	}
	if e, err := ReadExit(b.dir); err != nil || e.Code != 137 || e.Signal != 9 || time.Since(e.At) > time.Minute {
		t.Errorf("%+v, %v", e, err)
	}
	if left, _ := os.ReadDir(b.dir); len(left) != 3 { // lock, record, log
		t.Errorf("%v", left)
	}
}

// TestShimKilled leaves a container without a shim: the client learns that it
// must kill the cgroup.
func TestShimKilled(t *testing.T) {
	l := newLauncher(t, 1)
	group := newGroup(t, "")
	p := newPlan("sleep")
	p.Cgroup.V2 = group
	b := run(t, l, p, nil)
	proc := newProcess("sleep")
	ex, err := b.Exec(deadline(t), ExecRequest{Process: &proc})
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(b.shimPID(), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-b.Done()
	if _, ok := b.Exit(); ok || !errors.Is(b.Err(), ErrGone) {
		t.Errorf("err %v", b.Err())
	}
	if _, err := ex.Wait(deadline(t)); !errors.Is(err, ErrGone) {
		t.Errorf("exec: %v", err)
	}
	if _, err := b.State(deadline(t)); !errors.Is(err, ErrGone) {
		t.Errorf("state: %v", err)
	}
	if _, err := Dial(deadline(t), b.dir); !errors.Is(err, ErrGone) {
		t.Errorf("dial: %v", err)
	}
	if _, err := ReadExit(b.dir); !errors.Is(err, ErrNoRecord) {
		t.Errorf("record: %v", err)
	}
	if err := os.WriteFile(group+"/cgroup.kill", []byte("1"), 0); err != nil {
		t.Error(err)
	}
	until(t, "the orphans' end", func() bool {
		_, _ = unix.Wait4(b.pid, nil, unix.WNOHANG, nil)
		_, _ = unix.Wait4(ex.PID, nil, unix.WNOHANG, nil)
		return unix.Kill(b.pid, 0) == unix.ESRCH && unix.Kill(ex.PID, 0) == unix.ESRCH
	})
}

// TestManyClients gives every connection the exit.
func TestManyClients(t *testing.T) {
	l := newLauncher(t, 1)
	b := run(t, l, newPlan("sleep"), nil)
	var all []*Client
	for range 20 {
		c, err := Dial(deadline(t), b.dir)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		all = append(all, c)
	}
	if err := all[7].Signal(deadline(t), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	want := b.exited()
	for _, c := range all {
		<-c.Done()
		if e, ok := c.Exit(); !ok || e != want {
			t.Errorf("%+v, want %+v", e, want)
		}
	}
}

// TestStrangeRequests sends what no client of ours would: the shim refuses or
// hangs up, and lives.
func TestStrangeRequests(t *testing.T) {
	l := newLauncher(t, 1)
	b := run(t, l, newPlan("sleep"), nil)
	for v := range proto.Verb(60) {
		err := b.ask(deadline(t), v, nil, nil)
		if v > proto.VerbAbort && !errors.Is(err, ErrUnsupported) {
			t.Errorf("verb %d: %v", v, err)
		}
		if v == proto.VerbCloseStdin {
			break
		}
	}
	for _, msg := range []string{"", "x", "\x01\x02\x09\x00aaaa", strings.Repeat("z", 70000)} {
		conn, err := connect(b.dir)
		if err != nil {
			t.Fatal(err)
		}
		_ = control(conn, func(fd int) error { return proto.Send(fd, []byte(msg)) })
		conn.Close()
	}
	if err := b.ask(deadline(t), 200, nil, nil); !errors.Is(err, ErrUnsupported) {
		t.Error(err)
	}
	if s, err := b.State(deadline(t)); err != nil || s.Exited {
		t.Errorf("%+v, %v", s, err)
	}
}

// TestSharedPIDNamespace ends what is left of a container whose first process
// is not the first of its PID namespace, and does not wait for its output.
func TestSharedPIDNamespace(t *testing.T) {
	l := newLauncher(t, 1)
	// Who waits for the output waits for a second, always; who does not is quicker
	// where the machine is.
	until(t, "an exit that is told at once", func() bool { return sharedPIDNamespace(t, l) < 900*time.Millisecond })
}

// sharedPIDNamespace returns how long after the container's exit that was told.
func sharedPIDNamespace(t *testing.T, l *Launcher) time.Duration {
	group := newGroup(t, "")
	p := newPlan("family", "3")
	p.Cgroup.V2 = group
	p.Namespaces = append(p.Namespaces[:1:1], p.Namespaces[2:]...) // the host's PID namespace
	b := run(t, l, p, nil)
	e := b.exited()
	told := time.Since(e.At)
	if e.Code != 0 {
		t.Errorf("%+v", e)
	}
	if log := joined(readLog(t, b.log), "stdout"); log != "family made\n" {
		t.Errorf("%q", log)
	}
	until(t, "an empty group", func() bool { return empty(group) })
	return told
}

// TestOrphanHoldsTheOutput has no cgroup by which the rest could be killed: the
// exit is told all the same, after a bounded time.
func TestOrphanHoldsTheOutput(t *testing.T) {
	l := newLauncher(t, 1)
	p := newPlan("family", "1")
	p.Namespaces = append(p.Namespaces[:1:1], p.Namespaces[2:]...)
	b := run(t, l, p, nil)
	shim := b.shimPID()
	b.exited()
	if log := joined(readLog(t, b.log), "stdout"); log != "family made\n" {
		t.Errorf("%q", log)
	}
	until(t, "the shim's end", func() bool { return unix.Kill(shim, 0) == unix.ESRCH })
	for _, pid := range children(os.Getpid()) { // the orphan comes to this subreaper
		if cmd, _ := os.ReadFile("/proc/" + itoa(pid) + "/cmdline"); strings.HasPrefix(string(cmd), "/bin/probe\x00sleep") {
			_ = unix.Kill(pid, unix.SIGKILL)
			_, _ = unix.Wait4(pid, nil, 0, nil)
		}
	}
}

func TestDialNothing(t *testing.T) {
	for _, dir := range []string{t.TempDir(), "/no/such/dir"} {
		if _, err := Dial(context.Background(), dir); !errors.Is(err, ErrGone) {
			t.Errorf("%s: %v", dir, err)
		}
		if _, err := ReadExit(dir); !errors.Is(err, ErrNoRecord) {
			t.Errorf("%s: %v", dir, err)
		}
	}
}
