package session

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	"k8s.io/utils/exec"

	"github.com/varve-cri/varve/shim"
)

// Stream runs the command with the client's streams. A code other than 0 is an
// exec.CodeExitError, not wrapped, as k8s.io/cri-streaming wants to find it. When
// the context ends before the command, the command is killed.
func (c Command) Stream(ctx context.Context, s Streams) error {
	if s.TTY {
		return c.terminal(ctx, s)
	}
	p, err := pipes(s.In != nil, s.Out != nil, s.Err != nil)
	if err != nil {
		return err
	}
	defer closePipes(p)
	proc, err := c.Client.Exec(ctx, shim.ExecRequest{Process: c.Process, Stdin: p[0].r, Stdout: p[1].w, Stderr: p[2].w})
	_, _, _ = p[0].r.Close(), p[1].w.Close(), p[2].w.Close()
	if err != nil {
		return notStarted(err)
	}
	if s.In != nil {
		go feed(p[0].w, s.In)
	}
	var flows []*flow
	if s.Out != nil {
		flows = append(flows, newFlow(p[1].r, s.Out))
	}
	if s.Err != nil {
		flows = append(flows, newFlow(p[2].r, s.Err))
	}
	return c.finish(ctx, proc, flows)
}

// terminal runs the command in a terminal. Its input has no end of its own:
// a terminal has none.
func (c Command) terminal(ctx context.Context, s Streams) error {
	size := s.firstSize(ctx)
	c.Process.Rows, c.Process.Cols = size.Height, size.Width
	proc, err := c.Client.Exec(ctx, shim.ExecRequest{Process: c.Process})
	if err != nil {
		return notStarted(err)
	}
	defer proc.Console.Close()
	sizes, stop := context.WithCancel(ctx)
	defer stop()
	go s.follow(sizes, func(size remotecommand.TerminalSize) { resize(proc.Console, size) })
	if s.In != nil {
		go func() {
			_, _ = io.Copy(proc.Console, s.In)
			_, _ = io.Copy(io.Discard, s.In)
		}()
	}
	out := s.Out
	if out == nil {
		out = io.Discard // unread, it would stop the program
	}
	return c.finish(ctx, proc, []*flow{newFlow(proc.Console, out)})
}

func resize(console *os.File, size remotecommand.TerminalSize) {
	raw, err := console.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: size.Height, Col: size.Width})
	})
}

// finish waits for the command's end and then until the client has all that was
// written before it, however slowly it takes it.
func (c Command) finish(ctx context.Context, p *shim.ExecProcess, flows []*flow) error {
	code, err := p.Wait(ctx)
	if ctx.Err() != nil {
		return kill(ctx, p, context.Cause(ctx))
	}
	deadline := time.Now().Add(c.Drain)
	for _, f := range flows {
		_ = f.r.SetReadDeadline(deadline)
	}
	for _, f := range flows {
		select {
		case <-f.done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if err == nil && code != 0 {
		return exec.CodeExitError{Err: fmt.Errorf("exit code %d", code), Code: int(code)}
	}
	return err
}
