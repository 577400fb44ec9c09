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

	"github.com/varve-cri/varve/runtime/container"
	"github.com/varve-cri/varve/shim/proto"
)

func TestExitCodes(t *testing.T) {
	l := newLauncher(t, 2)
	for _, tc := range []struct {
		args []string
		kill unix.Signal
		want Exit
	}{
		{args: []string{"exit", "0"}},
		{args: []string{"exit", "3"}, want: Exit{Code: 3}},
		{args: []string{"sleep"}, kill: unix.SIGKILL, want: Exit{Code: 137, Signal: 9}},
		{args: []string{"term"}, kill: unix.SIGTERM, want: Exit{Code: 7}},
	} {
		before := time.Now()
		b := run(t, l, newPlan(tc.args...), nil)
		if tc.kill == unix.SIGTERM {
			until(t, "payload ready", func() bool { return strings.Contains(joined(readSoFar(t, b.log), "stdout"), "ready") })
		}
		if tc.kill != 0 {
			if err := b.Signal(deadline(t), tc.kill); err != nil {
				t.Fatal(err)
			}
		}
		got := b.exited()
		if got.At.Before(before) || got.At.After(time.Now()) {
			t.Errorf("%v: exit at %v", tc.args, got.At)
		}
		onDisk, err := ReadExit(b.dir)
		if err != nil || onDisk != got {
			t.Errorf("%v: record %+v, %v; announced %+v", tc.args, onDisk, err, got)
		}
		got.At = time.Time{}
		if got != tc.want {
			t.Errorf("%v: %+v, want %+v", tc.args, got, tc.want)
		}
		if err := b.Signal(deadline(t), unix.SIGTERM); !errors.Is(err, ErrExited) {
			t.Errorf("signal after the exit: %v", err)
		}
	}
}

func TestStateAndFiles(t *testing.T) {
	l := newLauncher(t, 1)
	b := run(t, l, newPlan("sleep"), nil)
	s, err := b.State(deadline(t))
	if err != nil {
		t.Fatal(err)
	}
	if s.PID != b.pid || s.Exited || s.ID != "0123456789abcdef" || time.Since(s.StartedAt) > time.Minute {
		t.Errorf("state %+v, pid %d", s, b.pid)
	}
	for name, mode := range map[string]os.FileMode{proto.SocketFile: os.ModeSocket | 0o600, proto.LockFile: 0o600} {
		st, err := os.Stat(filepath.Join(b.dir, name))
		if err != nil || st.Mode() != mode {
			t.Errorf("%s: %v, %v", name, st.Mode(), err)
		}
	}
	if st, err := os.Stat(b.log); err != nil || st.Mode() != 0o640 {
		t.Errorf("log: %v, %v", st.Mode(), err)
	}
	if fds, err := os.ReadDir("/proc/" + itoa(b.pid) + "/fd"); err != nil || len(fds) < 3 || len(fds) > 8 {
		t.Errorf("payload has %d descriptors, %v", len(fds), err)
	}
}

func TestStartFailures(t *testing.T) {
	l := newLauncher(t, 2)
	missing := newPlan("exit", "0")
	missing.Process.Args = []string{"no-such-command"}
	notExec := newPlan("exit", "0")
	notExec.Process.Args = []string{"/tmp"}
	for _, tc := range []struct {
		name string
		edit func(*StartRequest)
		is   error
		want string
	}{
		{"command missing", func(r *StartRequest) { r.Plan = missing }, container.ErrNotFound, "no-such-command"},
		{"not executable", func(r *StartRequest) { r.Plan = notExec }, container.ErrNotExecutable, "/tmp"},
		{"log directory missing", func(r *StartRequest) { r.LogPath = r.Dir + "/gone/0.log" }, unix.ENOENT, "open log"},
		{"log is a directory", func(r *StartRequest) { r.LogPath = r.Dir }, unix.EISDIR, "open log"},
		{"exit record exists", func(r *StartRequest) {
			if err := os.WriteFile(r.Dir+"/exit", nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}, unix.EEXIST, "exit record"},
	} {
		dir := newDir(t)
		r := StartRequest{Dir: dir, Plan: newPlan("exit", "0"), Root: newRoot(t), LogPath: filepath.Join(dir, "0.log")}
		tc.edit(&r)
		_, _, err := l.Start(deadline(t), r)
		var step *container.StepError
		if !errors.As(err, &step) || !errors.Is(err, tc.is) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", tc.name, err)
		}
		if _, err := os.Stat(filepath.Join(dir, proto.SocketFile)); !os.IsNotExist(err) {
			t.Errorf("%s: socket is left: %v", tc.name, err)
		}
		if _, err := Dial(deadline(t), dir); !errors.Is(err, ErrGone) {
			t.Errorf("%s: dial: %v", tc.name, err)
		}
	}
}

