package flight

import (
	"context"
	"sync"
)

// Lock is a mutex for each key, whose waiters can give up. The zero value is ready.
type Lock struct {
	mu   sync.Mutex
	held map[string]chan struct{} // closed when the holder lets go
}

// Acquire waits until no one else holds key. release must be called once.
func (l *Lock) Acquire(ctx context.Context, key string) (release func(), err error) {
	for {
		l.mu.Lock()
		wait, taken := l.held[key]
		if !taken {
			if l.held == nil {
				l.held = map[string]chan struct{}{}
			}
			mine := make(chan struct{})
			l.held[key] = mine
			l.mu.Unlock()
			return func() {
				l.mu.Lock()
				delete(l.held, key)
				l.mu.Unlock()
				close(mine)
			}, nil
		}
		l.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}
