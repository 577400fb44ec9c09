package server

import (
	"context"
	"sync"
	"time"

	"k8s.io/klog/v2"
)

// debts are network detaches that were refused, to be tried until they
// succeed. What is owed is on disk (cri/network); this is only the list of
// those that nobody else works on.
type debts struct {
	pay func(ctx context.Context, id string) error

	mu      sync.Mutex
	ids     map[string]struct{} // guarded by mu
	working bool                // guarded by mu
}

const (
	firstRetry = time.Second
	lastRetry  = 5 * time.Minute
)

func (d *debts) owe(id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ids == nil {
		d.ids = map[string]struct{}{}
	}
	d.ids[id] = struct{}{}
	if !d.working {
		d.working = true
		go d.work()
	}
}

// work tries all debts again and again, ever more seldom, and ends when there
// is none.
func (d *debts) work() {
	wait := firstRetry
	for {
		time.Sleep(wait)
		wait = min(2*wait, lastRetry)
		for _, id := range d.open() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			err := d.pay(ctx, id)
			cancel()
			if err != nil {
				klog.ErrorS(err, "Network detach is tried again later", "pod", id, "in", wait)
				continue
			}
			d.mu.Lock()
			delete(d.ids, id)
			d.mu.Unlock()
		}
		d.mu.Lock()
		if len(d.ids) == 0 {
			d.working = false
			d.mu.Unlock()
			return
		}
		d.mu.Unlock()
	}
}

func (d *debts) open() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	ids := make([]string, 0, len(d.ids))
	for id := range d.ids {
		ids = append(ids, id)
	}
	return ids
}

// payDebt detaches a pod; one that still exists under its own lock.
func (s *Server) payDebt(ctx context.Context, id string) error {
	p, err := s.lockPod(ctx, id)
	switch {
	case err == nil:
		defer p.lock.release()
	case !isNotFound(err):
		return err
	}
	return s.net.Detach(ctx, id)
}
