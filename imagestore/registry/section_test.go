package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-cri/varve/imagestore/fault"
	"github.com/varve-cri/varve/imagestore/reference"
)

func randomBytes(n int) []byte {
	b := make([]byte, n)
	chacha := rand.NewChaCha8([32]byte{})
	_, _ = chacha.Read(b)
	return b
}

// blobServer serves one blob as well as a server can, and counts.
type blobServer struct {
	content []byte
	// before may answer instead, or change what is sent; true when it answered.
	before   func(w http.ResponseWriter, q *http.Request, n int32) bool
	requests atomic.Int32
	ranged   atomic.Int32
	most     atomic.Int32 // at a time
	now      atomic.Int32
}

func (b *blobServer) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	n := b.requests.Add(1)
	if q.Header.Get("Range") != "" {
		b.ranged.Add(1)
	}
	now := b.now.Add(1)
	defer b.now.Add(-1)
	for most := b.most.Load(); now > most && !b.most.CompareAndSwap(most, now); most = b.most.Load() {
	}
	if b.before == nil || !b.before(w, q, n) {
		http.ServeContent(w, q, "", time.Time{}, bytes.NewReader(b.content))
	}
}

func (b *blobServer) descriptor() ocispec.Descriptor {
	return ocispec.Descriptor{Digest: digest.FromBytes(b.content), Size: int64(len(b.content))}
}

// abort ends the connection after what was written.
func abort(w http.ResponseWriter) {
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

func rangeOf(q *http.Request, size int) (first, last int) {
	last = size - 1
	_, _ = fmt.Sscanf(q.Header.Get("Range"), "bytes=%d-%d", &first, &last)
	return first, last
}

func mirrors(t *testing.T, limits Limits, servers ...*httptest.Server) *Repository {
	t.Helper()
	var rule Rule
	for _, s := range servers {
		rule.Endpoints = append(rule.Endpoints, Endpoint{URL: s.URL})
	}
	c, err := New(Config{Rules: Rules{"*": rule}, Limits: limits})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	r, err := c.Repository(reference.Reference{Domain: "r.example", Path: "a/b"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func serve(t *testing.T, h http.Handler) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

// What registries send instead of what they were asked for, and that the bytes
// come all the same, or an error of the right kind.
func TestLies(t *testing.T) {
	content := randomBytes(300_000)
	// half sends half of what was asked for, then cuts the connection.
	half := func(w http.ResponseWriter, q *http.Request) {
		first, last := rangeOf(q, len(content))
		w.Header().Set("Content-Length", fmt.Sprint(last-first+1))
		if q.Header.Get("Range") != "" {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, last, len(content)))
			w.WriteHeader(http.StatusPartialContent)
		}
		_, _ = w.Write(content[first : first+(last-first+2)/2])
		abort(w)
	}
	answer := func(status int, contentRange string, body []byte) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Range", contentRange)
			w.Header().Set("Content-Length", fmt.Sprint(len(body)))
			w.WriteHeader(status)
			_, _ = w.Write(body)
		}
	}
	for name, c := range map[string]struct {
		first, resumed func(http.ResponseWriter, *http.Request) // nil is right
		want           fault.Kind
	}{
		"cut once":                     {half, nil, ""},
		"cut at every half":            {half, half, ""},
		"range ignored":                {half, answer(200, "", content), ""},
		"range from elsewhere":         {half, answer(206, fmt.Sprintf("bytes 0-%d/%d", len(content)-1, len(content)), content), ""},
		"range of another blob":        {half, answer(206, fmt.Sprintf("bytes 150000-%d/%d", len(content), len(content)+1), content[149999:]), ""},
		"range that lies of its bytes": {half, answer(206, fmt.Sprintf("bytes 150000-%d/%d", len(content)-1, len(content)), content[150001:]), ""},
		"range without a range":        {half, answer(206, "", content[150000:]), ""},
		"range refused":                {half, answer(403, "", nil), ""},
		"range out of reach":           {half, answer(416, fmt.Sprintf("bytes */%d", len(content)), nil), ""},
		"range shorter than asked":     {half, answer(206, fmt.Sprintf("bytes 150000-199999/%d", len(content)), content[150000:200000]), ""},
		"more than asked": {half, func(w http.ResponseWriter, q *http.Request) {
			first, last := rangeOf(q, len(content))
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, last, len(content)))
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(content[first:])
			_, _ = w.Write(content)
		}, ""},
		"shorter blob": {answer(200, "", content[1:]), nil, fault.Digest},
		"longer blob":  {answer(200, "", append([]byte("x"), content...)), nil, fault.Digest},
		"gone":         {half, answer(404, "", nil), fault.NotFound},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := &blobServer{content: content}
			b.before = func(w http.ResponseWriter, q *http.Request, n int32) bool {
				switch plain := q.Header.Get("Range") == ""; {
				case n == 1 && c.first != nil:
					c.first(w, q)
				case n > 1 && c.resumed != nil && !plain && (n == 2 || name != "range shorter than asked"):
					c.resumed(w, q)
				default:
					return false
				}
				return true
			}
			body, err := mirrors(t, quick, serve(t, b)).Blob(t.Context(), b.descriptor())
			if err == nil {
				defer body.Close()
				var got []byte
				if got, err = io.ReadAll(body); err == nil && !bytes.Equal(got, content) {
					t.Errorf("%d other bytes", len(got))
				}
			}
			if c.want == "" && err != nil || c.want != "" && fault.KindOf(err) != c.want {
				t.Errorf("error %v, want %q", err, c.want)
			}
			if n := b.requests.Load(); n > 25 {
				t.Errorf("%d requests", n)
			}
		})
	}
}

