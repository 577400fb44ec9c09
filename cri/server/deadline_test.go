package server

import (
	"context"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/varve-cri/varve/cri/step"
)

// deadline makes the next request run out of time when it has come as far as
// reached says, and not before: however slow the machine is, it is told of what it
// was at then, and its answer has all the time it needs for its way.
func (n *node) deadline(reached func() bool) context.Context {
	n.late.Store(&reached)
	return n.ctx()
}

// intercept gives a request that such a deadline.
func (n *node) intercept(ctx context.Context, req any, _ *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
	reached := n.late.Swap(nil)
	if reached == nil {
		return h(ctx, req)
	}
	answered := make(chan struct{})
	defer close(answered)
	l := late{ctx, make(chan struct{})}
	go func() {
		defer close(l.passed)
		for !(*reached)() {
			select {
			case <-time.After(5 * time.Millisecond):
			case <-ctx.Done():
				return
			case <-answered:
				return
			}
		}
	}()
	return h(l, req)
}

// late is a context whose deadline is an event.
type late struct {
	context.Context //nolint:containedctx // it is one
	passed          chan struct{}
}

func (l late) Done() <-chan struct{} { return l.passed }

func (l late) Err() error {
	select {
	case <-l.passed:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

// in says whether an operation waits in a step for what begins with detail.
func (n *node) in(verb, name, detail string) func() bool {
	return func() bool {
		for _, l := range n.s.steps.Live() {
			if l.Verb == verb && l.Step == name && !l.Undoing && strings.HasPrefix(l.Detail, detail) {
				return true
			}
		}
		return false
	}
}

// begun says whether the step has begun, from now on.
func (n *node) begun(verb, name string) func() bool {
	var has atomic.Bool
	f := func(_ context.Context, op step.Op, s string) {
		if op.Verb == verb && s == name {
			has.Store(true)
		}
	}
	n.hook.f.Store(&f)
	n.t.Cleanup(func() { n.hook.f.CompareAndSwap(&f, nil) })
	return has.Load
}

// joined says whether so many requests wait for the end of a run, their own or
// another's.
func joined(count int) func() bool {
	return func() bool { return strings.Count(stacks(), "serial.(*Joint).Do(") >= count }
}

// stacks is what all goroutines are at.
func stacks() string {
	b := make([]byte, 8<<20)
	return string(b[:runtime.Stack(b, true)])
}
