package step

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// trace records what ran, in order.
type trace struct {
	mu  sync.Mutex
	log []string
}

func (t *trace) step(name string, do, undo error) Step {
	note := func(s string, err error) func(context.Context) error {
		return func(ctx context.Context) error {
			t.mu.Lock()
			defer t.mu.Unlock()
			t.log = append(t.log, s)
			return err
		}
	}
	return Step{Name: name, Do: note("do "+name, do), Undo: note("undo "+name, undo)}
}

func TestRunInOrder(t *testing.T) {
	var e Engine
	var tr trace
	err := e.Run(t.Context(), Op{Verb: "Run"}, []Step{tr.step("a", nil, nil), {Name: "nothing"}, tr.step("b", nil, nil)})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"do a", "do b"}; !slices.Equal(tr.log, want) {
		t.Errorf("ran %v, want %v", tr.log, want)
	}
	if live := e.Live(); len(live) != 0 {
		t.Errorf("still live: %v", live)
	}
}

func TestFailureUndoesBackwards(t *testing.T) {
	var e Engine
	var tr trace
	cause, lost := errors.New("no room"), errors.New("busy")
	err := e.Run(t.Context(), Op{Verb: "RunPodSandbox", Object: "pod ns/name", ID: "1"}, []Step{
		tr.step("record", nil, nil), tr.step("namespaces", nil, lost), tr.step("cgroup", nil, nil), tr.step("network", cause, nil), tr.step("ready", nil, nil),
	})
	want := []string{"do record", "do namespaces", "do cgroup", "do network", "undo cgroup", "undo namespaces", "undo record"}
	if !slices.Equal(tr.log, want) {
		t.Errorf("ran %v, want %v", tr.log, want)
	}
	if !errors.Is(err, cause) || errors.Is(err, lost) {
		t.Errorf("chain of %v", err)
	}
	var failed *Error
	if !errors.As(err, &failed) || failed.Step != "network" || len(failed.Undo) != 1 || !errors.Is(failed.Undo[0], lost) {
		t.Fatalf("error %#v", err)
	}
	if got, want := err.Error(), "RunPodSandbox pod ns/name: network: no room; not undone: namespaces: busy"; got != want {
		t.Errorf("text %q, want %q", got, want)
	}
}

func TestCancelBetweenSteps(t *testing.T) {
	var e Engine
	var tr trace
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("the client went away")
	undone := errors.New("never ran")
	err := e.Run(ctx, Op{Verb: "Create"}, []Step{
		{Name: "layer", Do: func(context.Context) error { cancel(gone); return nil }, Undo: func(ctx context.Context) error { undone = ctx.Err(); return nil }},
		tr.step("record", nil, nil),
	})
	if !errors.Is(err, gone) || !strings.Contains(err.Error(), "record") {
		t.Errorf("error %v", err)
	}
	if undone != nil {
		t.Errorf("undo saw a context with %v", undone)
	}
	if len(tr.log) != 0 {
		t.Errorf("a step ran after the end: %v", tr.log)
	}
}

func TestDeadlineIsTheCause(t *testing.T) {
	var e Engine
	ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	<-ctx.Done()
	err := e.Run(ctx, Op{Verb: "Create"}, []Step{{Name: "image"}})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}

func TestUndoIsBounded(t *testing.T) {
	e := Engine{UndoTimeout: 10 * time.Millisecond}
	var tr trace
	err := e.Run(t.Context(), Op{Verb: "Create"}, []Step{
		{Name: "slow", Undo: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }},
		tr.step("bad", errors.New("x"), nil),
	})
	if errors.Is(err, context.DeadlineExceeded) {
		t.Error("the undo's deadline is taken for the cause")
	}
	if !strings.Contains(err.Error(), "not undone: slow: context deadline exceeded") {
		t.Errorf("error %v", err)
	}
}

func TestLive(t *testing.T) {
	var e Engine
	in, out := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	op := Op{Verb: "Create", Object: "container c", ID: "abc"}
	wg.Go(func() {
		_ = e.Run(t.Context(), op, []Step{
			{Name: "first", Undo: func(context.Context) error { in <- struct{}{}; <-out; return nil }},
			{Name: "second", Do: func(context.Context) error { in <- struct{}{}; <-out; return errors.New("x") }},
		})
	})
	<-in
	live := e.Live()
	if len(live) != 1 || live[0].Op != op || live[0].Step != "second" || live[0].Index != 1 || live[0].Steps != 2 || live[0].Undoing {
		t.Errorf("live %+v", live)
	}
	out <- struct{}{}
	<-in
	if live = e.Live(); len(live) != 1 || live[0].Step != "first" || !live[0].Undoing || live[0].For <= 0 {
		t.Errorf("live while undoing %+v", live)
	}
	out <- struct{}{}
	wg.Wait()
	if live = e.Live(); len(live) != 0 {
		t.Errorf("left over: %+v", live)
	}
}

func TestTimings(t *testing.T) {
	var e Engine
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				_ = e.Run(t.Context(), Op{Verb: "V"}, []Step{{Name: "ok", Do: func(context.Context) error { return nil }}, {Name: "bad", Do: func(context.Context) error { return errors.New("x") }}})
				_ = e.Live()
				_ = e.Timings()
			}
		})
	}
	wg.Wait()
	got := map[string]Timing{}
	for _, tm := range e.Timings() {
		got[tm.Step] = tm
		var n uint64
		for _, c := range tm.Counts {
			n += c
		}
		if n != tm.Count {
			t.Errorf("%s: buckets hold %d of %d", tm.Step, n, tm.Count)
		}
	}
	for step, want := range map[string][2]uint64{"": {400, 400}, "ok": {400, 0}, "bad": {400, 400}} {
		if got[step].Count != want[0] || got[step].Errors != want[1] {
			t.Errorf("%q: %d with %d errors, want %v", step, got[step].Count, got[step].Errors, want)
		}
	}
}

func TestBuckets(t *testing.T) {
	for i := range Buckets {
		bound := BucketBound(i)
		if i == Buckets-1 {
			if bound != 0 || bucket(time.Hour) != i {
				t.Errorf("last bucket: bound %v, an hour is in %d", bound, bucket(time.Hour))
			}
			continue
		}
		if bucket(bound-1) != i || bucket(bound) != i+1 {
			t.Errorf("bucket %d below %v: %d, at it %d", i, bound, bucket(bound-1), bucket(bound))
		}
	}
	if bucket(-1) != 0 {
		t.Error("a clock that went back has no bucket")
	}
}

func BenchmarkRun(b *testing.B) {
	var e Engine
	nop := func(context.Context) error { return nil }
	steps := []Step{{"a", nop, nop}, {"b", nop, nop}, {"c", nop, nop}, {"d", nop, nop}, {"e", nop, nop}}
	b.ReportAllocs()
	for b.Loop() {
		_ = e.Run(b.Context(), Op{Verb: "Bench"}, steps)
	}
}
