package stream

import (
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"k8s.io/client-go/tools/remotecommand"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/e2e/harness"
	"github.com/varve-cri/varve/e2e/streamclient"
)

func stdin(once bool) harness.Change {
	return func(c *runtimeapi.ContainerConfig) { c.Stdin, c.StdinOnce = true, once }
}

func tty(c *runtimeapi.ContainerConfig) { c.Tty = true }

// TestAttach: several clients see what the container says, one types, and one
// that leaves is missed by nobody.
func TestAttach(t *testing.T) {
	h := suite.Test(t)
	each(t, func(t *testing.T, via streamclient.Transport) {
		h := h.For(t)
		c := h.Pod().Start(harness.Say("until go + err seen + until end + exit 3"), stdin(false))
		in, typed := io.Pipe()
		var outs, errs [3]screen
		var clients [3]*running
		for i := range clients {
			o := remotecommand.StreamOptions{Stdout: &outs[i], Stderr: &errs[i]}
			if i == 0 {
				o.Stdin = in
			}
			clients[i] = start(h, via, attachURL(h, c.ID, o), o)
		}
		for i := range clients {
			ping(t, typed, func() bool { return strings.Contains(outs[i].String(), "line ping\n") })
		}
		_, _ = typed.Write([]byte("go\n"))
		for i := range clients {
			errs[i].wait(t, "seen\n")
		}
		clients[1].cancel()
		_ = clients[1].wait()
		typed.Close() // stdinOnce is false: the container's input stays open
		o := remotecommand.StreamOptions{Stdin: strings.NewReader("last\nend\n"), Stdout: io.Discard}
		last := start(h, via, attachURL(h, c.ID, o), o)
		for i, client := range []*running{clients[0], clients[2], last} {
			if err := client.wait(); err != nil {
				t.Errorf("client %d at the container's exit: %v", i, err)
			}
		}
		if status := c.WaitExit(); status.GetExitCode() != 3 {
			t.Errorf("exit code %d", status.GetExitCode())
		}
		if strings.Contains(outs[1].String(), "last") {
			t.Errorf("one that left saw %q", outs[1].String())
		}
		said := c.Log().Stdout()
		for _, i := range []int{0, 2} {
			if got := outs[i].String(); !strings.HasSuffix(got, "line last\n") || !strings.HasSuffix(said, got) {
				t.Errorf("client %d saw %q, the log is %q", i, got, said)
			}
		}
	})
}

// ping types a line now and then until it was seen: a client sees what is
// said once it is attached, and nobody tells when that is.
func ping(t *testing.T, typed io.Writer, seen func() bool) {
	t.Helper()
	harness.Eventually(t, "the client is attached", func() bool {
		_, _ = typed.Write([]byte("ping\n"))
		time.Sleep(50 * time.Millisecond)
		return seen()
	})
}

// TestAttachStdinOnce: the end of the first client's input is the end of the
// container's.
func TestAttachStdinOnce(t *testing.T) {
	h := suite.Test(t)
	each(t, func(t *testing.T, via streamclient.Transport) {
		h := h.For(t)
		c := h.Pod().Start(harness.Say("stdin + print end + exit 4"), stdin(true))
		var out screen
		o := remotecommand.StreamOptions{Stdin: strings.NewReader("all of it\n"), Stdout: &out}
		if err := start(h, via, attachURL(h, c.ID, o), o).wait(); err != nil {
			t.Error(err)
		}
		if got := out.String(); got != "all of it\nend\n" {
			t.Errorf("seen: %q", got)
		}
		if status := c.WaitExit(); status.GetExitCode() != 4 {
			t.Errorf("exit code %d", status.GetExitCode())
		}
	})
}

func TestAttachTerminal(t *testing.T) {
	h := suite.Test(t)
	each(t, func(t *testing.T, via streamclient.Transport) {
		h := h.For(t)
		c := h.Pod().Start(harness.Say("winch 1 + line + sleep"), stdin(false), tty)
		c.WaitLog("watching")
		window := make(sizes, 1)
		window <- remotecommand.TerminalSize{Width: 77, Height: 33}
		defer close(window)
		in, typed := io.Pipe()
		defer typed.Close()
		var out screen
		o := remotecommand.StreamOptions{Stdin: in, Stdout: &out, Tty: true, TerminalSizeQueue: window}
		client := start(h, via, attachURL(h, c.ID, o), o)
		out.wait(t, "size 33 77")
		_, _ = typed.Write([]byte("typed\n"))
		out.wait(t, "line typed\r\n")
		client.cancel()
		_ = client.wait()
		if state := c.Status().GetState(); state != runtimeapi.ContainerState_CONTAINER_RUNNING {
			t.Errorf("after the client has gone the container is %s", state)
		}
	})
}

