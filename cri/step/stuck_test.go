package step

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"testing"
)

// The error of an operation that ran out of time names the step, what it waited
// for, and how long.
func TestStuck(t *testing.T) {
	var e Engine
	ctx, cancel := context.WithCancel(t.Context())
	var live Live
	err := e.Run(ctx, Op{Verb: "RunPodSandbox", Object: "ns/name"}, []Step{
		{Name: "network", Do: func(ctx context.Context) error {
			Note(ctx, "CNI plugin bridge: ADD")
			live = e.Live()[0]
			cancel()
			return context.Cause(ctx)
		}},
	})
	if !errors.Is(err, context.Canceled) || !regexp.MustCompile(`^RunPodSandbox ns/name: network: still running after [0-9.]+(µs|ms|s): context canceled$`).MatchString(err.Error()) {
		t.Errorf("the operation's own error: %v", err)
	}
	left := live.Stuck(context.DeadlineExceeded)
	if !errors.Is(left, context.DeadlineExceeded) || !regexp.MustCompile(`^RunPodSandbox ns/name: network: CNI plugin bridge: ADD: still running after [0-9.]+(ns|µs|ms|s): context deadline exceeded$`).MatchString(left.Error()) {
		t.Errorf("the error of who does not wait any longer: %v", left)
	}
	if live.Detail != "CNI plugin bridge: ADD" || live.Step != "network" || live.StepFor < 0 {
		t.Errorf("live: %+v", live)
	}
	Note(t.Context(), "outside of a step") // does nothing
}

// Who leaves while the operation is undone is told why it is, not only where the
// undoing is.
func TestStuckWhileItIsUndone(t *testing.T) {
	var e Engine
	cause := errors.New("no room")
	var live Live
	_ = e.Run(t.Context(), Op{Verb: "CreateContainer", Object: "main"}, []Step{
		{Name: "layer", Undo: func(context.Context) error { live = e.Live()[0]; return errors.New("later") }},
		{Name: "host paths", Do: func(context.Context) error { return cause }},
	})
	left := live.Stuck(context.DeadlineExceeded)
	if !errors.Is(left, cause) || !regexp.MustCompile(`^CreateContainer main: host paths: no room; not undone: layer: still running after [0-9.]+(ns|µs|ms|s): context deadline exceeded$`).MatchString(left.Error()) {
		t.Errorf("the error of who does not wait any longer: %v", left)
	}
}

// What one step waited for is no matter of the next.
func TestNoteEndsWithItsStep(t *testing.T) {
	var e Engine
	err := e.Run(t.Context(), Op{Verb: "V"}, []Step{
		{Name: "a", Do: func(ctx context.Context) error { Note(ctx, "x"); return nil }},
		{Name: "b", Do: func(context.Context) error {
			if got := e.Live()[0].Detail; got != "" {
				t.Errorf("detail %q", got)
			}
			return nil
		}},
	})
	if err != nil {
		t.Error(err)
	}
}

type observed struct{ log []string }

func (o *observed) Step(ctx context.Context, _ Op, name string) (context.Context, func(error)) {
	o.log = append(o.log, name)
	return ctx, func(err error) {
		if err != nil {
			name += " failed"
		}
		o.log = append(o.log, name+" ended")
	}
}

func TestObserver(t *testing.T) {
	o := &observed{}
	e := Engine{Observer: o}
	nothing := func(context.Context) error { return nil }
	_ = e.Run(t.Context(), Op{Verb: "V"}, []Step{{"a", nothing, nothing}, {"b", func(context.Context) error { return errors.New("x") }, nil}})
	if want := []string{"a", "a ended", "b", "b failed ended", "undo a", "undo a ended"}; !slices.Equal(o.log, want) {
		t.Errorf("observed %q", o.log)
	}
}
