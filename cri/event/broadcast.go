package event

import (
	"sync"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Backlog is how many events a subscriber may be behind before it is cut off:
// the kubelet then lists anew, which is cheaper than an unbounded queue.
const Backlog = 1024

// Broadcast hands events to whoever listens. The zero Broadcast is ready. With no listener it costs one
// lock and makes no event.
type Broadcast struct {
	mu   sync.Mutex
	subs map[chan *runtimeapi.ContainerEventResponse]struct{} // guarded by mu
}

// Subscribe begins to listen. The channel is closed when the subscriber falls
// too far behind.
func (b *Broadcast) Subscribe() chan *runtimeapi.ContainerEventResponse {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.subs == nil {
		b.subs = map[chan *runtimeapi.ContainerEventResponse]struct{}{}
	}
	ch := make(chan *runtimeapi.ContainerEventResponse, Backlog)
	b.subs[ch] = struct{}{}
	return ch
}

// Leave ends a subscription; one that has been closed is fine.
func (b *Broadcast) Leave(ch chan *runtimeapi.ContainerEventResponse) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.subs, ch)
}

// Idle says that nobody listens.
func (b *Broadcast) Idle() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.subs) == 0
}

// Send hands e to every subscriber, without waiting for any.
func (b *Broadcast) Send(e *runtimeapi.ContainerEventResponse) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for ch := range b.subs {
		select {
		case ch <- e:
		default:
			delete(b.subs, ch)
			close(ch)
		}
	}
}
