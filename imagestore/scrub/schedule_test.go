package scrub

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// worked counts a schedule's work.
type worked struct {
	checks, repairs int
	left            bool
	at              time.Time
	told            []string
}

func (w *worked) work() Work {
	return Work{
		Check:  func(context.Context) error { w.checks++; w.at = time.Now(); return errors.New("unreadable") },
		Repair: func(context.Context) bool { w.repairs++; return w.left },
		Report: func(m string) { w.told = append(w.told, m) },
		Now:    time.Now,
	}
}

func TestSchedule(t *testing.T) {
	yesterday := `"finished":"1999-12-31T00:00:00Z"`
	for name, c := range map[string]struct {
		state string // of the file; the clock begins at 2000-01-01
		first time.Duration
	}{
		"a new store":            {"", first},
		"closed":                 {`{"boot":"other","closed":true,` + yesterday + `}`, every - 24*time.Hour + first},
		"killed":                 {`{"boot":"` + bootID() + `","closed":false,` + yesterday + `}`, every - 24*time.Hour + first},
		"power cut":              {`{"boot":"other","closed":false,` + yesterday + `}`, unclean},
		"power cut at the write": {``, first},
		"half a file":            {`{"boot":`, unclean},
		"the clock went back":    {`{"boot":"other","closed":true,"finished":"2031-01-01T00:00:00Z"}`, first},
		"long ago":               {`{"boot":"other","closed":true,"finished":"1970-01-01T00:00:00Z"}`, first},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				if c.state != "" {
					if err := os.WriteFile(filepath.Join(dir, stateName), []byte(c.state), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				w := &worked{}
				begun := time.Now()
				s := New(dir, w.work())
				ctx, cancel := context.WithCancel(t.Context())
				s.Start(ctx)
				time.Sleep(every + time.Hour)
				synctest.Wait()
				took := w.at.Sub(begun)
				if w.checks == 2 {
					took -= every
				}
				if w.checks == 0 || took < c.first-first || took > c.first+first {
					t.Errorf("%d checks, the first after %v, want %v", w.checks, took, c.first)
				}
				if !strings.Contains(strings.Join(w.told, " "), "unreadable") {
					t.Errorf("told %q", w.told)
				}
				cancel()
				s.Close()
				if again := New(dir, w.work()); again.Unclean() || again.state.Finished.IsZero() {
					t.Errorf("after Close: %+v", again.state)
				}
			})
		})
	}
}

// What could not be repaired is tried again long before the next check.
func TestRepairs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &worked{left: true}
		s := New(t.TempDir(), w.work())
		ctx, cancel := context.WithCancel(t.Context())
		s.Start(ctx)
		time.Sleep(first + 10*retry + time.Minute)
		synctest.Wait()
		if w.checks != 1 || w.repairs < 10 {
			t.Errorf("%d checks and %d repairs", w.checks, w.repairs)
		}
		cancel()
		s.Close()
	})
}

func TestPacer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		p := NewPacer(t.Context(), 1<<20)
		for range 64 {
			if err := p.Wait(256 << 10); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(begun); took < 15900*time.Millisecond || took > 16100*time.Millisecond {
			t.Errorf("16 MiB at 1 MiB/s took %v", took)
		}
		ctx, cancel := context.WithCancel(t.Context())
		for _, rate := range []int64{0, 1} {
			if p := NewPacer(ctx, rate); rate == 0 && p.Wait(1<<40) != nil {
				t.Error("no rate is a bound")
			}
		}
		cancel()
		for _, rate := range []int64{0, 1} {
			if err := NewPacer(ctx, rate).Wait(1); !errors.Is(err, context.Canceled) {
				t.Errorf("rate %d: %v", rate, err)
			}
		}
	})
}
