package step

import (
	"sync"
	"time"
)

// Live is one running operation as explain and the metrics show it.
type Live struct {
	Op
	Step    string        // the step it is in
	Index   int           // its number, from 0
	Steps   int           // how many steps there are
	Undoing bool          // whether the step is being undone
	Since   time.Time     // when the operation began
	For     time.Duration // how long ago that was
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
		at := int(op.at.Load())
		name := ""
		if at < len(op.steps) {
			name = op.steps[at].Name
		}
		out = append(out, Live{
			Op: op.op, Step: name, Index: at, Steps: len(op.steps),
			Undoing: op.undoing.Load(), Since: op.since, For: now.Sub(op.since),
		})
	}
	return out
}
