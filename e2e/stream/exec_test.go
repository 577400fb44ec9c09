package stream

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"k8s.io/client-go/tools/remotecommand"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/e2e/harness"
	"github.com/varve-cri/varve/e2e/streamclient"
)

func TestExec(t *testing.T) {
	h := suite.Test(t)
	c := h.Pod().Start(harness.Say("sleep"))
	each(t, func(t *testing.T, via streamclient.Transport) {
		for line, want := range map[string]struct {
			code     int
			out, err string
		}{
			"print hello":                   {0, "hello\n", ""},
			"print out + err err + exit 42": {42, "out\n", "err\n"},
			"exit 255":                      {255, "", ""},
		} {
			var out, err bytes.Buffer
			o := remotecommand.StreamOptions{Stdout: &out, Stderr: &err}
			got := via.Run(h.Ctx, execURL(h.For(t), c.ID, line, o), o)
			if code(got) != want.code || out.String() != want.out || err.String() != want.err {
				t.Errorf("%s: %v, stdout %q, stderr %q", line, got, &out, &err)
			}
		}
	})
	alone(h, c)
}

// TestExecStdin: the end of the input reaches the command, and what it says
// after that arrives whole, before its exit code.
func TestExecStdin(t *testing.T) {
	h := suite.Test(t)
	c := h.Pod().Start(harness.Say("sleep"))
	sent := make([]byte, 3<<20)
	_, _ = rand.Read(sent)
	each(t, func(t *testing.T, via streamclient.Transport) {
		var out, errs bytes.Buffer
		o := remotecommand.StreamOptions{Stdin: bytes.NewReader(sent), Stdout: &out, Stderr: &errs}
		err := via.Run(h.Ctx, execURL(h.For(t), c.ID, "stdin + bytes 2000000 + err done + exit 3", o), o)
		if code(err) != 3 || errs.String() != "done\n" {
			t.Errorf("%v, stderr %q", err, &errs)
		}
		if want := string(sent) + strings.Repeat("x", 2000000); out.String() != want {
			t.Errorf("got %d bytes, want %d, or other ones", out.Len(), len(want))
		}
		// A command that takes none of its input does not hang, nor lose its code.
		o = remotecommand.StreamOptions{Stdin: io.MultiReader(bytes.NewReader(sent), rand.Reader), Stdout: &out}
		if err := start(h.For(t), via, execURL(h.For(t), c.ID, "print ignored + exit 4", o), o).wait(); code(err) != 4 {
			t.Errorf("a command that does not read: %v", err)
		}
	})
	alone(h, c)
}

func TestExecTerminal(t *testing.T) {
	h := suite.Test(t)
	c := h.Pod().Start(harness.Say("sleep"))
	each(t, func(t *testing.T, via streamclient.Transport) {
		h := h.For(t)
		window := make(sizes, 1)
		window <- remotecommand.TerminalSize{Width: 101, Height: 37}
		in, typed := io.Pipe()
		defer typed.Close()
		var out screen
		o := remotecommand.StreamOptions{Stdin: in, Stdout: &out, Tty: true, TerminalSizeQueue: window}
		client := start(h, via, execURL(h, c.ID, "size 37 101 + tty + winch 2 + line + exit 5", o), o)
		out.wait(t, "2 yes 37 101")
		out.wait(t, "watching")
		window <- remotecommand.TerminalSize{Width: 80, Height: 24}
		out.wait(t, "size 24 80")
		window <- remotecommand.TerminalSize{Width: 1, Height: 2}
		out.wait(t, "size 2 1")
		_, _ = typed.Write([]byte("typed\n"))
		if err := client.wait(); code(err) != 5 {
			t.Errorf("%v", err)
		}
		close(window)
		if got := out.String(); !strings.Contains(got, "line typed\r\n") {
			t.Errorf("the screen: %q", got)
		}
	})
	alone(h, c)
}

// TestExecClientGone: with the client goes the command and all that it started.
func TestExecClientGone(t *testing.T) {
	h := suite.Test(t)
	c := h.Pod().Start(harness.Say("sleep"))
	each(t, func(t *testing.T, via streamclient.Transport) {
		h := h.For(t)
		for name, line := range map[string]string{
			"quiet": "spawn sleep + print begun + sleep", "talking": "spawn sleep + print begun + bytes 1000000000000", "terminal": "spawn sleep + print begun + sleep",
		} {
			var out screen
			in, typed := io.Pipe()
			o := remotecommand.StreamOptions{Stdin: in, Stdout: &out, Tty: name == "terminal"}
			client := start(h, via, execURL(h, c.ID, line, o), o)
			out.wait(t, "begun")
			client.cancel()
			alone(h, c)
			typed.Close()
			_ = client.wait()
		}
	})
}

