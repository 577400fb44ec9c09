package shim

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/runtime/container"
)

// output runs an exec to its end and returns what it wrote.
func (b *box) output(args ...string) (string, int32, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return "", 0, err
	}
	defer r.Close()
	p := newProcess(args...)
	ex, err := b.Exec(deadline(b.tb), ExecRequest{Process: &p, Stdout: w, Stderr: w})
	w.Close()
	if err != nil {
		return "", 0, err
	}
	text, err := io.ReadAll(r)
	if err != nil {
		return "", 0, err
	}
	code, err := ex.Wait(deadline(b.tb))
	return string(text), code, err
}

func TestExec(t *testing.T) {
	l := newLauncher(t, 1)
	b := run(t, l, newPlan("sleep"), nil)
	if text, code, err := b.output("say", "hello", " world"); text != "hello world" || code != 0 || err != nil {
		t.Errorf("%q, %d, %v", text, code, err)
	}
	if _, code, err := b.output("exit", "42"); code != 42 || err != nil {
		t.Errorf("%d, %v", code, err)
	}
	p := newProcess("exit")
	p.Args = []string{"missing"}
	_, err := b.Exec(deadline(t), ExecRequest{Process: &p})
	var step *container.StepError
	if !errors.As(err, &step) || !errors.Is(err, container.ErrNotFound) {
		t.Errorf("missing command: %v", err)
	}
	p = newProcess("exit", "0")
	for _, id := range []string{"../x", "a b", strings.Repeat("x", 65)} {
		if _, err := b.Exec(deadline(t), ExecRequest{ID: id, Process: &p}); !errors.Is(err, ErrInvalid) {
			t.Errorf("id %q: %v", id, err)
		}
	}
	p.Env = append(p.Env, "BIG="+strings.Repeat("x", 100<<10)) // too long for a message
	ex, err := b.Exec(deadline(t), ExecRequest{Process: &p})
	if err != nil {
		t.Fatal(err)
	}
	if code, err := ex.Wait(deadline(t)); code != 0 || err != nil {
		t.Errorf("big environment: %d, %v", code, err)
	}
}

func TestExecInput(t *testing.T) {
	l := newLauncher(t, 1)
	b := run(t, l, newPlan("sleep"), nil)
	inR, inW, _ := os.Pipe()
	outR, outW, _ := os.Pipe()
	p := newProcess("cat")
	ex, err := b.Exec(deadline(t), ExecRequest{Process: &p, Stdin: inR, Stdout: outW})
	if err != nil {
		t.Fatal(err)
	}
	inR.Close()
	outW.Close()
	go func() {
		_, _ = io.WriteString(inW, strings.Repeat("data ", 100000))
		inW.Close()
	}()
	text, err := io.ReadAll(outR)
	outR.Close()
	if err != nil || len(text) < 500000 || !strings.HasSuffix(string(text), "cat: 500000 <nil>\n") {
		t.Errorf("%d bytes, %v", len(text), err)
	}
	if code, err := ex.Wait(deadline(t)); code != 0 || err != nil {
		t.Error(code, err)
	}
}

func TestExecTerminal(t *testing.T) {
	l := newLauncher(t, 1)
	b := run(t, l, newPlan("sleep"), nil)
	p := newProcess("tty")
	p.Terminal, p.Rows, p.Cols = true, 24, 80
	ex, err := b.Exec(deadline(t), ExecRequest{Process: &p})
	if err != nil {
		t.Fatal(err)
	}
	defer ex.Console.Close()
	if _, err := io.WriteString(ex.Console, "hi\n"); err != nil {
		t.Fatal(err)
	}
	text, _ := io.ReadAll(ex.Console) // ends with EIO
	if !strings.Contains(string(text), "tty 24 80") || !strings.Contains(string(text), `got "hi\n"`) {
		t.Errorf("%q", text)
	}
	if code, err := ex.Wait(deadline(t)); code != 0 || err != nil {
		t.Error(code, err)
	}
}

// TestExecKill kills an exec that has left daemons behind, in each kind of
// hierarchy, with the process alive and gone.
func TestExecKill(t *testing.T) {
	l := newLauncher(t, 2)
	for _, hierarchy := range []string{"", "pids", "freezer"} {
		for _, stays := range []bool{true, false} {
			group := newGroup(t, hierarchy)
			p := newPlan("sleep")
			if hierarchy == "" {
				p.Cgroup.V2 = group
			} else {
				p.Cgroup.V1 = []string{group}
			}
			b := run(t, l, p, nil)
			b.killFamily(group, stays)
			if err := b.Shutdown(deadline(t)); err != nil {
				t.Error(err)
			}
			until(t, "the removal of exec groups", func() bool {
				left, _ := filepath.Glob(group + "/exec-*")
				return len(left) == 0
			})
		}
	}
}

