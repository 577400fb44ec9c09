package session

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
)

func made(t *testing.T) pipe {
	t.Helper()
	p, err := newPipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closePipes([3]pipe{p}) }) // again, after some tests
	return p
}

// The size that a client sends at once is the terminal's first; one that sends
// none is not waited for.
func TestFirstSize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sizes := make(chan remotecommand.TerminalSize, 1)
		want := remotecommand.TerminalSize{Width: 80, Height: 24}
		sizes <- want
		if got := (Streams{Resize: sizes}).firstSize(t.Context()); got != want {
			t.Errorf("%+v", got)
		}
		none := remotecommand.TerminalSize{}
		for what, silent := range map[string]chan remotecommand.TerminalSize{"silent": sizes, "no channel": nil} {
			begin := time.Now()
			if got := (Streams{Resize: silent}).firstSize(t.Context()); got != none || time.Since(begin) > time.Second {
				t.Errorf("%s: %+v after %v", what, got, time.Since(begin))
			}
		}
		close(sizes)
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if got := (Streams{Resize: sizes}).firstSize(gone); got != none {
			t.Errorf("a client that has gone: %+v", got)
		}
	})
}

// Sizes of nothing, which clients send that have no window, are not set.
func TestFollow(t *testing.T) {
	sizes := make(chan remotecommand.TerminalSize, 4)
	for _, s := range []remotecommand.TerminalSize{{Width: 1, Height: 2}, {}, {Width: 3}, {Width: 4, Height: 5}} {
		sizes <- s
	}
	close(sizes)
	var set []remotecommand.TerminalSize
	Streams{Resize: sizes}.follow(t.Context(), func(s remotecommand.TerminalSize) { set = append(set, s) })
	if want := []remotecommand.TerminalSize{{Width: 1, Height: 2}, {Width: 4, Height: 5}}; !slices.Equal(set, want) {
		t.Errorf("%+v", set)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	Streams{}.follow(gone, nil) // returns
}

// The end of the client's input is the end of the program's, and input that nobody
// reads any more does not stop the client.
func TestFeed(t *testing.T) {
	p := made(t)
	var got []byte
	var wg sync.WaitGroup
	wg.Go(func() { got, _ = io.ReadAll(p.r) })
	feed(p.w, strings.NewReader("hello"))
	wg.Wait()
	if string(got) != "hello" {
		t.Errorf("got %q", got)
	}
	p = made(t)
	p.r.Close()
	in := strings.NewReader(strings.Repeat("x", 1<<20))
	feed(p.w, in)
	if in.Len() > 0 {
		t.Errorf("%d bytes are left in the client's way", in.Len())
	}
}

func TestPipesThatAreNotWanted(t *testing.T) {
	p, err := pipes(false, true, false)
	if err != nil {
		t.Fatal(err)
	}
	if p[0].r != nil || p[1].w == nil || p[2].r != nil {
		t.Errorf("%+v", p)
	}
	for range 2 { // the nil ones too
		closePipes(p)
	}
}

// slowly is a client that takes nothing until it is let.
type slowly struct {
	gate chan struct{}
	b    bytes.Buffer
}

func (s *slowly) Write(b []byte) (int, error) {
	<-s.gate
	return s.b.Write(b)
}

// A slow client gets all that was written before the drain time ended, although
// it only took the first of it by then; and no writer that stays can hold it.
func TestFlowAfterTheDeadline(t *testing.T) {
	p := made(t) // its writing end stays open, as with a child that was left behind
	client := &slowly{gate: make(chan struct{})}
	f := newFlow(p.r, client)
	const size = 48 << 10 // more than one read, less than a pipe holds
	if _, err := p.w.Write(bytes.Repeat([]byte("x"), size)); err != nil {
		t.Fatal(err)
	}
	if err := p.r.SetReadDeadline(time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	close(client.gate)
	<-f.done
	if client.b.Len() != size {
		t.Errorf("%d bytes of %d", client.b.Len(), size)
	}
}

type refuses struct{}

func (refuses) Write([]byte) (int, error) { return 0, errors.New("the client takes no more") }

// Who writes to a client that takes no more learns it as from any pipe.
func TestFlowToOneThatTakesNoMore(t *testing.T) {
	p := made(t)
	f := newFlow(p.r, refuses{})
	if _, err := p.w.WriteString("x"); err != nil {
		t.Fatal(err)
	}
	<-f.done
	if _, err := p.w.WriteString("x"); !errors.Is(err, unix.EPIPE) || f.err == nil {
		t.Errorf("the writer is told %v, the flow %v", err, f.err)
	}
}

// What is read without waiting is what is there.
func TestNow(t *testing.T) {
	p := made(t)
	buf := make([]byte, 10)
	if n := now(p.r, buf); n > 0 {
		t.Errorf("%d bytes out of nothing", n)
	}
	if _, err := p.w.WriteString("abc"); err != nil {
		t.Fatal(err)
	}
	if n := now(p.r, buf); n != 3 || string(buf[:n]) != "abc" {
		t.Errorf("%q", buf[:max(n, 0)])
	}
	p.r.Close()
	if n := now(p.r, buf); n != 0 {
		t.Errorf("%d bytes of a closed file", n)
	}
	if _, err := p.r.Read(buf); !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
}