// TestDoubleStart holds the lock against a second shim.
func TestDoubleStart(t *testing.T) {
	l := newLauncher(t, 2)
	b := run(t, l, newPlan("sleep"), nil)
	_, _, err := l.Start(deadline(t), StartRequest{Dir: b.dir, Plan: newPlan("sleep"), Root: newRoot(t)})
	if !errors.Is(err, unix.EAGAIN) || !strings.Contains(err.Error(), "lock") {
		t.Errorf("second start: %v", err)
	}
	if _, err := b.State(deadline(t)); err != nil {
		t.Error("first container:", err)
	}
}

// TestStartCancelled cancels at many moments of a start. Whatever comes of it
// is whole: a running container or nothing.
func TestStartCancelled(t *testing.T) {
	l := newLauncher(t, 4)
	started, cancelled := 0, 0
	for i := range 40 {
		dir := newDir(t)
		group := newGroup(t, "")
		p := newPlan("sleep")
		p.Cgroup.V2 = group
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(i)*100*time.Microsecond)
		c, _, err := l.Start(ctx, StartRequest{Dir: dir, Plan: p, Root: newRoot(t)})
		cancel()
		if err == nil {
			started++
			if err := c.Shutdown(deadline(t)); err != nil {
				t.Error(err)
			}
			c.Close()
			continue
		}
		cancelled++
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if _, err := os.Stat(filepath.Join(dir, proto.SocketFile)); !os.IsNotExist(err) {
			t.Error("socket is left:", err)
		}
		if _, err := os.Stat(filepath.Join(dir, proto.ExitFile)); !os.IsNotExist(err) {
			t.Error("record is left:", err)
		}
		// On a slow machine they have been killed, no more.
		until(t, "the end of all processes", func() bool { return empty(group) })
	}
	t.Logf("%d started, %d cancelled", started, cancelled)
}

// TestStartHangs cancels a start whose shim does not answer at all.
func TestStartHangs(t *testing.T) {
	maker := newLauncher(t, -1)
	c, err := maker.spawn(deadline(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(c.child, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	// One whose pool nobody fills, but for this spare.
	l := &Launcher{cfg: maker.cfg, program: maker.program, stop: maker.stop, spares: make(chan *Client, 1), refill: make(chan struct{}, 1)}
	l.spares <- c
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	_, _, err = l.Start(ctx, StartRequest{Dir: newDir(t), Plan: newPlan("sleep"), Root: newRoot(t)})
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "shim "+itoa(c.child)) {
		t.Error(err)
	}
	until(t, "the shim's end", func() bool { return unix.Kill(c.child, 0) == unix.ESRCH })
}

func TestOOM(t *testing.T) {
	l := newLauncher(t, 1)
	group := newGroup(t, "memory")
	if err := os.WriteFile(group+"/memory.limit_in_bytes", []byte("33554432"), 0); err != nil {
		t.Fatal(err)
	}
	p := newPlan("hog")
	p.Cgroup.V1 = []string{group}
	oom := func(r *StartRequest) { r.OOMEventsPath = group + "/memory.oom_control" }
	if e := run(t, l, p, oom).exited(); !e.OOM || e.Code != 137 {
		t.Errorf("hog: %+v", e)
	}
	// The count of the group goes on; only its growth is this container's.
	p = newPlan("sleep")
	p.Cgroup.V1 = []string{group}
	b := run(t, l, p, oom)
	if err := b.Signal(deadline(t), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if e := b.exited(); e.OOM || e.Code != 137 {
		t.Errorf("killed: %+v", e)
	}
}
