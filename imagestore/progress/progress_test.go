package progress

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/varve-cri/varve/imagestore/fault"
)

// made makes layer i of p from a blob that is its own archive.
func made(ctx context.Context, p *Pull, i int, key, content string) error {
	ctx, leave := p.Join(ctx, i, key)
	ctx, w := Begin(ctx)
	blob := w.Fetching(io.NopCloser(strings.NewReader(content)))
	n, err := io.Copy(io.Discard, w.Unpacking(blob))
	w.Unpacked(n)
	Of(ctx).Stage(LayerSyncing)
	w.End(err)
	leave(err)
	return err
}

func TestLifeOfAPull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New()
		p := s.Begin("registry.test/a:1", "linux/arm64")
		if got := p.State(); got.Stage != Resolving || got.Reference != "registry.test/a:1" || got.Platform != "linux/arm64" || len(got.Layers) != 0 {
			t.Errorf("at the beginning: %+v", got)
		}
		p.Stage(Config)
		Retried(p.Context(t.Context()), errors.New("502"))
		p.Layers([]Blob{{"sha256:a", 5}, {"sha256:b", 3}})
		ctx, leave := p.Join(t.Context(), 0, "a")
		ctx, w := Begin(ctx)
		if got := p.State(); got.Stage != Layers || got.Total != 8 || got.Layers[0].Stage != LayerWaiting {
			t.Errorf("at its layers: %+v", got)
		}
		r := w.Unpacking(w.Fetching(io.NopCloser(strings.NewReader("hello"))))
		_, _ = io.ReadFull(r, make([]byte, 4))
		Resumed(ctx, errors.New("reset"))
		if got := p.State(); got.Trouble != "502" || got.Layers[0].Trouble != "reset" || got.Fetched != 4 || got.Layers[0].Stage != LayerFetching || got.Layers[0].Unpacked != 4 || got.Resumes != 1 || got.Retries != 1 {
			t.Errorf("half-way: %+v", got)
		}
		_, _ = io.ReadAll(r)
		if got := p.State().Layers[0].Stage; got != LayerUnpacking {
			t.Errorf("after the blob's end: %s", got)
		}
		w.Stage(LayerSyncing)
		w.End(nil)
		leave(nil)
		if err := made(t.Context(), p, 1, "b", "abc"); err != nil {
			t.Fatal(err)
		}
		p.Stage(Commit)
		p.End("sha256:image", nil)
		p.End("", errors.New("an end is the end"))
		p.Stage(Layers)
		all := s.List()
		if len(all) != 1 || all[0].Stage != Done || all[0].Image != "sha256:image" || all[0].Fetched != 8 || all[0].Ended == nil || all[0].Rate != 0 {
			t.Errorf("at the end: %+v", all)
		}
		for _, l := range all[0].Layers {
			if l.Stage != LayerDone || l.Fetched != l.Total || l.Shared {
				t.Errorf("layer at the end: %+v", l)
			}
		}
		if len(s.transfers) != 0 || len(s.working) != 0 || len(s.running) != 0 {
			t.Errorf("left: %v %v %v", s.transfers, s.working, s.running)
		}
		got := s.Totals()
		if got.Results["done"] != 1 || got.Fetched != 8 || got.Unpacked != 8 || got.Retries != 1 || got.Resumes != 1 || got.Running != 0 || got.Seconds[0] != 1 {
			t.Errorf("totals: %+v", got)
		}
	})
}

func TestFailureNamesItsKind(t *testing.T) {
	s := New()
	p := s.Begin("a", "")
	p.Layers([]Blob{{"sha256:a", 5}})
	ctx, leave := p.Join(t.Context(), 0, "a")
	_, w := Begin(ctx)
	err := fault.New(fault.NotFound, "fetch blob", errors.New("404"))
	w.End(err)
	leave(err)
	p.End("", err)
	got := s.List()[0]
	if got.Stage != Failed || got.Kind != fault.NotFound || got.Error != "fetch blob: 404" || got.Layers[0].Stage != LayerFailed {
		t.Errorf("%+v", got)
	}
	if n := s.Totals().Results["not found"]; n != 1 {
		t.Errorf("counted %d times", n)
	}
}