func (b *box) killFamily(group string, stays bool) {
	t := b.tb
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	args := []string{"family", "3"}
	if stays {
		args = append(args, "stay")
	}
	proc := newProcess(args...)
	ex, err := b.Exec(deadline(t), ExecRequest{ID: "fam", Process: &proc, Stdout: w})
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 100)
	if n, err := r.Read(line); err != nil || string(line[:n]) != "family made\n" {
		t.Fatalf("%q, %v", line[:n], err)
	}
	want := int32(137)
	if !stays {
		want = 0
		if _, err := ex.Wait(deadline(t)); err != nil {
			t.Fatal(err)
		}
	}
	members, err := os.ReadFile(group + "/exec-fam/cgroup.procs")
	if err != nil || len(strings.Fields(string(members))) < 3 {
		t.Fatalf("members %q, %v", members, err)
	}
	if err := ex.Kill(deadline(t)); err != nil {
		t.Fatal(err)
	}
	// The pipe's end says that all who held it are gone.
	_ = r.SetReadDeadline(time.Now().Add(patience))
	if rest, err := io.ReadAll(r); err != nil {
		t.Errorf("after the kill: %q, %v", rest, err)
	}
	if code, err := ex.Wait(deadline(t)); code != want || err != nil {
		t.Errorf("code %d, %v", code, err)
	}
	until(t, "empty group", func() bool {
		left, err := os.ReadFile(group + "/exec-fam/cgroup.procs")
		return len(left) == 0 || err != nil
	})
	if err := ex.Kill(deadline(t)); err != nil {
		t.Error("second kill:", err)
	}
	if s, err := b.State(deadline(t)); err != nil || s.Exited {
		t.Errorf("container: %+v, %v", s, err)
	}
}

// TestExecEndsWithItsClient kills the execs of a connection that breaks.
func TestExecEndsWithItsClient(t *testing.T) {
	l := newLauncher(t, 1)
	group := newGroup(t, "")
	p := newPlan("sleep")
	p.Cgroup.V2 = group
	b := run(t, l, p, nil)
	c, err := Dial(deadline(t), b.dir)
	if err != nil {
		t.Fatal(err)
	}
	proc := newProcess("family", "2", "stay")
	ex, err := c.Exec(deadline(t), ExecRequest{Process: &proc})
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if _, err := ex.Wait(deadline(t)); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	until(t, "the exec's end", func() bool {
		s, err := b.State(deadline(t))
		left, _ := filepath.Glob(group + "/exec-*")
		return err == nil && (s.Execs == 0 || len(left) == 0 || empty(left[0]))
	})
}

func empty(group string) bool {
	procs, err := os.ReadFile(group + "/cgroup.procs")
	return err != nil || len(procs) == 0
}

// Execs of a container that may trace take the longer way, on which the
// process that executes is not the one that was forked first.
func TestExecOfTracer(t *testing.T) {
	l := newLauncher(t, 1)
	p := newPlan("sleep")
	p.Cgroup.V2 = newGroup(t, "")
	p.Process.Caps.Bounding |= 1 << unix.CAP_SYS_PTRACE
	b := run(t, l, p, nil)
	before := b.descriptors()
	for i := range 50 {
		if text, code, err := b.output("say", itoa(i), ""); text != itoa(i) || code != 0 || err != nil {
			t.Errorf("exec %d: %q, %d, %v", i, text, code, err)
		}
	}
	proc := newProcess("sleep")
	ex, err := b.Exec(deadline(t), ExecRequest{Process: &proc})
	if err != nil {
		t.Fatal(err)
	}
	if err := ex.Kill(deadline(t)); err != nil {
		t.Error(err)
	}
	if code, err := ex.Wait(deadline(t)); code != 137 || err != nil {
		t.Errorf("killed: %d, %v", code, err)
	}
	proc = newProcess("no/such")
	proc.Args[0] = "/no/such"
	if _, err := b.Exec(deadline(t), ExecRequest{Process: &proc}); err == nil || !strings.Contains(err.Error(), "/no/such") {
		t.Error("a program that is not there:", err)
	}
	b.forgotten()
	if after := b.descriptors(); after > before+12 { // the cgroups' files, the joiner's
		t.Errorf("%d descriptors, %d before", after, before)
	}
}

