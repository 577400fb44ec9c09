package registry

import (
	"context"
	"io"
	"sync"
	"time"
)

// When a transfer is spread over several connections: it has spent most of its
// time waiting for the network, which gave less than a disk would take.
const (
	waitShare = 0.7
	slowRate  = 64 << 20 // bytes a second
)

// wide reads a blob on one connection at first, and on several at once when that
// one is what everything waits for: a long way, or a server that gives each
// connection so much. A registry that is near sees one plain request.
//
// The stretch ahead is fetched in parts, by bounded ranges, and given in order. At
// most Streams parts of PartBytes are in memory.
type wide struct {
	first  *section // until single ends; then only for its host and its blob
	limits Limits
	begun  time.Time
	began  int64 // the offset at that time
	waited time.Duration
	narrow bool // stay with one connection

	ctx    context.Context //nolint:containedctx // of the parts, which are parts of one call
	cancel context.CancelFunc
	parts  []*part // in order; the first is being read
	next   int64   // where the next part begins
	free   [][]byte
	end    int64
	wait   sync.WaitGroup
}

// part is one stretch on its way.
type part struct {
	mu   sync.Mutex
	more sync.Cond // n or err changed
	buf  []byte
	n    int // of buf that came; guarded by mu
	err  error
	read int // of buf that was given
}

func newWide(s *section) *wide {
	w := &wide{first: s, limits: s.repository.limits, begun: time.Now(), began: s.at, end: s.end}
	w.ctx, w.cancel = context.WithCancel(s.ctx)
	return w
}

// Read implements io.Reader.
func (w *wide) Read(p []byte) (int, error) {
	if len(w.parts) == 0 || w.first.at < w.first.end {
		n, err := w.readFirst(p)
		if err != io.EOF || len(w.parts) == 0 {
			return n, err
		}
		w.first.Close()
		if n > 0 {
			return n, nil
		}
	}
	return w.readParts(p)
}

// readFirst reads from the one connection, and looks whether one is enough.
func (w *wide) readFirst(p []byte) (int, error) {
	before := time.Now()
	n, err := w.first.Read(p)
	now := time.Now()
	w.waited += now.Sub(before)
	if took := now.Sub(w.begun); err == nil && len(w.parts) == 0 && !w.narrow && took >= w.limits.WideAfter {
		rate := float64(w.first.at-w.began) / took.Seconds()
		if rate < slowRate && w.waited.Seconds() > waitShare*took.Seconds() {
			w.widen()
		}
		w.begun, w.began, w.waited = now, w.first.at, 0
	}
	return n, err
}

// widen lets the first connection go on to the end of its part and begins to fetch
// what comes after that.
func (w *wide) widen() {
	size := w.limits.PartBytes
	if !w.first.ranges || w.first.host.plain.Load() || w.end-w.first.at < 3*size {
		w.narrow = true
		return
	}
	w.first.end = w.first.at + size
	w.next = w.first.end
	w.fill()
}

// fill keeps as many parts on their way as there may be streams.
func (w *wide) fill() {
	streams := w.limits.Streams
	if w.first.at < w.first.end {
		streams--
	}
	for len(w.parts) < streams && w.next < w.end {
		size := min(w.limits.PartBytes, w.end-w.next)
		part := &part{buf: w.buffer(size)}
		part.more.L = &part.mu
		s := w.first.repository.section(w.ctx, w.first.want, w.next, w.next+size)
		s.query.ranged = true
		w.parts = append(w.parts, part)
		w.next += size
		w.wait.Go(func() { part.fetch(s) })
	}
}

func (w *wide) buffer(size int64) []byte {
	if n := len(w.free); n > 0 {
		buf := w.free[n-1]
		w.free = w.free[:n-1]
		return buf[:size]
	}
	return make([]byte, size, w.limits.PartBytes)
}

// fetch brings the part's bytes.
func (p *part) fetch(s *section) {
	err := s.start()
	if err == nil {
		defer s.Close()
	}
	for n := 0; err == nil && n < len(p.buf); {
		var m int
		m, err = s.Read(p.buf[n:])
		n += m
		p.mu.Lock()
		p.n = n
		p.mu.Unlock()
		p.more.Signal()
	}
	if err == io.EOF {
		err = nil // only at the part's end
	}
	p.mu.Lock()
	p.err = err
	p.mu.Unlock()
	p.more.Signal()
}

// readParts gives bytes of the first part, when there are some.
func (w *wide) readParts(p []byte) (int, error) {
	for {
		if len(w.parts) == 0 {
			return 0, io.EOF
		}
		head := w.parts[0]
		n, err := head.take(p)
		if err != nil {
			return n, w.failed(err)
		}
		if head.read == len(head.buf) {
			w.parts = w.parts[1:]
			w.free = append(w.free, head.buf)
			w.fill()
		}
		if n > 0 {
			return n, nil
		}
	}
}

// take waits for bytes. The part's fetch ends with the context, so the wait does.
func (p *part) take(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.read == p.n && p.err == nil && p.n < len(p.buf) {
		p.more.Wait()
	}
	n := copy(b, p.buf[p.read:p.n])
	p.read += n
	if n == 0 && p.err != nil {
		return 0, p.err
	}
	return n, nil
}

// failed goes back to one connection, which then has the last word: the host may
// not answer ranges as it should, or only the one that the parts came from failed.
func (w *wide) failed(err error) error {
	if w.first.ctx.Err() != nil {
		return err
	}
	at := w.next
	for _, p := range w.parts {
		at -= int64(len(p.buf))
	}
	at += int64(w.parts[0].read)
	w.stop()
	w.parts, w.narrow = nil, true
	single := w.first.repository.section(w.first.ctx, w.first.want, at, w.end)
	if err := single.start(); err != nil {
		return err
	}
	w.first = single
	return nil
}

// stop ends what is on its way and returns when it has ended.
func (w *wide) stop() {
	w.cancel()
	w.wait.Wait()
}

// Close implements io.Closer.
func (w *wide) Close() error {
	w.stop()
	return w.first.Close()
}
