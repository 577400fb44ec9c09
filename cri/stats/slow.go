package stats

import (
	"sync"
	"time"
)

const (
	// maxAge is how old a slow measurement may be before it is made again.
	maxAge = 10 * time.Second
	// patience is how long a request waits for first measurements, so that the first
	// answer is a true one wherever a layer is small.
	patience = 100 * time.Millisecond
	// briefly is what a measurement may take without a rest after it.
	briefly = 5 * time.Millisecond
	// rests is how many times as long as a measurement the rest after it is, so that
	// large layers cost a tenth of a core and of a disk, however many there are.
	rests = 9
)

// slow is what cannot be measured while a request waits: T as last measured.
type slow[T any] struct {
	mu      sync.Mutex
	last    T             // guarded by mu
	at      time.Time     // guarded by mu; zero before the first measurement
	pending chan struct{} // guarded by mu; closed when the measurement that runs has ended
}

// queue has one measurement run at a time: the disk serves the containers first.
type queue chan struct{}

// begin has it measured, unless that was done just now. What it returns is closed
// when that has ended; nil when there is nothing to wait for.
func (s *slow[T]) begin(q queue, measure func() (T, error)) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.at.IsZero() && time.Since(s.at) < maxAge {
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
	now := time.Now()
	s.mu.Lock()
	if err == nil { // else it is being removed, or the next request tries again
		s.last, s.at = v, now
	}
	close(s.pending)
	s.pending = nil
	s.mu.Unlock()
	if took := now.Sub(begun); took > briefly {
		time.Sleep(rests * took)
	}
	<-q
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
