package shim

import (
	"bufio"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

// ends is one attachment with this side of its files.
type ends struct {
	*Attachment
	in       *os.File
	out, err *bufio.Reader
}

func (b *box) attach(in, out, err bool) ends {
	t := b.tb
	t.Helper()
	var r AttachRequest
	var e ends
	pipe := func() (*os.File, *os.File) {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Close(); w.Close() })
		if err := r.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		return r, w
	}
	if in {
		r.Stdin, e.in = pipe()
	}
	if out {
		f, w := pipe()
		r.Stdout, e.out = w, bufio.NewReader(f)
	}
	if err {
		f, w := pipe()
		r.Stderr, e.err = w, bufio.NewReader(f)
	}
	var fail error
	if e.Attachment, fail = b.Attach(deadline(t), r); fail != nil {
		t.Fatal("attach:", fail)
	}
	for _, f := range []*os.File{r.Stdin, r.Stdout, r.Stderr} {
		if f != nil {
			f.Close()
		}
	}
	return e
}

func ended(t *testing.T, a *Attachment, want string) {
	t.Helper()
	select {
	case <-a.Done():
	case <-time.After(patience):
		t.Fatal("attachment goes on")
	}
	if !strings.Contains(a.Reason(), want) {
		t.Errorf("ended because %q, want %q", a.Reason(), want)
	}
}

// TestStdinOnce feeds a container through two attachments, one after the
// other: the first one's end is the end of the input.
func TestStdinOnce(t *testing.T) {
	l := newLauncher(t, 1)
	for _, once := range []bool{true, false} {
		b := run(t, l, newPlan("cat"), func(r *StartRequest) { r.Stdin, r.StdinOnce = true, once })
		first := b.attach(true, true, false)
		data := strings.Repeat("input that is longer than a pipe\n", 10000)
		go func() {
			_, _ = io.WriteString(first.in, data)
			first.in.Close()
		}()
		got := make([]byte, len(data))
		if _, err := io.ReadFull(first.out, got); err != nil || string(got) != data {
			t.Fatalf("echo differs, %v", err)
		}
		if !once {
			second := b.attach(true, false, false)
			if _, err := io.WriteString(second.in, "more\n"); err != nil {
				t.Fatal(err)
			}
			if line, err := first.out.ReadString('\n'); line != "more\n" || err != nil {
				t.Errorf("%q, %v", line, err)
			}
			if err := b.CloseStdin(deadline(t)); err != nil {
				t.Fatal(err)
			}
		}
		if e := b.exited(); e.Code != 0 {
			t.Errorf("%+v", e)
		}
		ended(t, first.Attachment, "exited")
		if log := joined(readLog(t, b.log), "stdout"); !strings.HasPrefix(log, data) || !strings.Contains(log, "cat:") {
			t.Errorf("log has %d bytes", len(log))
		}
	}
}

// TestOutputBeforeExit: a client that is behind when the container exits gets
// the rest of the output, if it takes it within the second that the shim waits. Where
// this process is not run for as long, nothing is shown, and another one is behind.
func TestOutputBeforeExit(t *testing.T) {
	l := newLauncher(t, 1)
	until(t, "a client that reads in time", func() bool { return outputBeforeExit(t, l) })
}

// outputBeforeExit reports whether the client was in time, or got everything.
func outputBeforeExit(t *testing.T, l *Launcher) bool {
	b := run(t, l, newPlan("cat"), func(r *StartRequest) { r.Stdin, r.StdinOnce = true, true })
	a := b.attach(true, true, false)
	data := strings.Repeat("more than a pipe holds\n", 20000)
	if _, err := io.WriteString(a.in, data); err != nil {
		t.Fatal(err)
	}
	a.in.Close()
	until(t, "the end of the log", func() bool {
		log, err := os.ReadFile(b.log)
		return err == nil && strings.Contains(string(log), "cat:")
	})
	got, err := io.ReadAll(a.out)
	end := time.Now()
	late := end.Sub(b.exited().At)
	if err == nil && strings.HasPrefix(string(got), data) && strings.Contains(string(got), "cat:") {
		return true
	}
	if err == nil && late > time.Second {
		t.Logf("%d bytes of %d, read %v after the exit", len(got), len(data), late)
		return false
	}
	t.Errorf("%d bytes of %d, %v after the exit, %v", len(got), len(data), late, err)
	return true
}