// A connection that breaks every so often is taken up as often as it brings bytes.
func TestResetAtEveryNBytes(t *testing.T) {
	const every = 70_000
	b := &blobServer{content: randomBytes(6_000_000)}
	b.before = func(w http.ResponseWriter, q *http.Request, _ int32) bool {
		first, last := rangeOf(q, len(b.content))
		w.Header().Set("Content-Length", fmt.Sprint(last-first+1))
		if q.Header.Get("Range") != "" {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, last, len(b.content)))
			w.WriteHeader(http.StatusPartialContent)
		}
		_, _ = w.Write(b.content[first:min(first+every, last+1)])
		abort(w)
		return true
	}
	body, err := mirrors(t, quick, serve(t, b)).Blob(t.Context(), b.descriptor())
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if got, err := io.ReadAll(body); err != nil || !bytes.Equal(got, b.content) || b.requests.Load() < 86 {
		t.Errorf("%d bytes, %v, %d requests", len(got), err, b.requests.Load())
	}
}

// A mirror that stalls in the middle, or lies about the size, is left for the next
// one, from the byte where it stopped.
func TestNextMirrorGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		good := &blobServer{content: randomBytes(200_000)}
		sick := &blobServer{content: good.content}
		sick.before = func(w http.ResponseWriter, q *http.Request, _ int32) bool {
			w.Header().Set("Content-Length", fmt.Sprint(len(sick.content)))
			_, _ = w.Write(sick.content[:50_000])
			<-q.Context().Done()
			return true
		}
		other := &blobServer{content: randomBytes(100)}
		var from atomic.Int64
		good.before = func(_ http.ResponseWriter, q *http.Request, _ int32) bool {
			first, _ := rangeOf(q, len(good.content))
			from.Store(int64(first))
			return false
		}
		l := quick
		l.StallWindow = time.Second
		body, err := inBubble(t, l, other, sick, good).Blob(t.Context(), good.descriptor())
		if err != nil {
			t.Fatal(err)
		}
		defer body.Close()
		if got, err := io.ReadAll(body); err != nil || !bytes.Equal(got, good.content) || from.Load() != 50_000 || sick.requests.Load() != 1 {
			t.Errorf("%d bytes, %v; the good one was asked from %d, the sick one %d times", len(got), err, from.Load(), sick.requests.Load())
		}
	})
}

