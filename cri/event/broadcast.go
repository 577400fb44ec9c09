package event

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// MaxBytes bounds what all events together keep in memory: some six thousand
// events of small pods.
const MaxBytes = 8 << 20

// BehindError ends the stream of a listener who was too slow.
type BehindError struct{ Missed uint64 }

// Error says how many events the listener has not seen.
func (e *BehindError) Error() string {
	return fmt.Sprintf("the listener was too slow: %d events are lost to it", e.Missed)
}

// Broadcast hands events to whoever listens. The zero Broadcast is ready. With no
// listener it costs one lock and makes no event.
type Broadcast struct {
	mu    sync.Mutex
	log   []*Event           // guarded by mu; the events first, first+1 ...
	first uint64             // guarded by mu
	bytes int                // guarded by mu; of log
	subs  map[*Listener]bool // guarded by mu
	keep  bool               // guarded by mu; until the end of keepers
}

// Listener is one who listens. It is used by one goroutine.
type Listener struct {
	b    *Broadcast
	next uint64        // guarded by b.mu; the event to be read
	wake chan struct{} // holds something when there may be one
}

// Listen begins to listen: from now on, or, while events are kept, from where
// the keeping began.
func (b *Broadcast) Listen() *Listener {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.subs == nil {
		b.subs = map[*Listener]bool{}
	}
	l := &Listener{b: b, next: b.first + uint64(len(b.log)), wake: make(chan struct{}, 1)}
	if b.keep {
		l.next = b.first
	}
	b.subs[l] = true
	return l
}

// Keep keeps events for those who are not listening yet: a kubelet that finds its
// way back after a restart of the daemon is told what the daemon has found.
func (b *Broadcast) Keep() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.keep = true
}

// KeepFor ends Keep after a time.
func (b *Broadcast) KeepFor(d time.Duration) {
	time.AfterFunc(d, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.keep = false
		b.trim()
	})
}

// Idle says that events need not be made: nobody listens, and none are kept.
func (b *Broadcast) Idle() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.subs) == 0 && !b.keep
}

// Send adds the event that look makes, without waiting for any listener. The
// look is taken under the log's lock, so that of two events the later one never
// shows the older state. It must not send.
func (b *Broadcast) Send(look func() *Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.subs) == 0 && !b.keep {
		return
	}
	e := look()
	e.size = e.bytes()
	b.log = append(b.log, e)
	b.bytes += e.size
	b.trim()
	for l := range b.subs {
		select {
		case l.wake <- struct{}{}:
		default: // it has not even looked at the last ones
		}
	}
}

// trim drops what everybody has read, and the oldest while there is too much.
func (b *Broadcast) trim() {
	read := b.first + uint64(len(b.log))
	if b.keep {
		read = b.first
	}
	for l := range b.subs {
		if l.next >= b.first { // else it is behind, and nothing waits for it
			read = min(read, l.next)
		}
	}
	for len(b.log) > 0 && (b.first < read || b.bytes > MaxBytes) {
		b.bytes -= b.log[0].size
		b.log[0] = nil
		b.log, b.first = b.log[1:], b.first+1
	}
	if len(b.log) == 0 {
		b.log = nil
	}
}

// Next waits for the next event. A *BehindError is the last that a listener
// hears.
func (l *Listener) Next(ctx context.Context) (*Event, error) {
	for {
		e, err := l.take()
		if e != nil || err != nil {
			return e, err
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-l.wake:
		}
	}
}

func (l *Listener) take() (*Event, error) {
	b := l.b
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case l.next < b.first:
		return nil, &BehindError{b.first - l.next}
	case l.next-b.first >= uint64(len(b.log)):
		return nil, nil //nolint:nilnil // nothing yet
	}
	e := b.log[l.next-b.first]
	l.next++
	b.trim()
	return e, nil
}

// Leave ends the listening.
func (l *Listener) Leave() {
	l.b.mu.Lock()
	defer l.b.mu.Unlock()
	delete(l.b.subs, l)
	l.b.trim()
}