// TestExecClientGoneBehindItsInput: the end of a client that has sent more than
// all buffers hold, to a command that reads nothing, is noticed, too.
func TestExecClientGoneBehindItsInput(t *testing.T) {
	h := suite.Test(t)
	c := h.Pod().Start(harness.Say("sleep"))
	each(t, func(t *testing.T, via streamclient.Transport) {
		h := h.For(t)
		o := remotecommand.StreamOptions{Stdin: &flood{}, Stdout: io.Discard}
		client := exec.CommandContext(h.Ctx, "/proc/self/exe")
		client.Env = append(os.Environ(), clientVia+"="+string(via), clientURL+"="+execURL(h, c.ID, "spawn sleep + print begun + sleep", o))
		said, err := client.StdoutPipe()
		h.Must(err)
		h.Must(client.Start())
		lines := bufio.NewScanner(said)
		for lines.Scan() && lines.Text() != "stuck" {
			continue
		}
		if !strings.Contains(c.Exec("pids"), "begun") {
			t.Error("the command does not run")
		}
		h.Must(client.Process.Kill())
		_ = client.Wait()
		alone(h, c)
	})
}

// TestExecLeavesChildBehind: a child that holds the outputs open keeps nobody
// waiting, and lives.
func TestExecLeavesChildBehind(t *testing.T) {
	h := suite.Test(t)
	each(t, func(t *testing.T, via streamclient.Transport) {
		h := h.For(t)
		c := h.Pod().Start(harness.Say("sleep"))
		var out bytes.Buffer
		o := remotecommand.StreamOptions{Stdout: &out, Stderr: io.Discard}
		if err := start(h, via, execURL(h, c.ID, "spawn sleep 100h + exit 6", o), o).wait(); code(err) != 6 {
			t.Error(err)
		}
		if !strings.Contains(c.Exec("pids"), "sleep 100h") {
			t.Error("the child was killed")
		}
	})
}

func TestExecContainerEnds(t *testing.T) {
	h := suite.Test(t)
	each(t, func(t *testing.T, via streamclient.Transport) {
		h := h.For(t)
		c := h.Pod().Start(harness.Say("sleep"))
		var out screen
		o := remotecommand.StreamOptions{Stdout: &out}
		late := execURL(h, c.ID, "sleep", o)
		client := start(h, via, execURL(h, c.ID, "print begun + sleep", o), o)
		out.wait(t, "begun")
		c.Stop(0)
		if err := client.wait(); code(err) != 137 {
			t.Errorf("a command whose container is stopped: %v", err)
		}
		if err := start(h, via, late, o).wait(); err == nil || !strings.Contains(err.Error(), "Exited") {
			t.Errorf("a command that comes too late: %v", err)
		}
		c.Remove()
	})
}

func TestExecBadRequests(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod()
	c := pod.Start(harness.Say("sleep"))
	created := pod.Create(harness.Say("sleep"))
	unknown := strings.Repeat("f", 64)
	for name, tc := range map[string]struct {
		req  *runtimeapi.ExecRequest
		code codes.Code
		word string
	}{
		"unknown":     {&runtimeapi.ExecRequest{ContainerId: unknown, Cmd: words("id"), Stdout: true}, codes.NotFound, unknown},
		"not running": {&runtimeapi.ExecRequest{ContainerId: created.ID, Cmd: words("id"), Stdout: true}, codes.FailedPrecondition, "run a command"},
		"no command":  {&runtimeapi.ExecRequest{ContainerId: c.ID, Stdout: true}, codes.InvalidArgument, "cmd"},
		"no streams":  {&runtimeapi.ExecRequest{ContainerId: c.ID, Cmd: words("id")}, codes.InvalidArgument, "none is asked for"},
		"tty, stderr": {&runtimeapi.ExecRequest{ContainerId: c.ID, Cmd: words("id"), Stdin: true, Tty: true, Stdout: true, Stderr: true}, codes.InvalidArgument, "stderr"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := suite.Exec(h.Ctx, tc.req)
			h.For(t).WantCode(err, tc.code, tc.word)
		})
	}
	each(t, func(t *testing.T, via streamclient.Transport) {
		h := h.For(t)
		var out bytes.Buffer
		o := remotecommand.StreamOptions{Stdout: &out}
		url := execURL(h, c.ID, "print once", o)
		h.Must(via.Run(h.Ctx, url, o))
		if err := via.Run(h.Ctx, url, o); err == nil {
			t.Error("a token was good for two requests")
		}
		if err := via.Run(h.Ctx, strings.Replace(execURL(h, c.ID, "id", o), "/exec/", "/attach/", 1), o); err == nil {
			t.Error("a token for exec was good for attach")
		}
		answer, err := h.Exec(h.Ctx, &runtimeapi.ExecRequest{ContainerId: c.ID, Cmd: []string{"/no/such"}, Stdout: true})
		h.Must(err)
		if err := via.Run(h.Ctx, answer.GetUrl(), o); err == nil || !strings.Contains(err.Error(), "/no/such") {
			t.Errorf("a program that is not there: %v", err)
		}
	})
}
