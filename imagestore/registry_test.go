package imagestore

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	ggcr "github.com/google/go-containerregistry/pkg/registry"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-cri/varve/imagestore/layer/layertest"
	"github.com/varve-cri/varve/imagestore/registry"
)

// remote is a real registry in this process, which tests can make faulty.
type remote struct {
	*httptest.Server
	t testing.TB

	mu     sync.Mutex
	fault  func(w http.ResponseWriter, r *http.Request) bool // true when it answered
	counts map[string]int                                    // by method and path
}

func newRemote(t testing.TB) *remote {
	t.Helper()
	r := &remote{t: t, counts: map[string]int{}}
	handler := ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0)))
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r.mu.Lock()
		r.counts[q.Method+" "+q.URL.Path]++
		fault := r.fault
		r.mu.Unlock()
		if q.Method != http.MethodGet && q.Method != http.MethodHead || fault == nil || !fault(w, q) {
			handler.ServeHTTP(w, q)
		}
	}))
	t.Cleanup(r.Close)
	return r
}

// breaks sets the fault; nil ends it.
func (r *remote) breaks(fault func(w http.ResponseWriter, q *http.Request) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fault = fault
}

// count is how often a GET's path was asked for.
func (r *remote) count(contains string) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for key, c := range r.counts {
		if strings.HasPrefix(key, "GET ") && strings.Contains(key, contains) {
			n += c
		}
	}
	return n
}

func (r *remote) host() string { return strings.TrimPrefix(r.URL, "http://") }

func (r *remote) send(method, path, contentType string, body []byte) {
	r.t.Helper()
	q, err := http.NewRequest(method, r.URL+path, bytes.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	q.Header.Set("Content-Type", contentType)
	resp, err := http.DefaultClient.Do(q)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		b, _ := io.ReadAll(resp.Body)
		r.t.Fatalf("%s %s: %s %s", method, path, resp.Status, b)
	}
}

func (r *remote) blob(repo string, b []byte) digest.Digest {
	d := digest.FromBytes(b)
	r.send(http.MethodPost, "/v2/"+repo+"/blobs/uploads/?digest="+d.String(), "application/octet-stream", b)
	return d
}

// picture is an image to push: each layer a tar, compressed as format says.
type picture struct {
	layers   [][]byte
	format   string // "", "gzip", "zstd"
	platform ocispec.Platform
	cmd      string // makes configs differ
	edit     func(*ocispec.Manifest, *ocispec.Image)
}

func squeeze(t testing.TB, format string, plain []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	var w io.WriteCloser
	switch format {
	case "":
		return plain
	case "zstd":
		w, _ = zstd.NewWriter(&out)
	default:
		w, _ = gzip.NewWriterLevel(&out, 1)
	}
	if _, err := w.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// push pushes the picture and gives its manifest's descriptor and its image id.
func (r *remote) push(name string, p picture) (ocispec.Descriptor, digest.Digest) {
	r.t.Helper()
	repo, target, _ := strings.Cut(name, ":")
	if p.platform.OS == "" {
		p.platform = ocispec.Platform{OS: "linux", Architecture: Config{}.withDefaults().Platform.Architecture}
	}
	config := ocispec.Image{Platform: p.platform, Config: ocispec.ImageConfig{Cmd: []string{p.cmd}}, RootFS: ocispec.RootFS{Type: "layers"}}
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	for i, plain := range p.layers {
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, digest.FromBytes(plain))
		config.History = append(config.History, ocispec.History{CreatedBy: fmt.Sprintf("layer %d", i)})
		blob := squeeze(r.t, p.format, plain)
		mediaType := ocispec.MediaTypeImageLayer
		if p.format != "" {
			mediaType += "+" + p.format
		}
		m.Layers = append(m.Layers, ocispec.Descriptor{MediaType: mediaType, Digest: r.blob(repo, blob), Size: int64(len(blob))})
	}
	if p.edit != nil {
		p.edit(&m, &config)
	}
	raw := encode(r.t, config)
	if m.Config.Digest == "" {
		m.Config = ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: r.blob(repo, raw), Size: int64(len(raw))}
	}
	body := encode(r.t, m)
	d := ocispec.Descriptor{MediaType: m.MediaType, Digest: digest.FromBytes(body), Size: int64(len(body)), Platform: &p.platform}
	if target == "" {
		target = d.Digest.String()
	}
	r.send(http.MethodPut, "/v2/"+repo+"/manifests/"+target, m.MediaType, body)
	return d, m.Config.Digest
}

