// Package flight lets several callers share one piece of work.
//
// The work belongs to none of them: it goes on while at least one caller waits,
// and is cancelled the moment the last one leaves. It caches nothing.
package flight

import (
	"context"
	"sync"
)

// Group shares work among callers that ask for the same key. The zero value is
// ready.
type Group[T any] struct {
	mu sync.Mutex
	// running holds the work that may still be joined.
	running map[string]*work[T]
	// all counts every work until its function has returned, joined or not.
	all sync.WaitGroup
}

type work[T any] struct {
	cancel  context.CancelFunc
	callers int // guarded by Group.mu
	done    chan struct{}
	value   T
	err     error
}

// Do runs fn once for all callers that ask for key at the same time, and gives
// each its result; shared tells that another caller began it. A caller whose ctx
// ends leaves at once with the context's cause.
func (g *Group[T]) Do(ctx context.Context, key string, fn func(context.Context) (T, error)) (value T, shared bool, err error) {
	if err := context.Cause(ctx); err != nil {
		return value, false, err
	}
	w, shared := g.join(ctx, key, fn)
	select {
	case <-w.done:
		return w.value, shared, w.err
	case <-ctx.Done():
		g.leave(key, w)
		return value, shared, context.Cause(ctx)
	}
}

func (g *Group[T]) join(ctx context.Context, key string, fn func(context.Context) (T, error)) (*work[T], bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if w, ok := g.running[key]; ok {
		w.callers++
		return w, true
	}
	// The work outlives the caller that began it, so it takes the values of that
	// caller's context but not its end.
	shared, cancel := context.WithCancel(context.WithoutCancel(ctx))
	w := &work[T]{cancel: cancel, callers: 1, done: make(chan struct{})}
	if g.running == nil {
		g.running = map[string]*work[T]{}
	}
	g.running[key] = w
	g.all.Add(1)
	go g.run(shared, key, w, fn)
	return w, false
}

func (g *Group[T]) run(ctx context.Context, key string, w *work[T], fn func(context.Context) (T, error)) {
	defer g.all.Done()
	w.value, w.err = fn(ctx)
	g.mu.Lock()
	g.dropLocked(key, w)
	g.mu.Unlock()
	close(w.done)
	w.cancel()
}

// leave gives up one caller's interest; the last one cancels the work, and who
// asks for the key from then on begins anew.
func (g *Group[T]) leave(key string, w *work[T]) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if w.callers--; w.callers == 0 {
		w.cancel()
		g.dropLocked(key, w)
	}
}

func (g *Group[T]) dropLocked(key string, w *work[T]) {
	if g.running[key] == w {
		delete(g.running, key)
	}
}

// Callers is how many wait for work at the moment.
func (g *Group[T]) Callers() (n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, w := range g.running {
		n += w.callers
	}
	return n
}

// Wait returns when all work has ended.
func (g *Group[T]) Wait() { g.all.Wait() }
