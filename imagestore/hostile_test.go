package imagestore

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// refused pulls what must not be pulled: an error of the kind that says the
// words, names the reference first, and is told in time; and a store as it was.
func refused(t *testing.T, s *Store, ref string, want Kind, words ...string) error {
	t.Helper()
	return refusedWith(t, s, ref, PullOptions{}, want, words...)
}

func refusedWith(t *testing.T, s *Store, ref string, opt PullOptions, want Kind, words ...string) error {
	t.Helper()
	settled(t, s)
	before := contents(s)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err := s.Pull(ctx, ref, opt)
	told := (*PullError)(nil)
	if !errors.As(err, &told) {
		t.Errorf("pull %s: %v, want a *PullError", ref, err)
		return err
	}
	if told.Kind != want {
		t.Errorf("kind %q, want %q: %v", told.Kind, want, err)
	}
	said := err.Error()
	for _, w := range words {
		if !strings.Contains(said, w) {
			t.Errorf("the error lacks %q: %s", w, said)
		}
	}
	if !strings.HasPrefix(said, "pull "+ref+": ") || told.Step == "" || strings.Contains(said, "failed to") || len(said) > 4096 {
		t.Errorf("message of %d bytes, step %q: %.300s", len(said), told.Step, said)
	}
	settled(t, s)
	if after := contents(s); !slices.Equal(before, after) {
		t.Errorf("the store holds\n%s\nand held\n%s", strings.Join(after, "\n"), strings.Join(before, "\n"))
	}
	clean(t, s)
	return err
}

// settled waits until no transfer is under way and nothing waits for removal.
func settled(t testing.TB, s *Store) {
	t.Helper()
	s.layers.Wait()
	s.configs.Wait()
	named := func() bool {
		v := s.db.Snapshot()
		used := map[digest.Digest]bool{}
		for _, i := range v.Images {
			for _, l := range i.Layers {
				used[l] = true // whatever its format
			}
		}
		for id := range v.Layers {
			if !used[id.Chain] {
				return false
			}
		}
		return true
	}
	waitFor(t, named)
	s.mu.Lock()   // rows go before what they name, in one hold of the lock
	s.mu.Unlock() //nolint:staticcheck // only to wait
	s.trash.Wait()
}

// contents lists all that the store holds: rows, and every file but the
// database with its mode, size and owner.
func contents(s *Store) (all []string) {
	v := s.db.Snapshot()
	for id, i := range v.Images {
		all = append(all, fmt.Sprint("image ", id, i.Layers, i.Removed))
	}
	for name, id := range v.Names {
		all = append(all, fmt.Sprint("name ", name, id))
	}
	for id := range v.Layers {
		all = append(all, fmt.Sprint("layer ", id))
	}
	_ = filepath.Walk(s.cfg.Root, func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsDir() {
			all = append(all, fmt.Sprint(path, info.Mode()))
		} else if err == nil && !strings.HasPrefix(filepath.Base(path), "index.db") {
			all = append(all, fmt.Sprint(path, info.Mode(), info.Size()))
		}
		return nil
	})
	slices.Sort(all)
	return all
}

// answer is what a hostile registry says to one path.
type answer struct {
	contentType string
	body        []byte
	header      map[string]string
	status      int
}

// serves answers the paths that end in a key; the registry itself the rest.
func (r *remote) serves(answers map[string]answer) {
	r.breaks(func(w http.ResponseWriter, q *http.Request) bool {
		for suffix, a := range answers {
			if !strings.HasSuffix(q.URL.Path, suffix) {
				continue
			}
			w.Header().Set("Content-Type", a.contentType)
			for k, v := range a.header {
				w.Header().Set(k, v)
			}
			if a.status != 0 {
				w.WriteHeader(a.status)
			}
			if q.Method != http.MethodHead {
				_, _ = w.Write(a.body)
			}
			return true
		}
		return false
	})
}

// manifestOf is the manifest of an image that lies in the registry.
func (r *remote) manifestOf(p picture) []byte {
	r.t.Helper()
	var m ocispec.Manifest
	edit := p.edit
	p.edit = func(to *ocispec.Manifest, i *ocispec.Image) {
		if edit != nil {
			edit(to, i)
		}
	}
	d, _ := r.push("template", p)
	q, err := http.Get(r.URL + "/v2/template/manifests/" + d.Digest.String())
	if err != nil {
		r.t.Fatal(err)
	}
	defer q.Body.Close()
	decodeInto(r.t, q.Body, &m)
	return encode(r.t, m)
}

// endless writes to w until the client goes or most bytes are sent, and counts.
func endless(w http.ResponseWriter, unit []byte, most int64, sent *atomic.Int64) {
	for sent.Load() < most {
		n, err := w.Write(unit)
		sent.Add(int64(n))
		if err != nil {
			return
		}
	}
}

// heapGrowth runs fn and gives how far the heap went above where it was, as
// sampled every few milliseconds, after a collection.
func heapGrowth(fn func()) int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	before := int64(m.HeapInuse)
	var most atomic.Int64
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			most.Store(max(most.Load(), int64(m.HeapInuse)))
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	fn()
	close(stop)
	<-stopped
	return most.Load() - before
}
