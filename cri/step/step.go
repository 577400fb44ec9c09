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

// Observer follows the steps of operations, for traces and for tests.
type Observer interface {
	// Step is told of a step that begins; the name of one that is undone begins
	// with "undo ". The step gets the context that it returns, and ended, which
	// may be nil, is called with the step's error.
	Step(ctx context.Context, op Op, name string) (stepCtx context.Context, ended func(error))
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
	// Observer is told of every step, unless it is nil. It is read only, too.
	Observer Observer

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
	ctx = context.WithValue(ctx, liveKey{}, entry)

	start := entry.since
	for i := range steps {
		entry.enter(i, start)
		if ctx.Err() != nil {
			return e.fail(ctx, entry, i, &lateError{time.Since(entry.since), context.Cause(ctx)})
		}
		if steps[i].Do == nil {
			continue
		}
		err := e.observed(ctx, op, steps[i].Name, steps[i].Do)
		now := time.Now()
		e.timings.observe(key{op.Verb, steps[i].Name}, now.Sub(start), err != nil)
		if err != nil {
			return e.fail(ctx, entry, i, entry.stuck(err, now.Sub(start)))
		}
		start = now
	}
	e.timings.observe(key{op.Verb, ""}, time.Since(entry.since), false)
	return nil
}

// observed runs one step, in front of the observer if there is one.
func (e *Engine) observed(ctx context.Context, op Op, name string, do func(context.Context) error) error {
	if e.Observer == nil {
		return do(ctx)
	}
	ctx, ended := e.Observer.Step(ctx, op, name)
	err := do(ctx)
	if ended != nil {
		ended(err)
	}
	return err
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
	failure := *result // whose list of what was not undone nobody changes
	entry.failure.Store(&failure)
	for i := at - 1; i >= 0; i-- {
		step := &entry.steps[i]
		if step.Undo == nil {
			continue
		}
		start := time.Now()
		entry.enter(i, start)
		err := e.observed(undo, entry.op, "undo "+step.Name, step.Undo)
		e.timings.observe(key{entry.op.Verb, "undo " + step.Name}, time.Since(start), err != nil)
		if err != nil {
			result.Undo = append(result.Undo, UndoError{Step: step.Name, Err: err})
		}
	}
	e.timings.observe(key{entry.op.Verb, ""}, time.Since(entry.since), true)
	return result
}

// liveOp is one running operation; at, entered, detail and failure are written
// by the goroutine that runs it and read by anyone.
type liveOp struct {
	op      Op
	steps   []Step
	since   time.Time
	at      atomic.Int32
	entered atomic.Int64           // when the step began, in ns after since
	failure atomic.Pointer[Error]  // why it is being undone
	detail  atomic.Pointer[string] // what the step waits for

	prev, next *liveOp // registry.mu
}

// enter notes that step i begins.
func (o *liveOp) enter(i int, now time.Time) {
	o.at.Store(int32(i))
	o.entered.Store(int64(now.Sub(o.since)))
	if o.detail.Load() != nil {
		o.detail.Store(nil)
	}
}

// liveKey is where the context of a step has its operation.
type liveKey struct{}

// Note says what a step waits for from now on, such as "CNI plugin bridge: ADD",
// until the next Note or the step's end: whoever asks what the operation does,
// and the error of a deadline that passes meanwhile, tell it. "" takes it back.
// Outside of a step it does nothing.
func Note(ctx context.Context, detail string) {
	op, ok := ctx.Value(liveKey{}).(*liveOp)
	switch {
	case !ok:
	case detail == "":
		op.detail.Store(nil)
	default:
		op.detail.Store(&detail)
	}
}