// Two registries disagree: after the digest has told, the other one is asked.
func TestDistrust(t *testing.T) {
	good := &blobServer{content: randomBytes(1000)}
	bad := &blobServer{content: randomBytes(1001)[1:]}
	r := mirrors(t, quick, serve(t, bad), serve(t, good))
	read := func() []byte {
		t.Helper()
		body, err := r.Blob(t.Context(), good.descriptor())
		if err != nil {
			t.Fatal(err)
		}
		defer body.Close()
		got, err := io.ReadAll(body)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if bytes.Equal(read(), good.content) || !r.Distrust(good.descriptor()) || !bytes.Equal(read(), good.content) {
		t.Error("the bad one was asked again")
	}
	if r.Distrust(good.descriptor()) || !bytes.Equal(read(), good.content) {
		t.Error("the last host is not asked any more")
	}
	if got, err := mirrors(t, quick, serve(t, bad), serve(t, good)).Small(t.Context(), good.descriptor()); err != nil || !bytes.Equal(got, good.content) {
		t.Errorf("a small blob: %v", err)
	}
}

// wideLimits make a transfer wide after little time.
func wideLimits() Limits {
	l := quick
	l.WideBytes, l.WideAfter, l.PartBytes = 100_000, 20*time.Millisecond, 64<<10
	return l
}

// throttled gives each connection so many bytes a second.
func throttled(w http.ResponseWriter, body []byte, rate int) {
	const tick = 5 * time.Millisecond
	for len(body) > 0 {
		n := min(len(body), rate/200)
		if _, err := w.Write(body[:n]); err != nil {
			return
		}
		_ = http.NewResponseController(w).Flush()
		if body = body[n:]; len(body) > 0 {
			time.Sleep(tick)
		}
	}
}

// slowly serves ranges right, each connection at a rate.
func slowly(b *blobServer, rate int, say string) func(http.ResponseWriter, *http.Request, int32) bool {
	return func(w http.ResponseWriter, q *http.Request, _ int32) bool {
		first, last := rangeOf(q, len(b.content))
		w.Header().Set("Accept-Ranges", say)
		w.Header().Set("Content-Length", fmt.Sprint(last-first+1))
		if q.Header.Get("Range") != "" {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, last, len(b.content)))
			w.WriteHeader(http.StatusPartialContent)
		}
		throttled(w, b.content[first:last+1], rate)
		return true
	}
}

// A host that is slow on each connection is asked on several.
func TestWide(t *testing.T) {
	content := randomBytes(2 << 20)
	for name, c := range map[string]struct {
		streams           int
		most              int32         // connections at a time; the first may not be closed yet
		quickest, slowest time.Duration // in all
	}{
		"one connection": {-1, 1, time.Second, 1100 * time.Millisecond},
		"several":        {4, 5, 250 * time.Millisecond, 350 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &blobServer{content: content}
				slow := slowly(b, 2<<20, "bytes")
				var mu sync.Mutex
				most := int32(0)
				b.before = func(w http.ResponseWriter, q *http.Request, n int32) bool {
					time.Sleep(time.Nanosecond) // by then all have ended that end at this moment
					mu.Lock()
					most = max(most, b.now.Load())
					mu.Unlock()
					return slow(w, q, n)
				}
				l := wideLimits()
				l.Streams = c.streams
				begun := time.Now()
				body, err := inBubble(t, l, b).Blob(t.Context(), b.descriptor())
				if err != nil {
					t.Fatal(err)
				}
				defer body.Close()
				if got, err := io.ReadAll(body); err != nil || !bytes.Equal(got, content) {
					t.Errorf("%d bytes, %v", len(got), err)
				}
				if took := time.Since(begun); most > c.most || c.most > 1 && most < 4 || took < c.quickest || took > c.slowest {
					t.Errorf("%d connections, %v", most, took)
				}
			})
		})
	}
}

