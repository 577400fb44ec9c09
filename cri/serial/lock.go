package serial

import "context"

// Lock excludes the operations of one object from each other. Waiting for it
// honours the caller's deadline, which a sync.Mutex cannot. Make it with NewLock.
type Lock chan struct{}

// NewLock returns a lock that nobody holds.
func NewLock() Lock { return make(Lock, 1) }

// Acquire waits for the lock; the error is the cause of the context's end.
func (l Lock) Acquire(ctx context.Context) error {
	select {
	case l <- struct{}{}:
		return nil
	default:
	}
	select {
	case l <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Release gives the lock to whoever waits for it.
func (l Lock) Release() { <-l }
