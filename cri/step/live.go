package step

import (
	"fmt"
	"sync"
	"time"
)

// Live is one running operation as explain and the metrics show it.
type Live struct {
	Op
	Step    string        // the step it is in
	Detail  string        // what the step waits for, when it has said that
	Index   int           // its number, from 0
	Steps   int           // how many steps there are
	Undoing bool          // whether the step is being undone
	Failure *Error        // why it is undone; nil when it is not
	Since   time.Time     // when the operation began
	For     time.Duration // how long ago that was
	StepFor time.Duration // how long it is in the step
}

// String says "[undo ]step[, detail,] for 3s".
func (l Live) String() string {
	text := l.Step
	if l.Undoing {
		text = "undo " + text
	}
	if l.Detail != "" {
		text += " (" + l.Detail + ")"
	}
	return fmt.Sprintf("%s for %v", text, round(l.StepFor))
}

// Stuck is the error of somebody who does not wait for the operation any longer,
// because of cause: the one that Run would return, had its step ended now. Of one
// that is being undone it is the failure, which is what its caller asks about.
func (l Live) Stuck(cause error) error {
	stuck := &StuckError{Detail: l.Detail, For: l.StepFor, Err: cause}
	if l.Failure != nil {
		return &Error{Op: l.Op, Step: l.Failure.Step, Err: l.Failure.Err, Undo: []UndoError{{l.Step, stuck}}}
	}
	return &Error{Op: l.Op, Step: l.Step, Err: stuck}
}

// registry is the list of running operations. The lock is held for two
// pointer writes per operation, and for the walk of a reader.
type registry struct {
	mu   sync.Mutex
	head *liveOp
	n    int
}

func (r *registry) add(op *liveOp) {
	r.mu.Lock()
	op.next = r.head
	if r.head != nil {
		r.head.prev = op
	}
	r.head = op
	r.n++
	r.mu.Unlock()
}

func (r *registry) remove(op *liveOp) {
	r.mu.Lock()
	if op.prev != nil {
		op.prev.next = op.next
	} else {
		r.head = op.next
	}
	if op.next != nil {
		op.next.prev = op.prev
	}
	r.n--
	r.mu.Unlock()
}

// Live returns the running operations, the newest first.
func (e *Engine) Live() []Live {
	now := time.Now()
	e.live.mu.Lock()
	defer e.live.mu.Unlock()
	out := make([]Live, 0, e.live.n)
	for op := e.live.head; op != nil; op = op.next {
		out = append(out, op.look(now))
	}
	return out
}

// Running is how many operations run.
func (e *Engine) Running() int {
	e.live.mu.Lock()
	defer e.live.mu.Unlock()
	return e.live.n
}

func (o *liveOp) look(now time.Time) Live {
	l := Live{
		Op: o.op, Index: int(o.at.Load()), Steps: len(o.steps), Since: o.since, For: now.Sub(o.since),
	}
	l.Failure = o.failure.Load()
	l.Undoing = l.Failure != nil
	if l.Index < len(o.steps) {
		l.Step = o.steps[l.Index].Name
	}
	if detail := o.detail.Load(); detail != nil {
		l.Detail = *detail
	}
	l.StepFor = max(l.For-time.Duration(o.entered.Load()), 0)
	return l
}
