package registry

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"
)

// errStalled is for a transfer that is slower than is let go on.
var errStalled = errors.New("the transfer stalled")

// paced fails a body that gives less than StallBytes in StallWindow of waiting
// for it. Only the time inside Read counts: while the disk is slow the network is
// not to blame, and a trickle is not progress.
type paced struct {
	body    io.ReadCloser
	window  time.Duration
	least   int64
	waited  time.Duration
	got     int64
	stalled atomic.Bool
	timer   *time.Timer
}

func newPaced(body io.ReadCloser, l Limits) *paced {
	p := &paced{body: body, window: l.StallWindow, least: l.StallBytes}
	p.timer = time.AfterFunc(time.Hour, func() {
		p.stalled.Store(true)
		// Closing the body is what wakes a Read that waits for the network.
		_ = p.body.Close()
	})
	p.timer.Stop()
	return p
}

// Read implements io.Reader.
func (p *paced) Read(b []byte) (int, error) {
	begun := time.Now()
	p.timer.Reset(p.window - p.waited)
	n, err := p.body.Read(b)
	p.timer.Stop()
	p.waited += time.Since(begun)
	p.got += int64(n)
	if p.waited >= p.window && p.got < p.least && err == nil {
		p.stalled.Store(true)
	}
	if p.got >= p.least || p.waited >= p.window {
		p.waited, p.got = 0, 0
	}
	if p.stalled.Load() && err != io.EOF {
		return n, fmt.Errorf("less than %d bytes in %v: %w", p.least, p.window, errStalled)
	}
	return n, err
}

// Close implements io.Closer.
func (p *paced) Close() error {
	p.timer.Stop()
	return p.body.Close()
}
