package progress

import (
	"context"
	"io"
	"slices"
	"time"
)

// How often a watch tells of one pull: at most, and while bytes come at least.
const (
	shortest = 100 * time.Millisecond
	longest  = 250 * time.Millisecond
)

// Watch follows pulls. It holds at most one state for each of them, the newest,
// so that no pull waits for a watcher. One goroutine may use it; Close it.
type Watch struct {
	pulls  *Pulls
	all    bool
	wake   chan struct{} // something changed
	urgent chan struct{} // a pull ended
	last   time.Time     // when Next gave something

	// Pulls.mu guards these: the pulls that are followed, what was counted when
	// they were told of, and whether they changed since.
	counted map[*Pull]int64
	dirty   map[*Pull]bool
}

// Watch follows all pulls that run now or begin later.
func (s *Pulls) Watch() *Watch {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.watchLocked()
	w.all = true
	for _, p := range s.running {
		w.followLocked(p)
	}
	return w
}

// Watch follows this pull to its end.
func (p *Pull) Watch() *Watch {
	p.pulls.mu.Lock()
	defer p.pulls.mu.Unlock()
	w := p.pulls.watchLocked()
	w.followLocked(p)
	return w
}

func (s *Pulls) watchLocked() *Watch {
	w := &Watch{
		pulls: s, wake: make(chan struct{}, 1), urgent: make(chan struct{}, 1),
		counted: map[*Pull]int64{}, dirty: map[*Pull]bool{},
	}
	s.watches[w] = true
	return w
}

// Close ends the watch.
func (w *Watch) Close() {
	w.pulls.mu.Lock()
	defer w.pulls.mu.Unlock()
	delete(w.pulls.watches, w)
}

func (w *Watch) addLocked(p *Pull) {
	if w.all {
		w.followLocked(p)
		ring(w.wake)
	}
}

func (w *Watch) followLocked(p *Pull) {
	w.counted[p], w.dirty[p] = 0, true
}

func (w *Watch) changedLocked(p *Pull, urgent bool) {
	if _, followed := w.counted[p]; !followed {
		return
	}
	w.dirty[p] = true
	if urgent {
		ring(w.urgent)
	} else {
		ring(w.wake)
	}
}

func ring(bell chan struct{}) {
	select {
	case bell <- struct{}{}:
	default: // it rings already
	}
}

// Next waits for news and gives the pulls that changed, oldest first, each as it
// is now. It is io.EOF when nothing more can come: the one pull ended, and that
// was told.
func (w *Watch) Next(ctx context.Context) ([]State, error) {
	if err := w.pace(ctx); err != nil {
		return nil, err
	}
	for {
		states, over := w.collect()
		if len(states) > 0 {
			w.last = time.Now()
			return states, nil
		}
		if over {
			return nil, io.EOF
		}
		tick := time.NewTimer(longest)
		select {
		case <-w.wake:
		case <-w.urgent:
		case <-tick.C: // bytes ring no bell
		case <-ctx.Done():
			tick.Stop()
			return nil, context.Cause(ctx)
		}
		tick.Stop()
	}
}

// pace waits until enough time has passed since the last news; an end does not
// wait.
func (w *Watch) pace(ctx context.Context) error {
	timer := time.NewTimer(shortest - time.Since(w.last))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-w.urgent:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}

// collect gives what changed, and tells whether that can happen again.
func (w *Watch) collect() (states []State, over bool) {
	w.pulls.mu.Lock()
	defer w.pulls.mu.Unlock()
	var changed []*Pull
	for p, counted := range w.counted {
		if n := p.countLocked(); n != counted || w.dirty[p] {
			w.counted[p] = n
			changed = append(changed, p)
		}
	}
	clear(w.dirty)
	slices.SortFunc(changed, func(a, b *Pull) int { return a.state.Started.Compare(b.state.Started) })
	now := time.Now()
	for _, p := range changed {
		states = append(states, p.snapshotLocked(now))
		if p.state.Stage.Ended() {
			delete(w.counted, p)
		}
	}
	return states, !w.all && len(w.counted) == 0
}
