package serial

import (
	"context"
	"errors"
	"testing"
)

func TestLockHonoursTheDeadline(t *testing.T) {
	l := NewLock()
	if err := l.Acquire(t.Context()); err != nil {
		t.Fatal(err)
	}
	gone := errors.New("the client has gone")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(gone)
	if err := l.Acquire(ctx); !errors.Is(err, gone) {
		t.Errorf("a lock that is held: %v", err)
	}
	l.Release()
	if err := l.Acquire(ctx); err != nil {
		t.Errorf("a lock that is free: %v", err)
	}
}