func TestNoStdinIsAtItsEnd(t *testing.T) {
	l := newLauncher(t, 1)
	b := run(t, l, newPlan("cat"), nil)
	if e := b.exited(); e.Code != 0 {
		t.Errorf("%+v", e)
	}
	if log := joined(readLog(t, b.log), "stdout"); log != "cat: 0 <nil>\n" {
		t.Errorf("%q", log)
	}
}

// TestSlowReader attaches a reader that never reads: it is let go, and the log
// and the other reader go on. The container writes no more than that one has
// taken, or on a busy machine it would be slow as well.
func TestSlowReader(t *testing.T) {
	const block = 64 << 10
	l := newLauncher(t, 1)
	b := run(t, l, newPlan("cat"), func(r *StartRequest) { r.Stdin = true })
	slow, quick := b.attach(false, true, false), b.attach(true, true, false)
	line := strings.Repeat("y", block-1) + "\n"
	got := make([]byte, block)
	written := 0
	round := func() {
		go func() { _, _ = io.WriteString(quick.in, line) }()
		if _, err := io.ReadFull(quick.out, got); err != nil || string(got) != line {
			t.Fatalf("after %d bytes: %v", written, err)
		}
		written += block
	}
	for isOpen(slow.Attachment) {
		if written > 8<<20 {
			t.Fatalf("the slow reader is there after %d bytes", written)
		}
		round()
	}
	ended(t, slow.Attachment, "slow")
	for range 4 {
		round()
	}
	if log := joined(readLog(t, b.log), "stdout"); len(log) != written {
		t.Errorf("the log has %d bytes of %d", len(log), written)
	}
	if !isOpen(quick.Attachment) {
		t.Error("the quick reader was let go:", quick.Reason())
	}
	if err := quick.Detach(deadline(t)); err != nil {
		t.Error(err)
	}
	ended(t, quick.Attachment, "detached")
}

func isOpen(a *Attachment) bool {
	select {
	case <-a.Done():
		return false
	default:
		return true
	}
}

// TestReaderGoes closes the reading ends while nothing is written.
func TestReaderGoes(t *testing.T) {
	l := newLauncher(t, 1)
	b := run(t, l, newPlan("sleep"), nil)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	a, err := b.Attach(deadline(t), AttachRequest{Stdout: w})
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	ended(t, a, "gone")
	if _, err := b.Attach(deadline(t), AttachRequest{}); !errors.Is(err, ErrInvalid) {
		t.Errorf("attach to nothing: %v", err)
	}
	if err := a.Detach(deadline(t)); err != nil {
		t.Error(err)
	}
}

func TestStderrAttach(t *testing.T) {
	l := newLauncher(t, 1)
	p := newPlan("cat")
	b := run(t, l, p, func(r *StartRequest) { r.Stdin = true })
	e := b.attach(true, true, true)
	e.in.Close()
	if err := b.CloseStdin(deadline(t)); err != nil {
		t.Fatal(err)
	}
	if s, _ := io.ReadAll(e.out); string(s) != "cat: 0 <nil>\n" {
		t.Errorf("%q", s)
	}
	if s, _ := io.ReadAll(e.err); len(s) != 0 {
		t.Errorf("%q", s)
	}
	b.exited()
}

func TestTerminal(t *testing.T) {
	l := newLauncher(t, 1)
	p := newPlan("tty")
	p.Process.Terminal, p.Process.Rows, p.Process.Cols = true, 25, 90
	b := run(t, l, p, func(r *StartRequest) { r.Stdin = true })
	until(t, "first size", func() bool { return strings.Contains(joined(readSoFar(t, b.log), "stdout"), "tty 25 90") })
	e := b.attach(true, true, false)
	if err := b.Resize(deadline(t), 50, 132); err != nil {
		t.Fatal(err)
	}
	if line, err := e.out.ReadString('\n'); line != "size 50 132\r\n" || err != nil {
		t.Errorf("%q, %v", line, err)
	}
	if _, err := io.WriteString(e.in, "hello\n"); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(e.out)
	if err != nil || !strings.Contains(string(rest), `got "hello\n"`) {
		t.Errorf("%q, %v", rest, err)
	}
	if x := b.exited(); x.Code != 0 {
		t.Errorf("%+v", x)
	}
	if log := joined(readLog(t, b.log), "stdout"); !strings.Contains(log, `got "hello\n"`) {
		t.Errorf("log %q", log)
	}
	if err := b.Resize(deadline(t), 1, 1); !errors.Is(err, ErrExited) {
		t.Error(err)
	}
}
