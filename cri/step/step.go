package step

import (
	"context"
	"sync/atomic"
	"time"
)

// Step is one step of an operation. Do makes something, Undo takes it back;
// either may be nil. A Do that returns an error has left nothing of its own
// behind: its Undo is not called, those of the steps before it are.
type Step struct {
	Name string
	Do   func(ctx context.Context) error
	Undo func(ctx context.Context) error
}

// Op names an operation: what is done (a verb the operator knows, such as
// "RunPodSandbox"), to which object, and the object's id.
type Op struct {
	Verb   string
	Object string
	ID     string
}

// DefaultUndoTimeout is how long all undo steps of one operation may take
// together when the engine's owner has set nothing else.
const DefaultUndoTimeout = 30 * time.Second

// Engine runs operations and remembers those that run and how long the steps
// of those that ran have taken. The zero value is ready; it must not be copied.
type Engine struct {
	// UndoTimeout bounds the undo steps of one operation, which run even when
	// the request that started it is cancelled. Zero is DefaultUndoTimeout.
	// It is read only; set it before the first Run.
	UndoTimeout time.Duration

	live    registry
	timings timings
}

// Run runs the steps in order. Between steps it looks at the context: an
// operation that is cancelled or past its deadline is undone like one that
// failed. The error is an *Error, which names the operation, the object, the
// step and the cause, and holds every error of the undoing.
func (e *Engine) Run(ctx context.Context, op Op, steps []Step) error {
	entry := &liveOp{op: op, steps: steps, since: time.Now()}
	e.live.add(entry)
	defer e.live.remove(entry)

	start := entry.since
	for i := range steps {
		entry.at.Store(int32(i))
		if err := ctx.Err(); err != nil {
			return e.fail(ctx, entry, i, context.Cause(ctx))
		}
		if steps[i].Do == nil {
			continue
		}
		err := steps[i].Do(ctx)
		now := time.Now()
		e.timings.observe(key{op.Verb, steps[i].Name}, now.Sub(start), err != nil)
		start = now
		if err != nil {
			return e.fail(ctx, entry, i, err)
		}
	}
	e.timings.observe(key{op.Verb, ""}, time.Since(entry.since), false)
	return nil
}

// fail undoes the steps before the one at index at and makes the error.
func (e *Engine) fail(ctx context.Context, entry *liveOp, at int, cause error) error {
	result := &Error{Op: entry.op, Step: entry.steps[at].Name, Err: cause}
	limit := e.UndoTimeout
	if limit == 0 {
		limit = DefaultUndoTimeout
	}
	// The request may be gone, what it made is not: undo with the values of
	// the context (logger, trace) but without its end.
	undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	entry.undoing.Store(true)
	for i := at - 1; i >= 0; i-- {
		step := &entry.steps[i]
		if step.Undo == nil {
			continue
		}
		entry.at.Store(int32(i))
		start := time.Now()
		err := step.Undo(undo)
		e.timings.observe(key{entry.op.Verb, "undo " + step.Name}, time.Since(start), err != nil)
		if err != nil {
			result.Undo = append(result.Undo, UndoError{Step: step.Name, Err: err})
		}
	}
	e.timings.observe(key{entry.op.Verb, ""}, time.Since(entry.since), true)
	return result
}

// liveOp is one running operation; at and undoing are written by the
// goroutine that runs it and read by anyone.
type liveOp struct {
	op      Op
	steps   []Step
	since   time.Time
	at      atomic.Int32
	undoing atomic.Bool

	prev, next *liveOp // registry.mu
}
