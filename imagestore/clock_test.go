package imagestore

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

// clock is a machine's clock that jumps.
type clock struct{ at atomic.Int64 }

func (c *clock) now() time.Time    { return time.Unix(c.at.Load(), 0) }
func (c *clock) set(year int)      { c.at.Store(time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC).Unix()) }
func (c *clock) ticks(cfg *Config) { cfg.now = c.now }
func (c *clock) keeps(cfg *Config) { cfg.now, cfg.LooseLayers = c.now, 10*time.Minute }
func looseLayers(s *Store) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.looseLocked("", -1<<62))
}
func layersOf(s *Store) int { return len(s.db.Snapshot().Layers) }
func sweeps(s *Store)       { s.sweepLoose(); s.background.Wait() }
func failing(blob digest.Digest) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, q *http.Request) bool {
		if strings.Contains(q.URL.Path, blob.String()) {
			w.WriteHeader(http.StatusNotFound)
			return true
		}
		return false
	}
}

// containerd#9459, #10842: a machine that starts in 1970, and finds out the time later
// or never, pulls, keeps, starts and removes like any other.
func TestClockStandsIn1970(t *testing.T) {
	eachFormat(t, func(t *testing.T, format string) {
		var c clock // at 0, and it does not even tick
		r := newRemote(t)
		r.push("app:v1", picture{format: "gzip", layers: [][]byte{tarOf(t, "a"), tarOf(t, "b")}})
		s := open(t, c.ticks, func(cfg *Config) { cfg.Format = format })
		image := pulled(t, s, r.host()+"/app:v1")
		if !image.Pulled.Equal(time.Unix(0, 0)) {
			t.Errorf("pulled at %v", image.Pulled)
		}
		if err := s.CreateRW("c", image.ID); err != nil {
			t.Fatal(err)
		}
		for _, year := range []int{1970, 2026, 1970, 2038, 1971} {
			c.set(year)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = open(t, c.ticks, func(cfg *Config) { cfg.Root = s.cfg.Root })
			sweeps(s)
			f, err := s.MountRW("c")
			if got := inMount(t, f, err, "b"); got != "b" || len(s.List()) != 1 {
				t.Fatalf("in %d: %q, images %+v", year, got, s.List())
			}
			if again := pulled(t, s, r.host()+"/app:v1"); again.ID != image.ID || r.count("/blobs/") != 3 {
				t.Errorf("in %d: %d blobs", year, r.count("/blobs/"))
			}
			clean(t, s)
		}
		if err := s.Remove(t.Context(), image.ID); err != nil {
			t.Error(err)
		}
		if err := s.RemoveRW("c"); err != nil {
			t.Error(err)
		}
		waitFor(t, func() bool { return layersOf(s) == 0 })
		clean(t, s)
	})
}

// Layers of a pull that failed are kept for the next try, for a while that no jump of
// the clock makes endless; what an image has stays whatever the clock says.
func TestClockJumps(t *testing.T) {
	for name, years := range map[string][2]int{"back": {2026, 1990}, "forth": {1970, 2026}} {
		t.Run(name, func(t *testing.T) {
			var c clock
			c.set(years[0])
			r := newRemote(t)
			lost := tarOf(t, "lost")
			r.push("app:v1", picture{format: "gzip", layers: [][]byte{tarOf(t, "a"), lost}})
			r.push("kept:v1", picture{format: "gzip", layers: [][]byte{tarOf(t, "kept")}})
			s := open(t, c.keeps, func(cfg *Config) { cfg.ParallelLayers = 1 })
			kept := pulled(t, s, r.host()+"/kept:v1")
			r.breaks(failing(digest.FromBytes(squeeze(t, "gzip", lost))))
			for try := 0; layersOf(s) < 2 && try < 50; try++ { // until the good layer came first
				if _, err := s.Pull(t.Context(), r.host()+"/app:v1", PullOptions{}); kind(err) != NotFound {
					t.Fatal(err)
				}
				s.layers.Wait()
			}
			sweeps(s)
			if layersOf(s) != 2 || looseLayers(s) != 1 {
				t.Fatalf("%d layers, %d loose: the next try has nothing of this one", layersOf(s), looseLayers(s))
			}
			c.set(years[1])
			sweeps(s)
			if layersOf(s) != 1 || len(s.List()) != 1 || s.List()[0].ID != kept.ID {
				t.Errorf("after the jump: %d layers, images %+v", layersOf(s), s.List())
			}
			clean(t, s)
			r.breaks(nil)
			pulled(t, s, r.host()+"/app:v1")
			clean(t, s)
		})
	}
}