// A host that is fast, or that does not speak of ranges, sees one plain request; and
// nothing is left of it.
func TestNarrow(t *testing.T) {
	before := runtime.NumGoroutine()
	content := randomBytes(2 << 20)
	fast, silent := &blobServer{content: content}, &blobServer{content: content}
	silent.before = slowly(silent, 8<<20, "none")
	far := wideLimits()
	far.WideAfter = time.Minute
	for name, c := range map[string]struct {
		host   *blobServer
		limits Limits
	}{"fast": {fast, far}, "without ranges": {silent, wideLimits()}} {
		server := httptest.NewServer(c.host)
		body, err := mirrors(t, c.limits, server).Blob(t.Context(), c.host.descriptor())
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(body); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
		body.Close()
		server.CloseClientConnections()
		server.Close()
		if c.host.requests.Load() != 1 || c.host.ranged.Load() != 0 {
			t.Errorf("a host that is %s saw %d requests", name, c.host.requests.Load())
		}
	}
	for end := time.Now().Add(time.Minute); runtime.NumGoroutine() > before; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
	}
}

// What is fetched ahead of a reader that waits is bounded.
func TestWideMemory(t *testing.T) {
	b := &blobServer{content: randomBytes(48 << 20)}
	slow := slowly(b, 4<<20, "bytes")
	b.before = func(w http.ResponseWriter, q *http.Request, n int32) bool {
		return q.Header.Get("Range") == "" && slow(w, q, n)
	}
	l := quick
	l.WideAfter = 20 * time.Millisecond
	body, err := mirrors(t, l, serve(t, b)).Blob(t.Context(), b.descriptor())
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before, most := heap(), int64(0)
	buf := make([]byte, 256<<10)
	for n := 0; ; n++ {
		if _, err := io.ReadFull(body, buf); err != nil {
			break
		}
		if n%16 == 15 {
			time.Sleep(20 * time.Millisecond)
			most = max(most, heap()-before)
		}
	}
	// Four parts of a MiB, and the buffers of their connections.
	if most > 6<<20 || b.ranged.Load() < 20 {
		t.Errorf("%d bytes more than before, %d ranges", most, b.ranged.Load())
	}
	t.Logf("%.1f MiB more than before, %d ranges", float64(most)/(1<<20), b.ranged.Load())
}

// Whatever goes wrong with the parts, the bytes come in order and once.
func TestWideFaults(t *testing.T) {
	content := randomBytes(1 << 20)
	var asked sync.Map // ranges
	for name, fault := range map[string]func(w http.ResponseWriter, q *http.Request, n int32) bool{
		"ranges are ignored": func(w http.ResponseWriter, _ *http.Request, _ int32) bool {
			_, _ = w.Write(content)
			return true
		},
		"ranges are wrong": func(w http.ResponseWriter, _ *http.Request, _ int32) bool {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes 0-%d/%d", len(content)-1, len(content)))
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(content)
			return true
		},
		"every part is refused once": func(w http.ResponseWriter, q *http.Request, _ int32) bool {
			_, again := asked.LoadOrStore(q.Header.Get("Range"), true)
			if !again {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
			return !again
		},
		"a part is gone": func(w http.ResponseWriter, _ *http.Request, n int32) bool {
			if n == 5 {
				w.WriteHeader(http.StatusNotFound)
			}
			return n == 5
		},
		"parts are cut": func(w http.ResponseWriter, q *http.Request, _ int32) bool {
			first, last := rangeOf(q, len(content))
			w.Header().Set("Content-Length", fmt.Sprint(last-first+1))
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, last, len(content)))
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(content[first:min(first+20_000, last+1)])
			abort(w)
			return true
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &blobServer{content: content}
				slow := slowly(b, 2<<20, "bytes")
				b.before = func(w http.ResponseWriter, q *http.Request, n int32) bool {
					if q.Header.Get("Range") != "" && fault(w, q, n) {
						return true
					}
					return slow(w, q, n)
				}
				body, err := inBubble(t, wideLimits(), b).Blob(t.Context(), b.descriptor())
				if err != nil {
					t.Fatal(err)
				}
				defer body.Close()
				if got, err := io.ReadAll(body); err != nil || !bytes.Equal(got, content) || b.ranged.Load() == 0 {
					t.Errorf("%d bytes, %v, %d ranges", len(got), err, b.ranged.Load())
				}
			})
		})
	}
}