func (r *remote) index(name string, entries ...ocispec.Descriptor) digest.Digest {
	repo, target, _ := strings.Cut(name, ":")
	body := encode(r.t, ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: entries})
	r.send(http.MethodPut, "/v2/"+repo+"/manifests/"+target, ocispec.MediaTypeImageIndex, body)
	return digest.FromBytes(body)
}

func encode(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// quick are network limits for tests: errors cost little time, and a registry in a
// process that has to wait for its turn is not taken for one that hangs.
var quick = registry.Limits{
	Attempts: 3, Backoff: time.Millisecond, RetryAfter: 2 * time.Second,
	StallWindow: time.Minute, StallBytes: 1 << 10, Header: time.Minute, MirrorHeader: time.Minute, Share: time.Minute,
}

func open(t testing.TB, change ...func(*Config)) *Store {
	t.Helper()
	cfg := Config{Root: t.TempDir(), Format: testFormat, Network: quick, LooseLayers: -1, Report: func(m string) { t.Log(m) }}
	for _, c := range change {
		c(&cfg)
	}
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func pulled(t testing.TB, s *Store, ref string) Image {
	t.Helper()
	image, err := s.Pull(t.Context(), ref, PullOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return image
}

// tarOf makes a layer with a root entry and the named files, whose bodies are their names.
func tarOf(t testing.TB, files ...string) []byte {
	entries := []tar.Header{layertest.Dir("./", 0o755)}
	for _, f := range files {
		if dir, _, ok := strings.Cut(f, "/"); ok {
			entries = append(entries, layertest.Dir(dir, 0o755))
		}
		entries = append(entries, layertest.File(f, f))
	}
	return layertest.Tar(t, entries...)
}

// inMount reads a file through a detached mount.
func inMount(t testing.TB, f *os.File, err error, path string) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := os.ReadFile(fmt.Sprintf("/proc/self/fd/%d/%s", f.Fd(), path))
	if err != nil {
		return "error: " + err.Error()
	}
	return string(b)
}

// clean waits for the background and checks that nothing half-made is left.
func clean(t testing.TB, s *Store) {
	t.Helper()
	if err := disorder(s); err != nil {
		t.Error(err)
	}
}

// disorder tells what is half-made. What the background is at, or is about to begin,
// has a minute to come to its end.
func disorder(s *Store) error {
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		s.trash.Wait()
		wrong, passing := mismatch(s), remains(s)
		if wrong != nil || passing == nil || time.Now().After(end) {
			return errors.Join(wrong, passing)
		}
	}
}

// mismatch tells where rows and directories disagree, which must never be seen under
// the lock.
func mismatch(s *Store) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	rows := map[string]bool{}
	of := s.db.Snapshot()
	for _, l := range of.Layers {
		rows[l.Tree] = true
	}
	var errs []error
	left, _ := os.ReadDir(s.path("layers"))
	for _, e := range left {
		if _, retired := of.Retired[e.Name()]; !rows[e.Name()] && !retired {
			errs = append(errs, fmt.Errorf("layers/%s has no row", e.Name()))
		}
		delete(rows, e.Name())
	}
	if len(rows) > 0 {
		errs = append(errs, fmt.Errorf("rows without a directory: %v", rows))
	}
	return errors.Join(errs...)
}

// remains tells what goes when the background comes to rest.
func remains(s *Store) error {
	var errs []error
	for _, d := range []string{"tmp", "trash"} {
		if left, _ := os.ReadDir(s.path(d)); len(left) > 0 {
			errs = append(errs, fmt.Errorf("%s holds %v", d, left))
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	wanted := s.stacksWantedLocked()
	left, _ := os.ReadDir(s.path("stacks"))
	for _, e := range left {
		if !wanted[e.Name()] {
			errs = append(errs, fmt.Errorf("stacks/%s has no image", e.Name()))
		}
	}
	return errors.Join(errs...)
}
