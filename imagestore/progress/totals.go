package progress

import (
	"maps"
	"slices"
	"time"
)

// Bounds are the upper bounds of Totals.Seconds in seconds; one more bucket
// counts what took longer.
var Bounds = [...]float64{0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600}

// Totals is what was counted since the beginning.
type Totals struct {
	Running  int
	Results  map[string]uint64 // pulls that ended, by "done", "unchanged" or the kind of the error
	Fetched  uint64            // bytes of layers' blobs, from the network
	Unpacked uint64            // bytes of layers' archives
	Retries  uint64            // requests that were made again
	Resumes  uint64            // transfers that were taken up where they broke
	Seconds  []uint64          // pulls that ended, in the buckets of Bounds; not cumulative
	Sum      float64           // seconds of all that ended
}

// totals is Totals of what ended; Pulls.mu guards it.
type totals struct {
	results                             map[string]uint64
	fetched, unpacked, retries, resumes int64
	seconds                             [len(Bounds) + 1]uint64
	sum                                 time.Duration
}

func (t *totals) add(w *Work) {
	t.fetched += w.fetched.Load() - w.kept.Load() + w.wasted.Load()
	t.unpacked += w.unpacked.Load()
	t.retries += w.retries.Load()
	t.resumes += w.resumes.Load()
}

func (t *totals) pull(s State, p *Pull) {
	took := s.Ended.Sub(s.Started)
	bucket, _ := slices.BinarySearch(Bounds[:], took.Seconds())
	t.seconds[bucket]++
	t.sum += took
	t.retries += p.retries.Load()
	t.resumes += p.resumes.Load()
	switch {
	case s.Stage == Failed:
		t.results[string(s.Kind)]++
	case s.Unchanged:
		t.results["unchanged"]++
	default:
		t.results["done"]++
	}
}

// Totals gives what was counted until now.
func (s *Pulls) Totals() Totals {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.ended
	for w := range s.working {
		t.add(w)
	}
	for _, p := range s.running {
		t.retries += p.retries.Load()
		t.resumes += p.resumes.Load()
	}
	return Totals{
		Running: len(s.running), Results: maps.Clone(t.results),
		Fetched: uint64(max(0, t.fetched)), Unpacked: uint64(t.unpacked), Retries: uint64(t.retries), Resumes: uint64(t.resumes),
		Seconds: t.seconds[:], Sum: t.sum.Seconds(),
	}
}
