package session

import (
	"context"
	"os"
	"time"

	"github.com/varve-cri/varve/shim"
)

// Captured is what a command has printed and how it ended.
type Captured struct {
	Stdout, Stderr []byte
	Code           int32
}

// Capture runs the command to its end and keeps the first limit bytes of each
// of its outputs. When the context ends before, the command is killed.
func (c Command) Capture(ctx context.Context, limit int64) (*Captured, error) {
	stdout, err := newOutput(limit)
	if err != nil {
		return nil, err
	}
	defer stdout.close()
	stderr, err := newOutput(limit)
	if err != nil {
		return nil, err
	}
	defer stderr.close()
	p, err := c.Client.Exec(ctx, shim.ExecRequest{Process: c.Process, Stdout: stdout.w, Stderr: stderr.w})
	stdout.begin()
	stderr.begin()
	if err != nil {
		return nil, notStarted(err)
	}
	code, err := p.Wait(ctx)
	if err != nil {
		return nil, kill(ctx, p, err)
	}
	deadline := time.Now().Add(c.Drain)
	return &Captured{stdout.rest(ctx, deadline), stderr.rest(ctx, deadline), code}, nil
}

// output is one captured stream: a pipe whose write end goes to the process.
type output struct {
	pipe
	max  int64
	buf  []byte
	done chan struct{}
}

func newOutput(limit int64) (*output, error) {
	p, err := newPipe()
	if err != nil {
		return nil, err
	}
	return &output{pipe: p, max: limit, done: make(chan struct{})}, nil
}

// begin gives our copy of the write end up and starts to read.
func (o *output) begin() {
	_ = o.w.Close()
	o.w = nil
	go func() {
		defer close(o.done)
		chunk := make([]byte, 4096)
		for {
			n, err := o.r.Read(chunk)
			o.keep(chunk[:n])
			if os.IsTimeout(err) {
				o.late(chunk)
			}
			if err != nil {
				return
			}
			if n == len(chunk) && n < 64<<10 {
				chunk = make([]byte, 64<<10) // a talkative one
			}
		}
	}()
}

// keep adds what there is room for.
func (o *output) keep(b []byte) {
	if room := o.max - int64(len(o.buf)); room > 0 {
		o.buf = append(o.buf, b[:min(int64(len(b)), room)]...)
	}
}

// late reads what is there after the deadline: on a machine that stood still until
// then, it may be all that the command has printed.
func (o *output) late(chunk []byte) {
	for left := maxRest; left > 0; {
		n := now(o.r, chunk)
		if n <= 0 {
			return
		}
		o.keep(chunk[:n])
		left -= n
	}
}

// rest returns all that was read once the stream has ended, or at the deadline.
func (o *output) rest(ctx context.Context, deadline time.Time) []byte {
	_ = o.r.SetReadDeadline(deadline)
	stop := context.AfterFunc(ctx, func() { _ = o.r.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	<-o.done
	return o.buf
}

func (o *output) close() {
	_ = o.r.Close()
	_ = o.w.Close()
}
