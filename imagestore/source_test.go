package imagestore

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/varve-cri/varve/imagestore/layer/layertest"
	"github.com/varve-cri/varve/imagestore/registry"
	"github.com/varve-cri/varve/imagestore/spool"
)

// bigLayer is a layer that does not compress.
func bigLayer(t testing.TB, size int, seed byte) []byte {
	b := make([]byte, size)
	chacha := rand.NewChaCha8([32]byte{seed})
	_, _ = chacha.Read(b)
	return layertest.Tar(t, layertest.Dir("./", 0o755), layertest.File("big", string(b)))
}

// breaking serves one blob and stops after so many bytes of the first answers.
type breaking struct {
	mu     sync.Mutex
	blob   []byte
	stops  []int // for each answer, how much it gives before it waits for the end
	ranges []string
	path   string
}

func (b *breaking) answer(w http.ResponseWriter, q *http.Request) bool {
	if !strings.HasSuffix(q.URL.Path, b.path) || q.Method != http.MethodGet {
		return false
	}
	first, last := 0, len(b.blob)-1
	asked := q.Header.Get("Range")
	_, _ = fmt.Sscanf(asked, "bytes=%d-%d", &first, &last)
	b.mu.Lock()
	b.ranges = append(b.ranges, asked)
	stop := -1
	if len(b.stops) > 0 {
		stop, b.stops = b.stops[0], b.stops[1:]
	}
	b.mu.Unlock()
	w.Header().Set("Content-Length", fmt.Sprint(last-first+1))
	if asked != "" {
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, last, len(b.blob)))
		w.WriteHeader(http.StatusPartialContent)
	}
	if stop >= 0 {
		_, _ = w.Write(b.blob[first : first+stop])
		_ = http.NewResponseController(w).Flush()
		<-q.Context().Done()
		return true
	}
	_, _ = w.Write(b.blob[first : last+1])
	return true
}

// pullUntil pulls until so much of the blob is kept, and then no more.
func pullUntil(t *testing.T, s *Store, ref string, kept int64) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		waitFor(t, func() bool { return spooled(t, s) >= kept })
		cancel()
	}()
	if _, err := s.Pull(ctx, ref, PullOptions{}); kind(err) != Canceled {
		t.Fatalf("not cancelled: %v", err)
	}
	s.layers.Wait()
}

func spooled(t *testing.T, s *Store) (bytes int64) {
	t.Helper()
	files, err := os.ReadDir(s.path("spool"))
	if err != nil {
		t.Error(err)
	}
	for _, f := range files {
		if info, err := f.Info(); err == nil && strings.HasSuffix(f.Name(), ".blob") {
			bytes += info.Size()
		}
	}
	return bytes
}

func keeping(root string) func(*Config) {
	return func(c *Config) {
		c.Root, c.Spool = root, spool.Limits{MinBytes: 1 << 20, After: -1, MinFree: -1}
	}
}

// bottlerocket#4677: a pull goes on after a restart, from what is here already.
func TestResumeAfterRestart(t *testing.T) {
	const mib = 1 << 20
	plain := bigLayer(t, 12*mib, 1)
	r := newRemote(t)
	r.push("app:v1", picture{layers: [][]byte{plain}})
	b := &breaking{blob: plain, stops: []int{7*mib + 5, 3 * mib}, path: digest.FromBytes(plain).String()}
	r.breaks(b.answer)
	root := t.TempDir()
	ref := r.host() + "/app:v1"
	for _, kept := range []int64{7*mib + 5, 10 * mib} { // twice, each time from where it was
		s := open(t, keeping(root))
		pullUntil(t, s, ref, kept)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	s := open(t, keeping(root))
	image := pulled(t, s, ref)
	f, err := s.MountImage(image.ID)
	if got := inMount(t, f, err, "big"); digest.FromString(got) != digest.FromString(inTar(t, plain)) {
		t.Errorf("%d other bytes", len(got))
	}
	want := []string{"", fmt.Sprintf("bytes=%d-%d", 7*mib, len(plain)-1), fmt.Sprintf("bytes=%d-%d", 10*mib, len(plain)-1)}
	if strings.Join(b.ranges, "|") != strings.Join(want, "|") {
		t.Errorf("asked for %q, want %q", b.ranges, want)
	}
	if n := spooled(t, s); n != 0 {
		t.Errorf("%d bytes are kept of a layer that is in the store", n)
	}
	// What was here already is told apart from what came.
	told, all := s.Pulls().List()[0], s.Pulls().Totals()
	if told.Kept != 10*mib || told.Fetched != int64(len(plain)) || all.Fetched != uint64(len(plain)-10*mib) {
		t.Errorf("%d of %d bytes kept, %d from the network", told.Kept, told.Fetched, all.Fetched)
	}
	clean(t, s)
}

// inTar gives the content of the layer's file.
func inTar(t *testing.T, plain []byte) string {
	t.Helper()
	at := bytes.Index(plain, []byte("big\x00"))
	return string(plain[at+512 : at+512+12<<20])
}

// What is kept may begin in the middle: keeping begins when a transfer is slow. What is
// kept is not asked for again, wherever that was.
func TestResumeFromTheMiddle(t *testing.T) {
	const mib = 1 << 20
	plain := bigLayer(t, 12*mib, 2)
	r := newRemote(t)
	r.push("app:v1", picture{layers: [][]byte{plain}})
	change := func(root string) func(*Config) {
		return func(c *Config) {
			keeping(root)(c)
			c.Spool.After = 100 * time.Millisecond
		}
	}
	resume := func(root string, least int64) {
		t.Helper()
		b := &breaking{blob: plain, path: digest.FromBytes(plain).String()}
		r.breaks(b.answer)
		s := open(t, change(root))
		e := s.spool.Take(digest.FromBytes(plain), int64(len(plain)))
		from, to := e.From(), e.To()
		e.Close()
		pulled(t, s, r.host()+"/app:v1")
		want := []string{fmt.Sprintf("bytes=0-%d", from-1), fmt.Sprintf("bytes=%d-%d", to, len(plain)-1)}
		if from == 0 {
			want = want[1:]
		}
		if strings.Join(b.ranges, "|") != strings.Join(want, "|") || from < least || to-from < mib {
			t.Errorf("asked for %q, with %d to %d here", b.ranges, from, to)
		}
		clean(t, s)
	}

	root := t.TempDir()
	s := open(t, change(root))
	e := s.spool.Take(digest.FromBytes(plain), int64(len(plain)))
	e.Keep(3*mib, plain[3*mib:6*mib])
	e.Close()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	resume(root, 3*mib)

	root = t.TempDir()
	s = open(t, change(root))
	r.breaks(func(w http.ResponseWriter, q *http.Request) bool {
		if !strings.HasSuffix(q.URL.Path, digest.FromBytes(plain).String()) {
			return false
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(plain)))
		at := 0
		send := func(to int) {
			_, _ = w.Write(plain[at:to])
			_ = http.NewResponseController(w).Flush()
			at = to
		}
		for send(2 * mib); at < 7*mib && spooled(t, s) == 0 && q.Context().Err() == nil; send(at + mib/16) {
			time.Sleep(50 * time.Millisecond)
		}
		send(at + 3*mib)
		<-q.Context().Done()
		return true
	})
	pullUntil(t, s, r.host()+"/app:v1", 2*mib)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	resume(root, 0)
}