// stalled takes nothing.
type stalled struct {
	once           sync.Once
	begun, release chan struct{}
}

func (s *stalled) Write(b []byte) (int, error) {
	s.once.Do(func() { close(s.begun) })
	<-s.release
	return len(b), nil
}

// TestAttachStalled: a client that does not read stalls neither the container
// nor those that do, and is let go. One that reads is let go, too, when it falls
// too far behind, so the container writes no more at a time than it may: the next
// lines when it has seen the last ones.
func TestAttachStalled(t *testing.T) {
	h := suite.Test(t)
	const portions = 40
	each(t, func(t *testing.T, via streamclient.Transport) {
		h := h.For(t)
		c := h.Pod().Start(harness.Say(strings.Repeat("until go + lines 50000 + print portion + ", portions)+"print end"), stdin(false))
		slow := &stalled{begun: make(chan struct{}), release: make(chan struct{})}
		o := remotecommand.StreamOptions{Stdout: slow}
		lazy := start(h, via, attachURL(h, c.ID, o), o)
		in, typed := io.Pipe()
		defer typed.Close()
		var out tally
		o = remotecommand.StreamOptions{Stdin: in, Stdout: &out}
		keen := start(h, via, attachURL(h, c.ID, o), o)
		ping(t, typed, func() bool {
			select {
			case <-slow.begun:
				return out.lines("line ping") > 0
			default:
				return false
			}
		})
		for i := range portions {
			_, _ = typed.Write([]byte("go\n"))
			harness.Eventually(t, "one that reads sees the next portion", func() bool { return out.lines("portion") == i+1 })
		}
		if err := keen.wait(); err != nil || out.lines("end") != 1 || out.lines("line 49999") != portions {
			t.Errorf("%v; one that reads does not see the end", err)
		}
		if status := c.WaitExit(); status.GetExitCode() != 0 {
			t.Errorf("exit code %d", status.GetExitCode())
		}
		close(slow.release)
		_ = lazy.wait()
	})
}

// tally counts the lines that a client is shown, by what they say.
type tally struct {
	mu    sync.Mutex
	part  string         // of a line; guarded by mu
	count map[string]int // guarded by mu
}

// Write implements io.Writer.
func (l *tally) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.count == nil {
		l.count = map[string]int{}
	}
	text := l.part + string(b)
	end := strings.LastIndexByte(text, '\n') + 1
	for line := range strings.Lines(text[:end]) {
		l.count[strings.TrimSuffix(line, "\n")]++
	}
	l.part = text[end:]
	return len(b), nil
}

// lines is how many lines said just that.
func (l *tally) lines(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count[text]
}

func TestAttachBadRequests(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod()
	plain := pod.Start(harness.Say("sleep"))
	created := pod.Create(harness.Say("sleep"))
	unknown := strings.Repeat("e", 64)
	for name, tc := range map[string]struct {
		req  *runtimeapi.AttachRequest
		code codes.Code
		word string
	}{
		"unknown":     {&runtimeapi.AttachRequest{ContainerId: unknown, Stdout: true}, codes.NotFound, unknown},
		"not running": {&runtimeapi.AttachRequest{ContainerId: created.ID, Stdout: true}, codes.FailedPrecondition, "be attached to"},
		"no streams":  {&runtimeapi.AttachRequest{ContainerId: plain.ID}, codes.InvalidArgument, "none is asked for"},
		"tty":         {&runtimeapi.AttachRequest{ContainerId: plain.ID, Stdout: true, Tty: true}, codes.InvalidArgument, "no terminal"},
		"stdin":       {&runtimeapi.AttachRequest{ContainerId: plain.ID, Stdout: true, Stdin: true}, codes.InvalidArgument, "no standard input"},
		"tty, stderr": {&runtimeapi.AttachRequest{ContainerId: plain.ID, Stdout: true, Stderr: true, Tty: true}, codes.InvalidArgument, "tty"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := suite.Attach(h.Ctx, tc.req)
			h.For(t).WantCode(err, tc.code, tc.word)
		})
	}
}
