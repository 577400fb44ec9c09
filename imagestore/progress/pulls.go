package progress

import (
	"slices"
	"sync"
	"time"
)

// Kept is how many pulls that ended are remembered.
const Kept = 32

// Pulls is all pulls of a store: those that run, and the last that ended. Make it
// with New.
type Pulls struct {
	mu        sync.Mutex // no system call is made under it
	serial    uint64
	running   []*Pull // oldest first
	recent    []State // oldest first
	transfers map[string]*transfer
	working   map[*Work]bool
	watches   map[*Watch]bool
	ended     totals
}

// New gives an empty list.
func New() *Pulls {
	return &Pulls{
		transfers: map[string]*transfer{}, working: map[*Work]bool{}, watches: map[*Watch]bool{},
		ended: totals{results: map[string]uint64{}},
	}
}

// Begin adds a pull; its End must be called.
func (s *Pulls) Begin(reference, platform string) *Pull {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serial++
	p := &Pull{pulls: s, state: State{
		ID: name(s.serial), Reference: reference, Platform: platform, Started: time.Now(), Stage: Resolving,
	}}
	s.running = append(s.running, p)
	for w := range s.watches {
		w.addLocked(p)
	}
	return p
}

// List gives the pulls that run, oldest first, after those that ended.
func (s *Pulls) List() []State {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	all := slices.Clone(s.recent)
	for _, p := range s.running {
		all = append(all, p.snapshotLocked(now))
	}
	return all
}

func (s *Pulls) endLocked(p *Pull, now time.Time) {
	if i := slices.Index(s.running, p); i >= 0 {
		s.running = slices.Delete(s.running, i, i+1)
	}
	if len(s.recent) == Kept {
		s.recent = slices.Delete(s.recent, 0, 1)
	}
	final := p.snapshotLocked(now)
	s.recent = append(s.recent, final)
	s.ended.pull(final, p)
	s.changedLocked(p, true)
}

// touchLocked tells who waits for a transfer that its stage changed.
func (s *Pulls) touchLocked(t *transfer) {
	for p := range t.users {
		s.changedLocked(p, false)
	}
}

// changedLocked tells the watches of p.
func (s *Pulls) changedLocked(p *Pull, urgent bool) {
	for w := range s.watches {
		w.changedLocked(p, urgent)
	}
}