// Two pulls of one layer see the same bytes, and the second says that they are
// another's.
func TestSharedLayer(t *testing.T) {
	s := New()
	a, b := s.Begin("a", ""), s.Begin("b", "")
	a.Layers([]Blob{{"sha256:x", 4}})
	b.Layers([]Blob{{"sha256:x", 4}})
	ctx, leaveA := a.Join(t.Context(), 0, "x")
	_, w := Begin(ctx)
	_, leaveB := b.Join(t.Context(), 0, "x")
	// A layer that needs this one joins it again, which changes nothing.
	_, again := a.Join(t.Context(), 0, "x")
	_, _ = io.ReadFull(w.Fetching(io.NopCloser(strings.NewReader("four"))), make([]byte, 3))
	for _, p := range []*Pull{a, b} {
		got := p.State().Layers[0]
		if got.Fetched != 3 || got.Stage != LayerFetching || got.Shared != (p == b) {
			t.Errorf("%s: %+v", p.ID(), got)
		}
	}
	again(nil)
	w.End(nil)
	leaveA(nil)
	leaveB(nil)
	if got := s.Totals().Fetched; got != 3 {
		t.Errorf("the bytes are counted as %d", got)
	}
	if len(s.transfers) != 0 {
		t.Errorf("left: %v", s.transfers)
	}
}

// An attempt after one that was given up begins at nothing, and who still reads
// for the old one does not count for the new.
func TestNewAttempt(t *testing.T) {
	s := New()
	p := s.Begin("a", "")
	p.Layers([]Blob{{"sha256:x", 4}})
	ctx, leave := p.Join(t.Context(), 0, "x")
	_, old := Begin(ctx)
	late := old.Fetching(io.NopCloser(strings.NewReader("four")))
	_, _ = io.ReadFull(late, make([]byte, 2))
	_, _ = Begin(ctx)
	_, _ = io.ReadAll(late)
	if got := p.State().Layers[0]; got.Fetched != 0 || got.Stage != LayerWaiting {
		t.Errorf("%+v", got)
	}
	leave(nil)
}

// A blob that is fetched again from another host begins at nothing; what came for
// nothing counts in the totals.
func TestBlobAgain(t *testing.T) {
	s := New()
	p := s.Begin("a", "")
	p.Layers([]Blob{{"sha256:x", 4}})
	ctx, leave := p.Join(t.Context(), 0, "x")
	_, w := Begin(ctx)
	for range 2 {
		if _, err := io.Copy(io.Discard, w.Unpacking(w.Fetching(io.NopCloser(strings.NewReader("four"))))); err != nil {
			t.Fatal(err)
		}
	}
	if got := p.State().Layers[0]; got.Fetched != 4 || got.Unpacked != 4 {
		t.Errorf("%+v", got)
	}
	w.Kept(3)
	if got := p.State(); got.Kept != 3 || got.Layers[0].Kept != 3 {
		t.Errorf("%+v", got)
	}
	if got := s.Totals().Fetched; got != 5 {
		t.Errorf("%d bytes from the network", got)
	}
	w.Fetching(io.NopCloser(strings.NewReader("four")))
	if got := p.State().Layers[0]; got.Fetched != 0 || got.Kept != 0 {
		t.Errorf("%+v", got)
	}
	w.End(nil)
	leave(nil)
	if got := s.Totals().Fetched; got != 5 {
		t.Errorf("%d bytes from the network in all", got)
	}
}

type chunks struct{ io.Reader }

func (chunks) Next() ([]byte, error) { return []byte("chunk"), io.EOF }

func TestUnpackingHandsOver(t *testing.T) {
	s := New()
	p := s.Begin("a", "")
	p.Layers([]Blob{{"sha256:x", 4}})
	ctx, leave := p.Join(t.Context(), 0, "x")
	defer leave(nil)
	_, w := Begin(ctx)
	n, ok := w.Unpacking(chunks{}).(handing)
	if !ok {
		t.Fatal("the archive cannot hand over any more")
	}
	if b, err := n.Next(); string(b) != "chunk" || err != io.EOF {
		t.Errorf("%q, %v", b, err)
	}
	if got := p.State().Layers[0].Unpacked; got != 5 {
		t.Errorf("%d bytes are counted", got)
	}
}

func TestHistoryIsBounded(t *testing.T) {
	s := New()
	for range Kept + 5 {
		s.Begin("a", "").End("sha256:x", nil)
	}
	all := s.List()
	if len(all) != Kept || all[0].ID != "6" || all[Kept-1].ID != name(Kept+5) {
		t.Errorf("%d kept, from %s to %s", len(all), all[0].ID, all[len(all)-1].ID)
	}
}

