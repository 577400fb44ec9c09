package serial

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

var errPanicked = errors.New("the operation panicked")

// Lock excludes the operations of one object from each other. Waiting for it
// honours the caller's deadline, which a sync.Mutex cannot. Make it with NewLock.
type Lock chan struct{}

// NewLock returns a lock that nobody holds.
func NewLock() Lock { return make(Lock, 1) }

// Acquire waits for the lock; object names what is waited for in the error,
// which is the context's cause.
func (l Lock) Acquire(ctx context.Context, object string) error {
	select {
	case l <- struct{}{}:
		return nil
	default:
	}
	select {
	case l <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s: wait for the operation before: %w", object, context.Cause(ctx))
	}
}

// Release gives the lock to whoever waits for it.
func (l Lock) Release() { <-l }

// Joint makes callers with the same key share one run: a retry of a create
// call joins the one that still runs instead of making a second object. The
// zero Joint is ready.
type Joint struct {
	mu    sync.Mutex
	calls map[string]*call // guarded by mu
}

type call struct {
	done chan struct{}
	id   string
	err  error
}

// Do runs f, or waits for the run of another caller and returns its result.
// When that one ended because its own caller went away, this one runs.
func (j *Joint) Do(ctx context.Context, key string, f func() (string, error)) (string, error) {
	for {
		j.mu.Lock()
		if j.calls == nil {
			j.calls = map[string]*call{}
		}
		c, busy := j.calls[key]
		if !busy {
			c = &call{done: make(chan struct{})}
			j.calls[key] = c
		}
		j.mu.Unlock()
		if !busy {
			j.run(key, c, f)
			return c.id, c.err
		}
		select {
		case <-c.done:
		case <-ctx.Done():
			return "", fmt.Errorf("wait for the same request, which still runs: %w", context.Cause(ctx))
		}
		if c.err == nil || !isContextError(c.err) {
			return c.id, c.err
		}
		if err := ctx.Err(); err != nil {
			return "", context.Cause(ctx)
		}
	}
}

// run always ends the call, also when f panics: joiners must not wait for ever.
func (j *Joint) run(key string, c *call, f func() (string, error)) {
	c.err = errPanicked
	defer func() {
		j.mu.Lock()
		delete(j.calls, key)
		j.mu.Unlock()
		close(c.done)
	}()
	c.id, c.err = f()
}

func isContextError(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
