package flight

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
)

func TestOneRunForManyCallers(t *testing.T) {
	var g Group[int]
	var runs atomic.Int32
	enter, release := make(chan struct{}), make(chan struct{})
	fn := func(context.Context) (int, error) {
		runs.Add(1)
		close(enter)
		<-release
		return 7, nil
	}
	var wg sync.WaitGroup
	var joined atomic.Int32
	call := func() {
		defer wg.Done()
		v, shared, err := g.Do(t.Context(), "k", fn)
		if v != 7 || err != nil {
			t.Errorf("Do: %d, %v", v, err)
		}
		if shared {
			joined.Add(1)
		}
	}
	wg.Add(1)
	go call()
	<-enter
	for range 9 {
		w, shared := g.join(t.Context(), "k", fn)
		if !shared {
			t.Error("a second run began")
		}
		defer g.leave("k", w)
	}
	if n := g.Callers(); n != 10 {
		t.Errorf("%d callers", n)
	}
	close(release)
	wg.Wait()
	g.Wait()
	if n := g.Callers(); n != 0 {
		t.Errorf("%d callers of nothing", n)
	}
	if runs.Load() != 1 {
		t.Errorf("%d runs", runs.Load())
	}
}

func TestCancelOfOneIsNotCancelOfAll(t *testing.T) {
	var g Group[string]
	enter, release := make(chan struct{}), make(chan struct{})
	fn := func(ctx context.Context) (string, error) {
		close(enter)
		select {
		case <-release:
			return "done", nil
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
	first, cancel := context.WithCancel(t.Context())
	errs := make(chan error, 1)
	go func() { _, _, err := g.Do(first, "k", fn); errs <- err }()
	<-enter
	second := make(chan string, 1)
	w, _ := g.join(t.Context(), "k", fn)
	go func() { <-w.done; second <- w.value }()
	cancel()
	if err := <-errs; !errors.Is(err, context.Canceled) {
		t.Errorf("first caller: %v", err)
	}
	close(release)
	if v := <-second; v != "done" {
		t.Errorf("second caller got %q", v)
	}
}

func TestLastCallerCancels(t *testing.T) {
	var g Group[int]
	enter := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		<-enter
		cancel()
	}()
	_, _, err := g.Do(ctx, "k", func(ctx context.Context) (int, error) {
		close(enter)
		<-ctx.Done()
		ended <- ctx.Err()
		return 0, ctx.Err()
	})
	if !errors.Is(err, context.Canceled) || !errors.Is(<-ended, context.Canceled) {
		t.Errorf("Do: %v", err)
	}
	v, shared, err := g.Do(t.Context(), "k", func(context.Context) (int, error) { return 3, nil })
	if v != 3 || shared || err != nil {
		t.Errorf("the next caller joined the cancelled work: %d %v %v", v, shared, err)
	}
	g.Wait()
}