func TestRate(t *testing.T) {
	begin := time.Unix(100, 0)
	m := meter{at: begin}
	if r := m.sample(begin.Add(time.Second), 1000); r != 1000 {
		t.Errorf("the first second: %d", r)
	}
	if r := m.sample(begin.Add(time.Second+time.Millisecond), 5000); r != 1000 {
		t.Errorf("a moment later: %d", r)
	}
	now := begin.Add(time.Second)
	for range 60 {
		now = now.Add(500 * time.Millisecond)
		m.sample(now, 1000+int64(2000*(now.Sub(begin).Seconds()-1)))
	}
	if m.rate < 1990 || m.rate > 2001 {
		t.Errorf("after half a minute at 2000: %g", m.rate)
	}
	if r := m.sample(now.Add(30*time.Second), m.bytes); r > 1 {
		t.Errorf("after half a minute of nothing: %d", r)
	}
}

// A watcher that is slow misses states, holds no one up, and gets every end.
func TestSlowWatcher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New()
		w := s.Watch()
		defer w.Close()
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 10 {
					p := s.Begin("a", "")
					p.Layers([]Blob{{"sha256:x", 4}})
					if err := made(t.Context(), p, 0, "own "+p.ID(), "four"); err != nil {
						t.Error(err)
					}
					p.End("sha256:x", nil)
				}
			})
		}
		wg.Wait() // nothing was read from the watch
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		ended := map[string]bool{}
		for len(ended) < 80 {
			states, err := w.Next(ctx)
			if err != nil {
				t.Fatalf("after %d of 80: %v", len(ended), err)
			}
			for _, got := range states {
				if got.Stage != Done || ended[got.ID] {
					t.Errorf("%+v", got)
				}
				ended[got.ID] = true
			}
		}
		if len(w.counted) != 0 || len(w.dirty) != 0 {
			t.Errorf("the watch keeps %d and %d", len(w.counted), len(w.dirty))
		}
	})
}

func TestWatchOfOnePull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New()
		p := s.Begin("a", "")
		s.Begin("another", "")
		w := p.Watch()
		defer w.Close()
		go func() {
			p.Layers([]Blob{{"sha256:x", 4}})
			ctx, leave := p.Join(context.Background(), 0, "x")
			_, work := Begin(ctx)
			blob := work.Fetching(io.NopCloser(strings.NewReader("four")))
			for range 4 { // bytes alone, which ring no bell
				_, _ = io.ReadFull(blob, make([]byte, 1))
				time.Sleep(longest)
			}
			work.End(nil)
			leave(nil)
			p.End("sha256:x", nil)
		}()
		var last State
		seen := map[int64]bool{}
		for {
			states, err := w.Next(t.Context())
			if err == io.EOF {
				break
			}
			if err != nil || len(states) != 1 || states[0].Reference != "a" {
				t.Fatalf("%+v, %v", states, err)
			}
			last = states[0]
			seen[last.Fetched] = true
		}
		if last.Stage != Done || last.Fetched != 4 || len(seen) < 3 {
			t.Errorf("last %+v, seen %v", last, seen)
		}
	})
}

func TestWatchEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New()
		w := s.Watch()
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(20*time.Millisecond, cancel)
		if _, err := w.Next(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
		w.Close()
		if len(s.watches) != 0 {
			t.Error("a closed watch is kept")
		}
	})
}

func TestNothingToCount(t *testing.T) {
	ctx, w := Begin(t.Context())
	w.Stage(LayerFetching)
	if got, _ := io.ReadAll(w.Unpacking(w.Fetching(io.NopCloser(strings.NewReader("x"))))); string(got) != "x" || Of(ctx) != nil {
		t.Errorf("read %q", got)
	}
	w.Unpacked(1)
	w.End(nil)
	Retried(ctx, io.EOF)
	Resumed(ctx, io.EOF)
}

// What counting costs: a read of the size that the stages hand on, with and
// without.
func BenchmarkFetching(b *testing.B) {
	s := New()
	p := s.Begin("a", "")
	p.Layers([]Blob{{"sha256:x", 4}})
	ctx, leave := p.Join(b.Context(), 0, "x")
	defer leave(nil)
	_, w := Begin(ctx)
	zero := endless{}
	for name, r := range map[string]io.Reader{"plain": zero, "counted": w.Fetching(io.NopCloser(zero))} {
		b.Run(name, func(b *testing.B) {
			buf := make([]byte, 32<<10)
			for b.Loop() {
				_, _ = r.Read(buf)
			}
		})
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }
