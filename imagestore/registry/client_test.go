package registry

import (
	"context"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-cri/varve/imagestore/fault"
	"github.com/varve-cri/varve/imagestore/reference"
)

// quick are limits by which errors cost little time, and a server in a process that has
// to wait for its turn is not taken for one that hangs.
var quick = Limits{
	Attempts: 2, Backoff: time.Millisecond, StallWindow: time.Minute, StallBytes: 100,
	Header: time.Minute, MirrorHeader: time.Minute, Share: time.Minute,
}

func repository(t *testing.T, rules Rules, name string, a *Auth) *Repository {
	t.Helper()
	c, err := New(Config{Rules: rules, Limits: quick})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	ref, err := reference.Parse(name)
	if err != nil {
		t.Fatal(err)
	}
	r, err := c.Repository(ref, a)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestHTTPS(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("{}")) }))
	defer server.Close()
	server.Config.ErrorLog = nil
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		e    Endpoint
		fine bool
	}{
		"unknown authority": {Endpoint{}, false},
		"ca file":           {Endpoint{CAFile: ca}, true},
		"skip verify":       {Endpoint{SkipVerify: true}, true},
	} {
		c.e.URL = server.URL
		m, err := repository(t, Rules{"*": {Endpoints: []Endpoint{c.e}}}, "a/b", nil).Manifest(t.Context(), "latest")
		if (err == nil) != c.fine || err == nil && m.Digest != digest.FromString("{}") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := New(Config{Rules: Rules{"x": {CAFile: ca + "x"}}}); err == nil {
		t.Error("a missing CA file was taken")
	}
}

func TestRedirects(t *testing.T) {
	var server *httptest.Server
	hops := 0
	plain := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hops++ }))
	defer plain.Close()
	server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if strings.HasSuffix(q.URL.Path, "loop") {
			http.Redirect(w, q, q.URL.Path, http.StatusFound)
			return
		}
		http.Redirect(w, q, plain.URL+"/x?signature=secret", http.StatusFound)
	}))
	defer server.Close()
	r := repository(t, Rules{"*": {Endpoints: []Endpoint{{URL: server.URL, SkipVerify: true}}}}, "a/b", nil)
	for _, target := range []string{"down", "loop"} {
		_, err := r.Manifest(t.Context(), target)
		if err == nil || !strings.Contains(err.Error(), "redirect") || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", target, err)
		}
	}
	if hops != 0 {
		t.Error("https led to http")
	}
}

func TestOrigin(t *testing.T) {
	for domain, want := range map[string]string{
		"docker.io": "https://registry-1.docker.io/v2", "h.example:5000": "https://h.example:5000/v2", "localhost:5000": "http://localhost:5000/v2",
		"127.0.0.2": "http://127.0.0.2/v2", "[::1]:80": "http://[::1]:80/v2", "localhost.example": "https://localhost.example/v2",
	} {
		if got := origin(domain, false).String(); got != want {
			t.Errorf("%s: %s, want %s", domain, got, want)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	for in, want := range map[string]time.Duration{"": 0, "3": 3 * time.Second, "-1": 0, "x": 0, "Mon, 02 Jan 2006 15:04:05 GMT": 0, "99999999999999": 0} {
		if got := parseRetryAfter(in); got != want {
			t.Errorf("%q: %v, want %v", in, got, want)
		}
	}
}

// trickle gives one byte at a time, with pauses.
type trickle struct {
	pause time.Duration
	left  int
	done  chan struct{}
}

func (s *trickle) Read(p []byte) (int, error) {
	if s.left--; s.left < 0 {
		return 0, io.EOF
	}
	select {
	case <-time.After(s.pause):
		return copy(p, "x"), nil
	case <-s.done:
		return 0, errors.New("closed")
	}
}

func (s *trickle) Close() error { close(s.done); return nil }

// containerd#11650: a trickle is not progress; a slow reader is not a slow network.
func TestPaced(t *testing.T) {
	limits := Limits{StallWindow: 50 * time.Millisecond, StallBytes: 100}
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		for name, body := range map[string]*trickle{"a trickle": {5 * time.Millisecond, 1000, make(chan struct{})}, "a silence": {time.Hour, 1, make(chan struct{})}} {
			if _, err := io.Copy(io.Discard, newPaced(body, limits)); !errors.Is(err, errStalled) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if took := time.Since(begun); took > 2*limits.StallWindow+5*time.Millisecond {
			t.Errorf("both ended after %v", took)
		}
		fast := newPaced(&trickle{0, 200, make(chan struct{})}, limits)
		for i := range 200 {
			if i%50 == 0 {
				time.Sleep(60 * time.Millisecond) // the disk is slow
			}
			if _, err := fast.Read(make([]byte, 9)); err != nil {
				t.Fatalf("byte %d: %v", i, err)
			}
		}
	})
}

// A host without ranges sends all again, and what is here already is skipped.
func TestResumeWithoutRanges(t *testing.T) {
	content := strings.Repeat("0123456789", 1000)
	n := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		n++
		w.Header().Set("Content-Length", "10000")
		_, _ = io.WriteString(w, content[:min(len(content), n*3000)])
	}))
	defer server.Close()
	d := ocispec.Descriptor{Digest: digest.FromString(content), Size: 10000}
	body, err := repository(t, Mirror(server.URL), "a/b", nil).Blob(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	got, err := io.ReadAll(body)
	if err != nil || string(got) != content || n != 4 {
		t.Errorf("%d bytes after %d requests, %v", len(got), n, err)
	}
}

func TestWrongRange(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("Content-Length", "100")
		if q.Header.Get("Range") != "" {
			w.Header().Set("Content-Range", "bytes 0-99/100")
			w.WriteHeader(http.StatusPartialContent)
		}
		_, _ = io.WriteString(w, "0123456789")
	}))
	defer server.Close()
	d := ocispec.Descriptor{Digest: digest.FromString("x"), Size: 100}
	body, err := repository(t, Mirror(server.URL), "a/b", nil).Blob(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if _, err := io.ReadAll(body); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("%v", err)
	}
}

func TestAuthHidesSecrets(t *testing.T) {
	a := Auth{Username: "me", Password: "secret", Encoded: "secret", IdentityToken: "secret"}
	if strings.Contains(a.String()+a.GoString(), "secret") {
		t.Error("credentials print themselves")
	}
}

func TestCancelDuringBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		busy := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "20")
			w.WriteHeader(http.StatusTooManyRequests)
		})
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		begun := time.Now()
		_, err := inBubble(t, quick, busy).Manifest(ctx, "x")
		if took := time.Since(begun); fault.KindOf(err) != fault.Canceled || took != 50*time.Millisecond {
			t.Errorf("%v after %v", err, took)
		}
	})
}