// A spool whose bytes are not the blob's costs a pull time, and is not believed twice.
func TestSpoolThatLies(t *testing.T) {
	plain := bigLayer(t, 6<<20, 3)
	r := newRemote(t)
	r.push("app:v1", picture{layers: [][]byte{plain}})
	s := open(t, keeping(t.TempDir()))
	e := s.spool.Take(digest.FromBytes(plain), int64(len(plain)))
	e.Keep(0, bytes.Repeat([]byte("x"), 3<<20))
	e.Close()
	pulled(t, s, r.host()+"/app:v1")
	if n, kept := r.count("/blobs/"+digest.FromBytes(plain).String()), spooled(t, s); n != 2 || kept != 0 {
		t.Errorf("%d transfers, %d bytes kept", n, kept)
	}
	clean(t, s)
}

// A registry that is near leaves no trace, and neither does a blob that is wrong.
func TestNothingKept(t *testing.T) {
	plain := bigLayer(t, 20<<20, 4)
	r := newRemote(t)
	r.push("app:v1", picture{layers: [][]byte{plain}})
	var most int64
	s := open(t, func(c *Config) {
		c.Spool.After = time.Minute // nearer than that is near
		c.hook = func(string) { most = max(most, spooled(t, &Store{cfg: Config{Root: c.Root}})) }
	})
	pulled(t, s, r.host()+"/app:v1")
	if most != 0 {
		t.Errorf("%d bytes were kept", most)
	}
	bad := bytes.Clone(plain)
	bad[len(bad)-2000] ^= 1
	r.breaks(func(w http.ResponseWriter, q *http.Request) bool {
		if strings.HasSuffix(q.URL.Path, digest.FromBytes(plain).String()) {
			_, _ = w.Write(bad)
			return true
		}
		return false
	})
	s = open(t, keeping(t.TempDir()))
	if _, err := s.Pull(t.Context(), r.host()+"/app:v1", PullOptions{}); kind(err) != Digest {
		t.Errorf("wrong bytes: %v", err)
	}
	if n := spooled(t, s); n != 0 {
		t.Errorf("%d bytes are kept of a blob that is wrong", n)
	}
	clean(t, s)
}

// Two registries disagree about a digest: the one that is right serves the layer,
// and the config; and when none is right the pull fails.
func TestRegistriesDisagree(t *testing.T) {
	plain := tarOf(t, "a", "b")
	blob := squeeze(t, "gzip", plain)
	right, wrong := newRemote(t), newRemote(t)
	for _, r := range []*remote{right, wrong} {
		r.push("library/app:v1", picture{layers: [][]byte{plain}, format: "gzip"})
	}
	other := squeeze(t, "gzip", tarOf(t, "x", "y"))
	lie := func(w http.ResponseWriter, q *http.Request) bool {
		if !strings.Contains(q.URL.Path, "/blobs/") {
			return false
		}
		body := append(bytes.Clone(other), make([]byte, len(blob))...)[:len(blob)]
		_, _ = w.Write(body)
		return true
	}
	wrong.breaks(lie)
	both := func(c *Config) {
		c.Registries = registry.Rules{"*": {Endpoints: []registry.Endpoint{{URL: wrong.URL}, {URL: right.URL}}}}
	}
	s := open(t, both)
	image := pulled(t, s, "app:v1")
	f, err := s.MountImage(image.ID)
	if got := inMount(t, f, err, "a"); got != "a" {
		t.Errorf("a holds %q", got)
	}
	clean(t, s)
	right.breaks(lie)
	s = open(t, both)
	if _, err := s.Pull(t.Context(), "app:v1", PullOptions{}); kind(err) != Digest {
		t.Errorf("all lie: %v", err)
	}
	clean(t, s)
}
