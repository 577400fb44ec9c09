package program

import (
	"errors"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// run runs a program on a locked thread.
func run(p *Program) (Child, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	return p.Run(Clone{Cgroup: NoCgroup})
}

func wait(t *testing.T, c Child) int {
	t.Helper()
	var status unix.WaitStatus
	if _, err := unix.Wait4(c.PID, &status, 0, nil); err != nil {
		t.Fatal(err)
	}
	unix.Close(c.PIDFD)
	return status.ExitStatus()
}

// exit is a program's end that needs no file: the pipe closes as well.
func (b *builder) exit(code uint64) {
	b.on("exit", "")
	b.call(unix.SYS_EXIT_GROUP, "exit_group", num(code))
}

// A child may take long, on a dead file server for ever: nothing else in the
// process waits for it.
func TestCollectorDoesNotWaitForTheChild(t *testing.T) {
	for _, clone := range []Clone{{Cgroup: NoCgroup}, {Cgroup: NoCgroup, Copy: true}} {
		var begun, release [2]int
		if err := errors.Join(unix.Pipe(begun[:]), unix.Pipe(release[:])); err != nil {
			t.Fatal(err)
		}
		b := newBuilder(4)
		b.on("wait", "")
		b.write(fd(begun[1], "begun"), "x")
		b.call(unix.SYS_READ, "read", fd(release[0], "release"), b.words(plain, 8), num(1))
		b.exit(0)
		done := make(chan error)
		go func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			c, err := b.program().Run(clone)
			if err == nil {
				wait(t, c)
			}
			done <- err
		}()
		var one [1]byte
		if _, err := unix.Read(begun[0], one[:]); err != nil {
			t.Fatal(err)
		}
		runtime.GC()
		if _, err := unix.Write(release[1], one[:]); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		for _, n := range append(begun[:], release[:]...) {
			unix.Close(n)
		}
	}
}

func TestRunReportsTheFailedCall(t *testing.T) {
	b := newBuilder(4)
	b.on("open", "nothing")
	b.openAt(cwd, "/no/such/file", unix.O_PATH, 0).skip(0, unix.ENOENT)
	b.on("open", "a file")
	b.openAt(cwd, "/etc/passwd", unix.O_PATH|unix.O_DIRECTORY, 0)
	b.exit(0)
	_, err := run(b.program())
	var f *Failure
	if !errors.As(err, &f) || f.Op != 1 || f.Error() != "open a file: not a directory" || !errors.Is(err, unix.ENOTDIR) {
		t.Errorf("failure %+v", err)
	}
}

func TestRunFlow(t *testing.T) {
	b := newBuilder(16)
	b.on("walk", "")
	b.openAt(cwd, "/", unix.O_PATH, 0).to(target).SkipOK = 1
	b.exit(1)
	b.openAt(from(target), "no-such", unix.O_PATH, 0).skip(1, unix.EPERM).skip(1, unix.ENOENT)
	b.exit(2)
	b.call(unix.SYS_EXIT_GROUP, "exit_group", num(3)).Unless = target
	b.call(unix.SYS_FCHDIR, "fchdir", from(target))
	b.call(unix.SYS_CHDIR, "chdir", b.str("etc"))
	b.call(unix.SYS_EXIT_GROUP, "exit_group", num(7)).Unless = file
	c, err := run(b.program())
	if err != nil {
		t.Fatal(err)
	}
	if code := wait(t, c); code != 7 {
		t.Errorf("the child left by exit %d", code)
	}
}

func TestRunRefusesZeroBytes(t *testing.T) {
	for _, build := range []func(*builder){
		func(b *builder) { b.call(unix.SYS_CHDIR, "chdir", b.str("/\x00etc")) },
		func(b *builder) {
			b.call(unix.SYS_EXECVE, "execve", b.str("/x"), b.strs([]string{"a\x00b"}), b.strs(nil))
		},
	} {
		b := newBuilder(1)
		build(b)
		if _, err := run(b.program()); !errors.Is(err, unix.EINVAL) {
			t.Errorf("error %v", err)
		}
	}
}

// Forks beside a busy heap and collector: what the child reads must neither
// move nor go away.
func TestRunUnderGarbageCollection(t *testing.T) {
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		var keep [][]byte
		for {
			select {
			case <-stop:
				return
			default:
				keep = append(keep[:len(keep)%100], make([]byte, 10_000))
				runtime.GC()
			}
		}
	}()
	for range 50 {
		b := newBuilder(40)
		for range 30 {
			b.openAt(cwd, "/etc/passwd", unix.O_PATH, unix.RESOLVE_NO_MAGICLINKS).to(target)
			b.call(unix.SYS_CLOSE, "close", from(target))
		}
		b.exit(5)
		c, err := run(b.program())
		if err != nil {
			t.Fatal(err)
		}
		if code := wait(t, c); code != 5 {
			t.Fatalf("exit %d", code)
		}
	}
}

// The message that a failed child leaves is read whole or not at all.
func TestReport(t *testing.T) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(p[0])
	if _, err := unix.Write(p[1], []byte{1, 2, 3}); err != nil {
		t.Fatal(err)
	}
	unix.Close(p[1])
	if i, _, e := report(p[0]); i != -1 || e != unix.EIO {
		t.Errorf("half a message: %d %v", i, e)
	}
}

// A process in a foreign PID namespace that may mount has no call to do so, whoever
// makes it call.
func TestConfined(t *testing.T) {
	for name, c := range map[string]struct {
		call func(*builder)
		want int // -1 is killed
	}{
		"fsopen":   {func(b *builder) { b.call(unix.SYS_FSOPEN, "fsopen", b.str("proc"), num(0)) }, 5},
		"fsconfig": {func(b *builder) { b.call(unix.SYS_FSCONFIG, "fsconfig", num(0), num(0)) }, -1},
		"mknodat":  {func(b *builder) { b.call(unix.SYS_MKNODAT, "mknodat", cwd, b.str("/no/such"), num(0)) }, -1},
		"execve":   {func(b *builder) { b.call(unix.SYS_EXECVE, "execve", b.str("/no/such"), num(0), num(0)) }, -1},
	} {
		b := newBuilder(8)
		b.confine()
		c.call(b)
		b.exit(5)
		child, err := run(b.program())
		if err != nil {
			t.Fatal(err)
		}
		if code := wait(t, child); code != c.want {
			t.Errorf("%s: exit %d, want %d", name, code, c.want)
		}
	}
}

func BenchmarkRun(b *testing.B) {
	for range b.N {
		p := newBuilder(1)
		p.exit(0)
		c, err := run(p.program())
		if err != nil {
			b.Fatal(err)
		}
		_, _ = unix.Wait4(c.PID, nil, 0, nil)
		unix.Close(c.PIDFD)
	}
}

func BenchmarkBuild(b *testing.B) {
	p, f := samplePlan(), sampleFiles()
	begin := time.Now()
	for range b.N {
		Container(p, Command{Path: "/bin/sh", Process: &p.Process}, f, sampleHost)
	}
	b.ReportMetric(float64(time.Since(begin).Microseconds())/float64(b.N), "us/build")
}