// A cancel is the end of every connection: none of these ends by itself.
func TestCancelClosesConnections(t *testing.T) {
	for name, c := range map[string]struct {
		limits Limits
		open   int32 // at least
	}{"one": {quick, 1}, "several": {wideLimits(), 3}} {
		b := &blobServer{content: randomBytes(4 << 20)}
		b.before = func(w http.ResponseWriter, q *http.Request, _ int32) bool {
			first, last := rangeOf(q, len(b.content))
			w.Header().Set("Accept-Ranges", "bytes")
			w.Header().Set("Content-Length", fmt.Sprint(last-first+1))
			if q.Header.Get("Range") != "" {
				w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, last, len(b.content)))
				w.WriteHeader(http.StatusPartialContent)
			}
			for at := first; at < last && q.Context().Err() == nil; at++ { // for hours
				_, _ = w.Write(b.content[at : at+1])
				_ = http.NewResponseController(w).Flush()
				time.Sleep(5 * time.Millisecond)
			}
			return true
		}
		ctx, cancel := context.WithCancel(t.Context())
		body, err := mirrors(t, c.limits, serve(t, b)).Blob(ctx, b.descriptor())
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { _, err := io.Copy(io.Discard, body); ended <- err }()
		await(t, name+": all connections", func() bool { return b.now.Load() >= c.open })
		cancel()
		if err := <-ended; fault.KindOf(err) != fault.Canceled || !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
		await(t, name+": the end of all connections", func() bool { return b.now.Load() == 0 })
		body.Close()
	}
}

// await waits for a condition.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: it did not come to be", what)
		}
	}
}

// mischief answers as the die falls.
func mischief(content []byte, die func(n int) int) func(http.ResponseWriter, *http.Request, int32) bool {
	return func(w http.ResponseWriter, q *http.Request, _ int32) bool {
		first, last := rangeOf(q, len(content))
		ranged := q.Header.Get("Range") != ""
		w.Header().Set("Accept-Ranges", "bytes")
		switch die(12) {
		case 0:
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		case 1:
			abort(w)
		case 2:
			ranged, first, last = false, 0, len(content)-1
		case 3:
			if ranged {
				last = first + die(last-first+1) // fewer than asked
			}
		case 4:
			if ranged {
				w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", die(len(content)), last, len(content)))
				w.WriteHeader(http.StatusPartialContent)
				return true
			}
		}
		if ranged {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, last, len(content)))
		}
		w.Header().Set("Content-Length", fmt.Sprint(last-first+1))
		if ranged {
			w.WriteHeader(http.StatusPartialContent)
		}
		body := content[first : last+1]
		for len(body) > 0 {
			n := min(len(body), 1+die(40_000))
			_, _ = w.Write(body[:n])
			body = body[n:]
			switch die(9) {
			case 0:
				abort(w)
			case 1:
				time.Sleep(time.Duration(die(3)) * time.Millisecond)
			}
			_ = http.NewResponseController(w).Flush()
		}
		return true
	}
}

// Three hosts that do anything but send wrong bytes: what comes is the blob, in
// order and once, or an error; and mostly it comes.
func TestMischief(t *testing.T) {
	content := randomBytes(400_000)
	var came, failed atomic.Int32
	t.Run("", func(t *testing.T) {
		for seed := range uint64(40) {
			t.Run("", func(t *testing.T) {
				t.Parallel()
				var mu sync.Mutex
				dice := rand.New(rand.NewPCG(seed, 7))
				die := func(n int) int { mu.Lock(); defer mu.Unlock(); return dice.IntN(n) }
				b := &blobServer{content: content, before: mischief(content, die)}
				l := quick
				l.WideBytes, l.WideAfter, l.PartBytes, l.Attempts = 50_000, time.Millisecond, 16<<10, 4
				from := int64(0)
				if seed%2 == 0 {
					from = int64(die(len(content)))
				}
				body, err := mirrors(t, l, serve(t, b), serve(t, b), serve(t, b)).BlobRange(t.Context(), b.descriptor(), from, int64(len(content)))
				if err != nil {
					failed.Add(1)
					return
				}
				defer body.Close()
				got, err := io.ReadAll(body)
				if err != nil {
					t.Logf("seed %d: %v", seed, err)
					failed.Add(1)
				} else {
					came.Add(1)
				}
				if !bytes.HasPrefix(content[from:], got) || err == nil && int64(len(got)) != int64(len(content))-from {
					t.Errorf("seed %d: %d bytes from %d are not the blob's, %v", seed, len(got), from, err)
				}
			})
		}
	})
	if came.Load() < 20 { // of 40; on most days 35
		t.Errorf("%d blobs came, %d did not", came.Load(), failed.Load())
	}
}