func TestConcurrentExecs(t *testing.T) {
	l := newLauncher(t, 1)
	group := newGroup(t, "")
	p := newPlan("sleep")
	p.Cgroup.V2 = group
	b := run(t, l, p, nil)
	if _, code, err := b.output("exit", "0"); code != 0 || err != nil {
		t.Fatal(code, err)
	}
	b.forgotten()
	before := b.descriptors()
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for range 8 {
				if text, code, err := b.output("say", itoa(i), ""); text != itoa(i) || code != 0 || err != nil {
					t.Errorf("exec %d: %q, %d, %v", i, text, code, err)
				}
			}
		})
	}
	wg.Wait()
	b.forgotten()
	// When it comes to rest it has a file open for a moment.
	until(t, "as many descriptors as after the first exec", func() bool { return b.descriptors() == before })
}

// forgotten waits until nothing is left of all execs.
func (b *box) forgotten() {
	b.tb.Helper()
	until(b.tb, "all execs forgotten", func() bool {
		// The shim removes late groups when something happens or it is idle.
		s, err := b.State(deadline(b.tb))
		return err == nil && s.Execs == 0
	})
}

// descriptors counts the shim's.
func (b *box) descriptors() int {
	b.tb.Helper()
	fds, err := os.ReadDir("/proc/" + itoa(b.shimPID()) + "/fd")
	if err != nil {
		b.tb.Fatal(err)
	}
	return len(fds)
}

func (b *box) shimPID() int {
	b.tb.Helper()
	s, err := b.State(deadline(b.tb))
	if err != nil {
		b.tb.Fatal(err)
	}
	return s.ShimPID
}

// TestExecCancelled gives an exec up before the shim has answered.
func TestExecCancelled(t *testing.T) {
	l := newLauncher(t, 1)
	group := newGroup(t, "")
	p := newPlan("sleep")
	p.Cgroup.V2 = group
	b := run(t, l, p, nil)
	for i := range 30 {
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(i)*20*time.Microsecond)
		proc := newProcess("sleep")
		ex, err := b.Exec(ctx, ExecRequest{Process: &proc})
		cancel()
		if err == nil {
			if err := ex.Kill(deadline(t)); err != nil {
				t.Error(err)
			}
		}
	}
	until(t, "an empty container", func() bool {
		left, _ := filepath.Glob(group + "/exec-*")
		for _, dir := range left {
			if !empty(dir) {
				return false
			}
		}
		return true
	})
}

// An exec that cannot come to its program, here because the container is
// frozen, holds up nothing else, and is ended when it can.
func TestExecThatHangs(t *testing.T) {
	l := newLauncher(t, 1)
	p := newPlan("sleep")
	p.Cgroup.V2 = newGroup(t, "")
	freezer := newGroup(t, "freezer")
	p.Cgroup.V1 = []string{freezer}
	b := run(t, l, p, nil)
	t.Cleanup(func() { freeze(t, freezer, "THAWED") })
	freeze(t, freezer, "FROZEN")
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error)
	go func() {
		proc := newProcess("sleep")
		_, err := b.Exec(ctx, ExecRequest{Process: &proc})
		failed <- err
	}()
	inside := func() int {
		text, err := os.ReadFile(freezer + "/cgroup.procs")
		if err != nil {
			t.Error(err)
		}
		return len(strings.Fields(string(text)))
	}
	until(t, "the exec's process in the frozen group", func() bool { return inside() == 2 })
	if s, err := b.State(deadline(t)); err != nil || s.Execs != 1 {
		t.Errorf("the shim says %+v, %v", s, err)
	}
	if err := b.ReopenLog(deadline(t)); err != nil {
		t.Error(err)
	}
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	freeze(t, freezer, "THAWED")
	until(t, "the end of the exec", func() bool { return inside() == 1 })
	if text, code, err := b.output("say", "again", ""); text != "again" || code != 0 || err != nil {
		t.Errorf("%q, %d, %v", text, code, err)
	}
}

func freeze(t *testing.T, dir, state string) {
	t.Helper()
	if err := os.WriteFile(dir+"/freezer.state", []byte(state), 0); err != nil {
		t.Fatal(err)
	}
}

func TestSignalAll(t *testing.T) {
	l := newLauncher(t, 1)
	group := newGroup(t, "")
	p := newPlan("term")
	p.Cgroup.V2 = group
	b := run(t, l, p, nil)
	proc := newProcess("sleep")
	ex, err := b.Exec(deadline(t), ExecRequest{Process: &proc})
	if err != nil {
		t.Fatal(err)
	}
	until(t, "payload ready", func() bool { return strings.Contains(joined(readSoFar(t, b.log), "stdout"), "ready") })
	if err := ex.Signal(deadline(t), unix.SIGTERM); err != nil {
		t.Error(err)
	}
	if code, err := ex.Wait(deadline(t)); code == 0 || err != nil {
		t.Errorf("exec: %d, %v", code, err)
	}
	if err := b.SignalAll(deadline(t), unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if e := b.exited(); e.Code != 7 {
		t.Errorf("%+v", e)
	}
}
