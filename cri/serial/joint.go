package serial

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"
)

// Run is work that callers who ask for the same share.
type Run struct {
	// Key is the same for all callers who want the same.
	Key string
	// ID is of the object that the run works on; who leaves before its end is told
	// the one of the run, which another caller may have begun with another id.
	ID string
	// Linger is how long the work may go on when nobody waits for it any more, for
	// what is better finished than broken off.
	Linger time.Duration
	// Do is the work. Its context has the values of the first caller's and ends
	// when no caller has waited for Linger.
	Do func(ctx context.Context) (string, error)
}

// Joint makes callers with the same key share one run: a retry of a create
// call joins the one that still runs instead of making a second object. The
// zero Joint is ready.
type Joint struct {
	mu    sync.Mutex
	calls map[string]*call // guarded by mu
}

// call is one run on its way.
type call struct {
	run    Run
	cancel context.CancelCauseFunc
	done   chan struct{}
	id     string // after done
	err    error  // after done

	// Joint.mu guards what follows.
	callers int
	ending  bool        // nobody wanted it any more: it is only waited for, not joined
	timer   *time.Timer // runs while it lingers
}

// courtesy is how long the error of work that is broken off is waited for: it
// knows best what it was at.
const courtesy = 20 * time.Millisecond

// LeftError is the end of a caller's patience; the run goes on, to its own end or
// to that of its undoing.
type LeftError struct {
	ID     string // of the run's object
	Ending bool   // the run is one that nobody wanted any more
	Err    error  // the cause of the context's end

	call *call
}

// Result is that of the run, if it has come to its end since: it is waited for
// a moment. Of a run that the caller had not joined there is none.
func (e *LeftError) Result() (ended bool, id string, err error) {
	if e.Ending || !e.call.over() {
		return false, "", nil
	}
	return true, e.call.id, e.call.err
}

// Error says that the same request still runs, and why nobody waits for it.
func (e *LeftError) Error() string { return fmt.Sprintf("the same request still runs: %v", e.Err) }

// Unwrap returns the cause.
func (e *LeftError) Unwrap() error { return e.Err }

// PanicError is a run that panicked.
type PanicError struct {
	Value any
	Stack []byte
}

// Error says with what it panicked.
func (e *PanicError) Error() string { return fmt.Sprintf("the operation panicked: %v", e.Value) }

// Do runs r, or joins the run of another caller and returns its result. The run
// outlives a caller who leaves as long as others wait for it, and at most for
// r.Linger when none does; then its context ends, and who asks after that waits
// for its end and runs anew. A caller who leaves gets a *LeftError, unless the
// run ends in that moment.
func (j *Joint) Do(ctx context.Context, r Run) (string, error) {
	for {
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		c, joined := j.join(ctx, r)
		select {
		case <-c.done:
			if joined {
				return c.id, c.err
			}
			continue
		case <-ctx.Done():
		}
		if !joined {
			return "", &LeftError{ID: c.run.ID, Ending: true, Err: context.Cause(ctx)}
		}
		return j.leave(ctx, c)
	}
}

// join finds or begins the run; false says that it can only be waited for.
func (j *Joint) join(ctx context.Context, r Run) (*call, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if c, busy := j.calls[r.Key]; busy {
		if c.ending {
			return c, false
		}
		c.callers++
		if c.timer != nil {
			c.timer.Stop()
			c.timer = nil
		}
		return c, true
	}
	if j.calls == nil {
		j.calls = map[string]*call{}
	}
	c := &call{run: r, done: make(chan struct{}), callers: 1}
	own, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	c.cancel = cancel
	j.calls[r.Key] = c
	go j.work(own, c)
	return c, true
}

// leave ends the run when its last caller leaves, at once or later.
func (j *Joint) leave(ctx context.Context, c *call) (string, error) {
	cause := context.Cause(ctx)
	j.mu.Lock()
	c.callers--
	switch {
	case c.callers > 0:
	case c.run.Linger == 0:
		c.ending = true
		c.cancel(cause)
	default:
		c.timer = time.AfterFunc(c.run.Linger, func() { j.give(c, cause) })
	}
	j.mu.Unlock()
	if c.over() {
		return c.id, c.err
	}
	return "", &LeftError{ID: c.run.ID, Err: cause, call: c}
}

// over waits a moment for the end of the run.
func (c *call) over() bool {
	t := time.NewTimer(courtesy)
	defer t.Stop()
	select {
	case <-c.done:
		return true
	case <-t.C:
		return false
	}
}

// give gives a run up that has lingered.
func (j *Joint) give(c *call, cause error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if c.callers == 0 {
		c.ending = true
		c.cancel(cause)
	}
}

// work always ends the call, also when it panics: joiners must not wait for ever.
func (j *Joint) work(ctx context.Context, c *call) {
	defer func() {
		if v := recover(); v != nil {
			c.err = &PanicError{v, debug.Stack()}
		}
		j.mu.Lock()
		delete(j.calls, c.run.Key)
		if c.timer != nil {
			c.timer.Stop()
		}
		j.mu.Unlock()
		close(c.done)
		c.cancel(nil)
	}()
	c.id, c.err = c.run.Do(ctx)
}
