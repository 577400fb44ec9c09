package stats

import (
	"sync"
	"time"
)

const (
	// maxAge is how old a slow measurement may be before it is made again.
	maxAge = 10 * time.Second
	// rests is how many times as long as it took a measurement is left as it is: a large
	// layer costs a tenth of a core and of a disk at most.
	rests = 9
	// maxRest bounds that: the kubelet decides by these sizes whom to evict.
	maxRest = 5 * time.Minute
	// patience is how long a request waits for first measurements, so that the first
	// answer is a true one wherever a layer is small.
	patience = 100 * time.Millisecond
	// walkers is how many measurements run at a time, so that one of a large layer does
	// not keep the others waiting. The disk serves the containers first.
	walkers = 2
)

// slow is what cannot be measured while a request waits: T as last measured.
type slow[T any] struct {
	mu      sync.Mutex
	last    T             // guarded by mu
	at      time.Time     // guarded by mu; zero before the first measurement
	took    time.Duration // guarded by mu
	pending chan struct{} // guarded by mu; closed when the measurement that runs has ended
}

// queue bounds how many measurements run at a time.
type queue chan struct{}

// begin has it measured, unless that was done lately. What it returns is closed when
// that has ended; nil when there is nothing to wait for.
func (s *slow[T]) begin(q queue, measure func() (T, error)) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.at.IsZero() && time.Since(s.at) < max(maxAge, min(rests*s.took, maxRest)) {
		return nil
	}
	if s.pending == nil {
		s.pending = make(chan struct{})
		go s.run(q, measure)
	}
	return s.pending
}

func (s *slow[T]) run(q queue, measure func() (T, error)) {
	q <- struct{}{}
	begun := time.Now()
	v, err := measure()
	<-q
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil { // else it is being removed, or the next request tries again
		s.last, s.at, s.took = v, time.Now(), time.Since(begun)
	}
	close(s.pending)
	s.pending = nil
}

// get is the last measurement and when it ended; false before the first one.
func (s *slow[T]) get() (v T, at time.Time, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last, s.at, !s.at.IsZero()
}

// await waits for a measurement, but not after the deadline.
func await(done <-chan struct{}, deadline time.Time) {
	if done == nil {
		return
	}
	t := time.NewTimer(time.Until(deadline))
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
	}
}