// HTTP/2: a stream that is reset, and a server that says GOAWAY in the middle.
func TestHTTP2(t *testing.T) {
	b := &blobServer{content: randomBytes(400_000)}
	var once, twice sync.Once
	b.before = func(w http.ResponseWriter, q *http.Request, _ int32) bool {
		first, last := rangeOf(q, len(b.content))
		cut := false
		once.Do(func() { cut = true })
		if !cut {
			twice.Do(func() { w.Header().Set("Connection", "close") }) // GOAWAY
			return false
		}
		w.Header().Set("Content-Length", fmt.Sprint(last-first+1))
		_, _ = w.Write(b.content[:100_000])
		abort(w) // RST_STREAM
		return true
	}
	server := httptest.NewUnstartedServer(b)
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	c, err := New(Config{Rules: Rules{"*": {Endpoints: []Endpoint{{URL: server.URL, SkipVerify: true}}}}, Limits: quick})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r, err := c.Repository(reference.Reference{Domain: "r.example", Path: "a"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		body, err := r.Blob(t.Context(), b.descriptor())
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(body)
		body.Close()
		if err != nil || !bytes.Equal(got, b.content) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	}
	if b.requests.Load() != 3 {
		t.Errorf("%d requests", b.requests.Load())
	}
}

// Both forms of Retry-After are waited for, on mirrors not: the next host is there.
func TestRateLimitedMirror(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		good, limited := &blobServer{content: randomBytes(100)}, &blobServer{}
		limited.before = func(w http.ResponseWriter, _ *http.Request, _ int32) bool {
			w.Header().Set("Retry-After", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat))
			w.WriteHeader(http.StatusTooManyRequests)
			return true
		}
		begun := time.Now()
		_, err := inBubble(t, quick, limited, good).Small(t.Context(), good.descriptor())
		if took := time.Since(begun); err != nil || took > 0 || limited.requests.Load() != 1 {
			t.Errorf("%v after %v and %d requests", err, took, limited.requests.Load())
		}
		_, err = inBubble(t, quick, limited).Small(t.Context(), good.descriptor())
		if fault.KindOf(err) != fault.RateLimited || !strings.Contains(err.Error(), "429") {
			t.Errorf("%v", err)
		}
	})
}

// BenchmarkBlob is a transfer over loopback beside the least that one can cost.
func BenchmarkBlob(b *testing.B) {
	source := &blobServer{content: randomBytes(64 << 20)}
	server := httptest.NewServer(source)
	defer server.Close()
	buf, want := make([]byte, 1<<20), source.descriptor()
	drain := func(body io.ReadCloser) {
		if n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{body}, buf); err != nil || n != int64(len(source.content)) {
			b.Fatal(n, err)
		}
		body.Close()
	}
	b.Run("http", func(b *testing.B) {
		b.SetBytes(int64(len(source.content)))
		for b.Loop() {
			resp, err := http.Get(server.URL + "/v2/a/b/blobs/x") //nolint:noctx // a benchmark
			if err != nil {
				b.Fatal(err)
			}
			drain(resp.Body)
		}
	})
	for name, streams := range map[string]int{"one stream": -1, "as configured": 0} {
		c, err := New(Config{Rules: Mirror(server.URL), Limits: Limits{Streams: streams}})
		if err != nil {
			b.Fatal(err)
		}
		defer c.Close()
		r, err := c.Repository(reference.Reference{Domain: "r.example", Path: "a/b"}, nil)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(source.content)))
			for b.Loop() {
				body, err := r.Blob(b.Context(), want)
				if err != nil {
					b.Fatal(err)
				}
				drain(body)
			}
		})
	}
}
