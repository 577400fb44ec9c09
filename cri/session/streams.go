package session

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
)

// Streams are the client's ends; nil is one that it has not asked for.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
	TTY      bool                              // a terminal: Err is nil
	Resize   <-chan remotecommand.TerminalSize // closed at the client's end; may be nil
}

// firstSize waits a moment for the size that clients send right at the beginning,
// so that the program's first look at its terminal finds it.
func (s Streams) firstSize(ctx context.Context) remotecommand.TerminalSize {
	const moment = 100 * time.Millisecond
	t := time.NewTimer(moment)
	defer t.Stop()
	select {
	case size := <-s.Resize:
		return size
	case <-t.C:
	case <-ctx.Done():
	}
	return remotecommand.TerminalSize{}
}

// follow sets each size that comes until the context or the channel ends.
func (s Streams) follow(ctx context.Context, set func(remotecommand.TerminalSize)) {
	for {
		select {
		case size, ok := <-s.Resize:
			if !ok {
				return
			}
			if size.Width > 0 && size.Height > 0 {
				set(size)
			}
		case <-ctx.Done():
			return
		}
	}
}

// pipe is one stream between the daemon and the other side. Its ends may be
// closed more than once.
type pipe struct{ r, w *os.File }

func newPipe() (pipe, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return pipe{}, fmt.Errorf("pipe: %w", err)
	}
	return pipe{r, w}, nil
}

// pipes makes those that are wanted.
func pipes(in, out, err bool) (p [3]pipe, _ error) {
	for i, want := range [3]bool{in, out, err} {
		if !want {
			continue
		}
		var failure error
		if p[i], failure = newPipe(); failure != nil {
			closePipes(p)
			return p, failure
		}
	}
	return p, nil
}

func closePipes(p [3]pipe) {
	for _, one := range p {
		_ = one.r.Close()
		_ = one.w.Close()
	}
}

// feed copies the client's input and then closes w, which is how its end
// reaches the reader. Input that nobody will read is read on: on one connection
// the streams wait for each other.
func feed(w *os.File, in io.Reader) {
	_, _ = io.Copy(w, in)
	_ = w.Close()
	_, _ = io.Copy(io.Discard, in)
}

// flow is one output on its way to the client.
type flow struct {
	r    *os.File
	w    io.Writer
	done chan struct{}
	err  error // of the client's end; valid when done is closed
}

// maxRest bounds what is read at the end of the drain time: what a pipe can
// hold of what was written before.
const maxRest = 1 << 20

func newFlow(r *os.File, w io.Writer) *flow {
	f := &flow{r: r, w: w, done: make(chan struct{})}
	go f.run()
	return f
}

func (f *flow) run() {
	defer close(f.done)
	buf := make([]byte, 32<<10)
	for {
		n, err := f.r.Read(buf)
		if !f.pass(buf[:n]) {
			return
		}
		if os.IsTimeout(err) {
			f.rest(buf)
			return
		}
		if err != nil { // a terminal without other side says EIO
			return
		}
	}
}

// pass gives b to the client. A client that takes no more is the end of the
// pipe: who writes learns it as it would from any pipe.
func (f *flow) pass(b []byte) bool {
	if len(b) == 0 {
		return true
	}
	if _, f.err = f.w.Write(b); f.err != nil {
		_ = f.r.Close()
		return false
	}
	return true
}

// rest reads what is there after the deadline: a slow client may have kept us
// from it until now.
func (f *flow) rest(buf []byte) {
	for left := maxRest; left > 0; {
		n := now(f.r, buf)
		if n <= 0 || !f.pass(buf[:n]) {
			return
		}
		left -= n
	}
}

// now reads without waiting, also after a deadline.
func now(r *os.File, buf []byte) (n int) {
	raw, err := r.SyscallConn()
	if err != nil {
		return 0
	}
	_ = raw.Control(func(fd uintptr) {
		for n, err = unix.Read(int(fd), buf); err == unix.EINTR; {
			n, err = unix.Read(int(fd), buf)
		}
	})
	return n
}
