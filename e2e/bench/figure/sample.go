package figure

import (
	"slices"
	"sync"
	"time"
)

// Sample collects values of one thing. It may be used from many goroutines.
type Sample struct {
	mu     sync.Mutex
	values []float64
}

// Add adds one value.
func (s *Sample) Add(v float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.values = append(s.values, v)
}

// AddTime adds a duration as milliseconds.
func (s *Sample) AddTime(d time.Duration) { s.Add(float64(d) / float64(time.Millisecond)) }

// Stat is what is told of a sample.
type Stat struct {
	N      int     `json:"n"`
	Median float64 `json:"median"`
	P90    float64 `json:"p90"`
	Min    float64 `json:"min"`
}

// Stat sums the sample up.
func (s *Sample) Stat() Stat {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.values) == 0 {
		return Stat{}
	}
	sorted := slices.Sorted(slices.Values(s.values))
	n := len(sorted)
	return Stat{N: n, Median: (sorted[(n-1)/2] + sorted[n/2]) / 2, P90: sorted[(n*9+9)/10-1], Min: sorted[0]}
}

// One is the Stat of a value that was measured once or worked out.
func One(v float64) Stat { return Stat{N: 1, Median: v, P90: v, Min: v} }

// Samples are samples by name, made when they are first asked for.
type Samples struct {
	mu     sync.Mutex
	byName map[string]*Sample
}

// Of returns the sample of a name.
func (s *Samples) Of(name string) *Sample {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byName == nil {
		s.byName = map[string]*Sample{}
	}
	if s.byName[name] == nil {
		s.byName[name] = &Sample{}
	}
	return s.byName[name]
}

// Stat sums up the sample of a name; N is 0 when there is none.
func (s *Samples) Stat(name string) Stat { return s.Of(name).Stat() }
