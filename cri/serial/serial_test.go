package serial

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
)

func TestLockHonoursTheDeadline(t *testing.T) {
	l := NewLock()
	if err := l.Acquire(t.Context(), "pod p"); err != nil {
		t.Fatal(err)
	}
	gone := errors.New("the client has gone")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(gone)
	if err := l.Acquire(ctx, "pod p"); !errors.Is(err, gone) || !strings.Contains(err.Error(), "pod p") {
		t.Errorf("a lock that is held: %v", err)
	}
	l.Release()
	if err := l.Acquire(ctx, "pod p"); err != nil {
		t.Errorf("a lock that is free: %v", err)
	}
}

func TestJointSharesOneRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j Joint
		var runs int
		hold := make(chan struct{})
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				id, err := j.Do(t.Context(), "k", func() (string, error) {
					runs++
					<-hold
					return "id", nil
				})
				if id != "id" || err != nil {
					t.Errorf("got %q, %v", id, err)
				}
			})
		}
		synctest.Wait()
		close(hold)
		wg.Wait()
		if runs != 1 {
			t.Errorf("%d runs", runs)
		}
	})
}

// Whoever joined a run whose own caller has left runs it for itself.
func TestJointOutlivesItsFirstCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j Joint
		hold := make(chan struct{})
		go func() {
			_, _ = j.Do(t.Context(), "k", func() (string, error) {
				<-hold
				return "", context.Canceled
			})
		}()
		synctest.Wait()
		got := make(chan string)
		go func() {
			id, err := j.Do(t.Context(), "k", func() (string, error) { return "second", nil })
			if err != nil {
				t.Error(err)
			}
			got <- id
		}()
		synctest.Wait()
		close(hold)
		if id := <-got; id != "second" {
			t.Errorf("got %q", id)
		}
	})
}

func TestJointAfterAPanic(t *testing.T) {
	var j Joint
	func() {
		defer func() { _ = recover() }()
		_, _ = j.Do(t.Context(), "k", func() (string, error) { panic("x") })
	}()
	if id, err := j.Do(t.Context(), "k", func() (string, error) { return "id", nil }); id != "id" || err != nil {
		t.Errorf("got %q, %v", id, err)
	}
}
