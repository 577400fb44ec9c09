package session

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	rtcontainer "github.com/varve-cri/varve/runtime/container"
)

// captured is an output, and what the process has of it.
func captured(t *testing.T, limit int64) (*output, *os.File) {
	t.Helper()
	o, err := newOutput(limit)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.close)
	fd, err := unix.FcntlInt(o.w.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	process := os.NewFile(uintptr(fd), "standard output")
	t.Cleanup(func() { _ = process.Close() })
	o.begin()
	return o, process
}

func later() time.Time { return time.Now().Add(time.Hour) }

// Of a talkative command the first bytes are kept, and it is not stopped: it
// can write all it has.
func TestOutputIsCapped(t *testing.T) {
	for limit, want := range map[int64]int{0: 0, 10: 10, 5000: 5000, 1 << 20: 300000} {
		o, p := captured(t, limit)
		for range 300 {
			if _, err := p.WriteString(strings.Repeat("x", 1000)); err != nil {
				t.Fatal(err)
			}
		}
		_ = p.Close()
		if got := o.rest(t.Context(), later()); len(got) != want {
			t.Errorf("with a limit of %d: %d bytes", limit, len(got))
		}
	}
}

// A child that was left behind keeps the output open: what came is the answer at
// the deadline, and at once when nobody waits any more.
func TestOutputThatStaysOpen(t *testing.T) {
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for what, c := range map[string]struct {
		ctx      context.Context //nolint:containedctx // a case's
		deadline time.Time
	}{"deadline": {t.Context(), time.Now().Add(20 * time.Millisecond)}, "context": {gone, later()}} {
		o, p := captured(t, 100)
		if got := o.rest(c.ctx, c.deadline); len(got) != 0 {
			t.Errorf("%s: %q", what, got)
		}
		if _, err := p.WriteString("x"); err != nil { // the reader's end is ours until the close
			t.Errorf("%s: %v", what, err)
		}
	}
}

// That there is no such command is the command's fault, and says so with a code
// and the number that a shell would give; all else stays what it was.
func TestNotStarted(t *testing.T) {
	for code, err := range map[int32]*rtcontainer.StepError{
		127: {Step: rtcontainer.StepFind, Object: "nosuch", Errno: unix.ENOENT}, 126: {Step: rtcontainer.StepExecute, Object: "file", Errno: unix.EACCES},
	} {
		if err.ExitCode() != code {
			t.Fatalf("%v has %d", err, err.ExitCode())
		}
		got := notStarted(fmt.Errorf("exec: %w", err))
		if status.Code(got) != codes.Unknown || !strings.Contains(got.Error(), fmt.Sprintf("(exit code %d)", code)) || !errors.Is(got, err) {
			t.Errorf("%v: %v", status.Code(got), got)
		}
	}
	for _, err := range []error{errors.New("x"), &rtcontainer.StepError{Step: "join", Object: "pid", Errno: unix.EPERM}, context.Canceled} {
		if got := notStarted(err); got != err {
			t.Errorf("%v became %v", err, got)
		}
	}
}

// What was printed before the deadline is kept also when nobody had the time to read
// it until then.
func TestOutputAfterTheDeadline(t *testing.T) {
	o, err := newOutput(6)
	if err != nil {
		t.Fatal(err)
	}
	defer o.close()
	other, err := unix.Dup(int(o.w.Fd())) // of a child that the command has left behind
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(other)
	if _, err := o.w.WriteString("printed"); err != nil {
		t.Fatal(err)
	}
	past := time.Now().Add(-time.Second)
	if err := o.r.SetReadDeadline(past); err != nil {
		t.Fatal(err)
	}
	o.begin()
	if got := string(o.rest(t.Context(), past)); got != "printe" {
		t.Errorf("got %q of what there was and has room", got)
	}
}
