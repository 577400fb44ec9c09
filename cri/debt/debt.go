package debt

import (
	"context"
	"sync"
	"time"

	"k8s.io/klog/v2"
)

// Book is the list of what is owed and that nobody else works on. Set Pay
// before the first Owe; it tries one debt once, within a minute.
type Book struct {
	Pay func(ctx context.Context, id string) error

	mu      sync.Mutex
	ids     map[string]struct{} // guarded by mu
	working bool                // guarded by mu
}

const (
	firstRetry = time.Second
	lastRetry  = 5 * time.Minute
)

// Owe notes one debt more; it is tried after a second, and then ever more
// seldom until it is paid. An id that is on the list stays there once.
func (d *Book) Owe(id string) {
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
func (d *Book) work() {
	wait := firstRetry
	for {
		time.Sleep(wait)
		wait = min(2*wait, lastRetry)
		for _, id := range d.open() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			err := d.Pay(ctx, id)
			cancel()
			if err != nil {
				klog.ErrorS(err, "Network detach is tried again later", "podID", id, "in", wait)
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

func (d *Book) open() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	ids := make([]string, 0, len(d.ids))
	for id := range d.ids {
		ids = append(ids, id)
	}
	return ids
}
