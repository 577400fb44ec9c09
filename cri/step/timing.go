package step

import (
	"cmp"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Buckets is the number of buckets of a timing: bucket i counts durations
// below 2^i * 16 microseconds, the last one everything above.
const Buckets = 22

// BucketBound returns the upper bound of bucket i; the last bucket has none
// and returns 0.
func BucketBound(i int) time.Duration {
	if i >= Buckets-1 {
		return 0
	}
	return 16 * time.Microsecond << i
}

// Timing is how long one step has taken so far. Step is empty for the whole
// operation and begins with "undo " for an undoing.
type Timing struct {
	Verb, Step string
	Count      uint64
	Errors     uint64
	Sum        time.Duration
	Max        time.Duration
	Counts     [Buckets]uint64 // not cumulative
}

type key struct{ verb, step string }

// histogram is counted without a lock; a reader may see a count a moment
// before the sum that belongs to it.
type histogram struct {
	count, errors, sum, max atomic.Uint64
	counts                  [Buckets]atomic.Uint64
}

// timings maps steps to histograms. The names of steps are few and fixed, so
// the map is copied when a new one comes and read without a lock for ever after.
type timings struct {
	mu    sync.Mutex // serialises writers of the map
	table atomic.Pointer[map[key]*histogram]
}

func (t *timings) observe(k key, d time.Duration, failed bool) {
	h := t.get(k)
	ns := uint64(max(d, 0))
	h.count.Add(1)
	h.sum.Add(ns)
	if failed {
		h.errors.Add(1)
	}
	for {
		old := h.max.Load()
		if ns <= old || h.max.CompareAndSwap(old, ns) {
			break
		}
	}
	h.counts[bucket(d)].Add(1)
}

func (t *timings) get(k key) *histogram {
	if table := t.table.Load(); table != nil {
		if h := (*table)[k]; h != nil {
			return h
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	grown := map[key]*histogram{}
	if table := t.table.Load(); table != nil {
		if h := (*table)[k]; h != nil {
			return h
		}
		for k, h := range *table {
			grown[k] = h
		}
	}
	h := &histogram{}
	grown[k] = h
	t.table.Store(&grown)
	return h
}

// bucket returns the number of the bucket that counts d.
func bucket(d time.Duration) int {
	units := uint64(max(d, 0)) / uint64(16*time.Microsecond)
	return min(bits.Len64(units), Buckets-1)
}

// Timings returns what has been counted, by verb and step.
func (e *Engine) Timings() []Timing {
	table := e.timings.table.Load()
	if table == nil {
		return nil
	}
	out := make([]Timing, 0, len(*table))
	for k, h := range *table {
		t := Timing{
			Verb: k.verb, Step: k.step, Count: h.count.Load(), Errors: h.errors.Load(),
			Sum: time.Duration(h.sum.Load()), Max: time.Duration(h.max.Load()),
		}
		for i := range t.Counts {
			t.Counts[i] = h.counts[i].Load()
		}
		out = append(out, t)
	}
	slices.SortFunc(out, func(a, b Timing) int {
		return cmp.Or(cmp.Compare(a.Verb, b.Verb), cmp.Compare(a.Step, b.Step))
	})
	return out
}
