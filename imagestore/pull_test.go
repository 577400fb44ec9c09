package imagestore

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-cri/varve/imagestore/layer"
	"github.com/varve-cri/varve/imagestore/layer/layertest"
	"github.com/varve-cri/varve/imagestore/registry"
)

func TestPullFormats(t *testing.T) {
	r := newRemote(t)
	for _, format := range []string{"", "gzip", "zstd"} {
		s := open(t)
		d, id := r.push("team/app:"+"v"+format, picture{format: format, layers: [][]byte{tarOf(t, "a", "d/x"), tarOf(t, "b", "d/.wh.x")}})
		image := pulled(t, s, r.host()+"/team/app:v"+format)
		if image.ID != id.String() || len(image.Tags) != 1 || image.Tags[0] != r.host()+"/team/app:v"+format || len(image.Layers) != 2 || image.Size == 0 {
			t.Errorf("%q: %+v", format, image)
		}
		if want := r.host() + "/team/app@" + d.Digest.String(); len(image.Digests) != 1 || image.Digests[0] != want {
			t.Errorf("%q: digests %v, want %s", format, image.Digests, want)
		}
		f, err := s.MountImage(image.ID)
		if got := inMount(t, f, err, "a"); got != "a" {
			t.Errorf("%q: a holds %q", format, got)
		}
		f, err = s.MountImage(image.ID)
		if got := inMount(t, f, err, "d/x"); !strings.Contains(got, "no such file") {
			t.Errorf("%q: the whiteout hides nothing: %q", format, got)
		}
		m, err := layer.Load(s.path("layers", s.db.Snapshot().Layers[layer.Key{Chain: digest.Digest(image.Layers[1]), Format: s.Format().Name}].Tree))
		if err != nil || m.Parent.String() != image.Layers[0] || m.History.CreatedBy != "layer 1" || m.Blob == "" || m.TarSize == 0 {
			t.Errorf("metadata %+v, %v", m, err)
		}
		clean(t, s)
	}
}

func TestPullByDigestAndPlatform(t *testing.T) {
	r := newRemote(t)
	arm := picture{layers: [][]byte{tarOf(t, "arm")}, platform: ocispec.Platform{OS: "linux", Architecture: "arm64"}}
	amd := picture{layers: [][]byte{tarOf(t, "amd")}, platform: ocispec.Platform{OS: "linux", Architecture: "amd64"}}
	da, ida := r.push("app", arm)
	db, idb := r.push("app", amd)
	top := r.index("app:v1", da, db)
	s := open(t, func(c *Config) { c.Platform = ocispec.Platform{OS: "linux", Architecture: "amd64"} })
	image := pulled(t, s, r.host()+"/app@"+top.String())
	if image.ID != idb.String() || len(image.Tags) != 0 || image.Digests[0] != r.host()+"/app@"+top.String() {
		t.Errorf("%+v", image)
	}
	if image = pulled(t, s, r.host()+"/app:v1"); len(image.Tags) != 1 {
		t.Errorf("%+v", image)
	}
	other, err := s.Pull(t.Context(), r.host()+"/app:v1", PullOptions{Platform: &arm.platform})
	if err != nil || other.ID != ida.String() {
		t.Errorf("other platform: %v, %v", other.ID, err)
	}
	s390 := open(t, func(c *Config) { c.Platform = ocispec.Platform{OS: "linux", Architecture: "s390x"} })
	for _, ref := range []string{"/app:v1", "/app@" + db.Digest.String()} {
		if _, err := s390.Pull(t.Context(), r.host()+ref, PullOptions{}); kind(err) != Platform {
			t.Errorf("%s: %v", ref, err)
		}
	}
}

func kind(err error) Kind {
	if e := (*PullError)(nil); errors.As(err, &e) {
		return e.Kind
	}
	return ""
}

// Every layer is fetched once, whatever the images and callers are.
func TestPullSharesLayers(t *testing.T) {
	r := newRemote(t)
	s := open(t)
	base, app := tarOf(t, "base"), tarOf(t, "app")
	r.push("one:v1", picture{layers: [][]byte{base, app}, format: "gzip"})
	r.push("two:v1", picture{layers: [][]byte{base, tarOf(t, "other")}, format: "gzip", cmd: "2"})
	r.push("three:v1", picture{layers: [][]byte{tarOf(t, "x"), app}, format: "gzip"})
	var wg sync.WaitGroup
	for range 4 {
		for _, name := range []string{"one", "two", "three"} {
			wg.Go(func() { pulled(t, s, r.host()+"/"+name+":v1") })
		}
	}
	wg.Wait()
	for _, blob := range [][]byte{base, app} {
		d := digest.FromBytes(squeeze(t, "gzip", blob))
		if n := r.count("blobs/" + d.String()); n != 1 {
			t.Errorf("blob %s was fetched %d times", d, n)
		}
	}
	trees, _ := os.ReadDir(s.path("layers"))
	if len(trees) != 4 || len(s.db.Snapshot().Layers) != 5 {
		t.Errorf("%d directories for %d layers, want 4 for 5", len(trees), len(s.db.Snapshot().Layers))
	}
	u, _ := s.Usage()
	var all uint64
	for _, image := range s.List() {
		all += image.Size
	}
	if u.Bytes == 0 || u.Bytes >= all || u.Inodes == 0 {
		t.Errorf("usage %+v of images of %d bytes", u, all)
	}
	clean(t, s)
}

// A layer that names a directory only as a parent takes its owner from below.
func TestPullInherits(t *testing.T) {
	r := newRemote(t)
	s := open(t)
	private := layertest.Dir("home/u", 0o700)
	private.Uid = 1000
	lower := layertest.Tar(t, layertest.Dir("./", 0o755), layertest.Dir("home", 0o755), private)
	upper := layertest.Tar(t, layertest.File("home/u/f", "f"))
	r.push("app:v1", picture{layers: [][]byte{lower, tarOf(t, "x"), upper}, format: "gzip"})
	image := pulled(t, s, r.host()+"/app:v1")
	f, err := s.MountImage(image.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := os.Stat(fmt.Sprintf("/proc/self/fd/%d/home/u", f.Fd()))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("home/u: %v, %v", info, err)
	}
	clean(t, s)
}

func TestPullKnownImage(t *testing.T) {
	r := newRemote(t)
	s := open(t)
	r.push("app:v1", picture{layers: [][]byte{tarOf(t, "a")}, cmd: "1"})
	first := pulled(t, s, r.host()+"/app:v1")
	gets := r.count("/")
	if again := pulled(t, s, r.host()+"/app:v1"); again.ID != first.ID || r.count("/") != gets {
		t.Errorf("a known image cost %d GETs", r.count("/")-gets)
	}
	// The tag moves: the name follows, the old image keeps its digest's name.
	_, id := r.push("app:v1", picture{layers: [][]byte{tarOf(t, "a")}, cmd: "2"})
	moved := pulled(t, s, r.host()+"/app:v1")
	old, err := s.Get(first.ID)
	if moved.ID != id.String() || err != nil || len(old.Tags) != 0 || len(old.Digests) != 1 || len(s.List()) != 2 {
		t.Errorf("moved %+v, old %+v, %v", moved, old, err)
	}
	if got, err := s.Get(first.Digests[0]); err != nil || got.ID != first.ID {
		t.Errorf("by the old digest: %v, %v", got.ID, err)
	}
}

func TestGet(t *testing.T) {
	r := newRemote(t)
	s := open(t, func(c *Config) {
		c.Registries = registry.Mirror(r.URL)
		c.Pinned = []string{"busybox:1"}
	})
	r.push("library/busybox:1", picture{layers: [][]byte{tarOf(t, "a")}})
	image := pulled(t, s, "busybox:1")
	for _, ref := range []string{"busybox:1", "docker.io/busybox:1", "docker.io/library/busybox:1", image.ID, image.ID[7:], image.ID[7:19], image.ID[:15], image.Digests[0], "busybox:1@" + strings.SplitN(image.Digests[0], "@", 2)[1]} {
		if got, err := s.Get(ref); err != nil || got.ID != image.ID || !got.Pinned {
			t.Errorf("Get(%q): %v, %v", ref, got.ID, err)
		}
	}
	for _, ref := range []string{"busybox", "busybox:2", "", "zzzz", image.ID[7:10], image.ID[:len(image.ID)-1] + "x", "sha256:" + strings.Repeat("0", 64)} {
		if _, err := s.Get(ref); !errors.Is(err, ErrNotFound) {
			t.Errorf("Get(%q): %v, want ErrNotFound", ref, err)
		}
	}
	// A pin keeps the kubelet's garbage collection away, not people.
	if err := s.Remove(t.Context(), "busybox:1"); err != nil || len(s.List()) != 0 {
		t.Errorf("a pinned image that is removed by name: %v, %v", s.List(), err)
	}
}

func TestMirrors(t *testing.T) {
	first, second := newRemote(t), newRemote(t)
	second.push("library/app:v1", picture{layers: [][]byte{tarOf(t, "a")}})
	var asked []string
	var mu sync.Mutex
	second.breaks(func(_ http.ResponseWriter, q *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, q.URL.Query().Get("ns"))
		return false
	})
	rules := registry.Rules{
		"*":              {Endpoints: []registry.Endpoint{{URL: first.URL + "/v2/"}, {URL: second.URL}}},
		"only.example":   {Endpoints: []registry.Endpoint{{URL: first.URL}}},
		second.host():    {Endpoints: []registry.Endpoint{{URL: first.URL}}, Fallback: true},
		"broken.example": {Endpoints: []registry.Endpoint{{URL: "http://127.0.0.1:1"}, {URL: second.URL, NoNamespace: true}}},
	}
	s := open(t, func(c *Config) { c.Registries = rules })
	pulled(t, s, "app:v1")
	if len(asked) == 0 || asked[0] != "docker.io" {
		t.Errorf("the mirror was asked with ns %v", asked)
	}
	pulled(t, s, second.host()+"/library/app:v1")
	pulled(t, s, "broken.example/library/app:v1")
	if _, err := s.Pull(t.Context(), "only.example/library/app:v1", PullOptions{}); kind(err) != NotFound {
		t.Errorf("no fallback: %v", err)
	}
	_, err := s.Pull(t.Context(), "elsewhere.example/library/none:v1", PullOptions{})
	if kind(err) != NotFound || !strings.Contains(err.Error(), "before that "+first.host()) {
		t.Errorf("all mirrors lack it: %v", err)
	}
	for _, bad := range []string{"ftp://x", "http://", "http://u:p@h", "x", "http://h?q"} {
		if _, err := Open(Config{Root: t.TempDir(), Registries: registry.Mirror(bad)}); err == nil {
			t.Errorf("mirror %q was taken", bad)
		}
	}
}

// The faults of registries and what each is to the caller.
func TestFaults(t *testing.T) {
	plain := tarOf(t, "a", "b")
	blob := squeeze(t, "gzip", plain)
	blobPath := "/blobs/" + digest.FromBytes(blob).String()
	times := func(n int, path string, answer func(w http.ResponseWriter, q *http.Request)) func() func(http.ResponseWriter, *http.Request) bool {
		return func() func(http.ResponseWriter, *http.Request) bool {
			left := n
			var mu sync.Mutex
			return func(w http.ResponseWriter, q *http.Request) bool {
				mu.Lock()
				defer mu.Unlock()
				if !strings.Contains(q.URL.Path, path) || left == 0 {
					return false
				}
				left--
				answer(w, q)
				return true
			}
		}
	}
	status := func(code int) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	later := func(after string) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", after)
			w.WriteHeader(http.StatusTooManyRequests)
		}
	}
	body := func(b []byte) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(b) }
	}
	part := func(w http.ResponseWriter, q *http.Request) {
		from := 0
		_, _ = fmt.Sscanf(q.Header.Get("Range"), "bytes=%d-", &from)
		if from > 0 {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(blob)-1, len(blob)))
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(blob[from:min(from+10, len(blob))])
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(blob)))
		_, _ = w.Write(blob[:10])
	}
	stall := func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(blob)))
		_, _ = w.Write(blob[:10])
		_ = http.NewResponseController(w).Flush()
		<-q.Context().Done()
	}
	for name, c := range map[string]struct {
		fault func() func(http.ResponseWriter, *http.Request) bool
		want  Kind
		text  string
	}{
		"404":                       {times(-1, "/manifests/", status(404)), NotFound, "404"},
		"blob 404":                  {times(-1, blobPath, status(404)), NotFound, "fetch blob"},
		"401":                       {times(-1, "/manifests/", status(401)), Unauthorized, "401"},
		"403":                       {times(-1, "/manifests/", status(403)), Unauthorized, "403"},
		"500 always":                {times(-1, "/manifests/", status(500)), Unavailable, "500"},
		"503 twice":                 {times(2, "/manifests/", status(503)), "", ""},
		"blob 502 once":             {times(1, blobPath, status(502)), "", ""},
		"429 with a date":           {times(1, "/manifests/", later(time.Now().Add(time.Second).UTC().Format(http.TimeFormat))), "", ""},
		"429 once":                  {times(1, "/manifests/", later("1")), "", ""},
		"429 too long":              {times(-1, "/manifests/", later("3600")), RateLimited, "429"},
		"429 always":                {times(-1, "/manifests/", later("0")), RateLimited, "429"},
		"manifest is html":          {times(-1, "/manifests/", body([]byte("<html>"))), Invalid, "invalid character"},
		"manifest 5 MiB":            {times(-1, "/manifests/", body(bytes.Repeat([]byte(" "), 5<<20))), Invalid, "too large"},
		"wrong length":              {times(-1, blobPath, body(blob[:len(blob)-1])), Digest, "the manifest says"},
		"wrong bytes":               {times(-1, blobPath, body(bytes.Repeat([]byte("x"), len(blob)))), Digest, "digest is"},
		"truncated once":            {times(1, blobPath, part), "", ""},
		"truncated again and again": {times(-1, blobPath, part), "", ""},
		"stalled once":              {times(1, blobPath, stall), "", ""},
		"stalled always":            {times(-1, blobPath, stall), Unavailable, "stalled"},
		"tag's digest disagrees": {times(-1, "/manifests/", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Docker-Content-Digest", digest.FromString("other").String())
			_, _ = w.Write([]byte(`{"schemaVersion":2}`))
		}), Digest, "digest is"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRemote(t)
			r.push("app:v1", picture{layers: [][]byte{plain}, format: "gzip"})
			s := open(t, func(cfg *Config) {
				if strings.HasPrefix(name, "stalled") {
					cfg.Network.StallWindow = 500 * time.Millisecond
				}
			})
			r.breaks(c.fault())
			_, err := s.Pull(t.Context(), r.host()+"/app:v1", PullOptions{})
			if kind(err) != c.want || err != nil && !strings.Contains(err.Error(), c.text) {
				t.Errorf("error %v of kind %q, want %q with %q", err, kind(err), c.want, c.text)
			}
			if err != nil && (!strings.HasPrefix(err.Error(), "pull "+r.host()+"/app:v1: ") || strings.Contains(err.Error(), "failed to")) {
				t.Errorf("message %q", err)
			}
			r.breaks(nil)
			pulled(t, s, r.host()+"/app:v1")
			clean(t, s)
		})
	}
}

func TestRegistryDown(t *testing.T) {
	s := open(t)
	_, err := s.Pull(t.Context(), "127.0.0.1:1/app:v1", PullOptions{})
	if e := (*PullError)(nil); kind(err) != Unavailable || !errors.As(err, &e) || e.Host != "127.0.0.1:1" || !strings.Contains(err.Error(), "refused") {
		t.Errorf("%v", err)
	}
}

func TestBadImages(t *testing.T) {
	good := tarOf(t, "a")
	r := newRemote(t)
	for name, c := range map[string]struct {
		p    picture
		want Kind
		text string
	}{
		"lying diff id":  {picture{layers: [][]byte{good}, edit: func(_ *ocispec.Manifest, i *ocispec.Image) { i.RootFS.DiffIDs[0] = digest.FromString("x") }}, Digest, "digest is"},
		"no rootfs":      {picture{layers: [][]byte{good}, edit: func(_ *ocispec.Manifest, i *ocispec.Image) { i.RootFS = ocispec.RootFS{} }}, Invalid, "rootfs"},
		"too few diffs":  {picture{layers: [][]byte{good}, edit: func(_ *ocispec.Manifest, i *ocispec.Image) { i.RootFS.DiffIDs = nil }}, Invalid, "diff ids"},
		"blob size lies": {picture{layers: [][]byte{good}, edit: func(m *ocispec.Manifest, _ *ocispec.Image) { m.Layers[0].Size-- }}, Digest, "the manifest says"},
		"artifact":       {picture{layers: [][]byte{good}, edit: func(m *ocispec.Manifest, _ *ocispec.Image) { m.ArtifactType = "application/x" }}, Artifact, `an artifact, not an image of type "application/x"`},
		"config of artifact": {picture{layers: [][]byte{good}, edit: func(m *ocispec.Manifest, _ *ocispec.Image) {
			m.Config.MediaType = "application/vnd.cncf.helm.config.v1+json"
			m.Config.Digest = digest.FromString("{}")
			m.Config.Size = 2
		}}, Artifact, "helm.config"},
		"no file tree":         {picture{layers: [][]byte{good}, edit: func(m *ocispec.Manifest, _ *ocispec.Image) { m.Layers[0].MediaType = "application/gguf" }}, Artifact, "application/gguf"},
		"dotdot":               {picture{layers: [][]byte{layertest.Tar(t, layertest.File("../evil", "x"))}, format: "gzip"}, Invalid, "climbs out"},
		"link out":             {picture{layers: [][]byte{layertest.Tar(t, tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "/etc"}, layertest.File("l/evil", "x"))}, format: "gzip"}, Invalid, "l/evil"},
		"hard link to nothing": {picture{layers: [][]byte{layertest.Tar(t, tar.Header{Name: "h", Typeflag: tar.TypeLink, Linkname: "etc/passwd"})}, format: "gzip"}, Invalid, "etc/passwd"},
		"truncated tar":        {picture{layers: [][]byte{good[:len(good)-1700]}, format: "gzip"}, Invalid, "unexpected EOF"},
		"not a tar":            {picture{layers: [][]byte{bytes.Repeat([]byte("x"), 4096)}, format: "gzip"}, Invalid, "tar"},
		"bomb":                 {picture{layers: [][]byte{make([]byte, 9<<20)}, format: "gzip"}, Invalid, "more than"},
		"big file":             {picture{layers: [][]byte{layertest.Tar(t, layertest.File("f", strings.Repeat("x", 9<<20)))}, format: "gzip"}, Invalid, "more than"},
	} {
		t.Run(name, func(t *testing.T) {
			tag := "app:" + strings.ReplaceAll(name, " ", "-")
			r.push(tag, c.p)
			s := open(t, func(c *Config) { c.MaxLayerBytes = 8 << 20 })
			_, err := s.Pull(t.Context(), r.host()+"/"+tag, PullOptions{})
			if kind(err) != c.want || !strings.Contains(fmt.Sprint(err), c.text) {
				t.Errorf("error %v of kind %q, want %q with %q", err, kind(err), c.want, c.text)
			}
			if len(s.List()) != 0 {
				t.Error("a bad image is listed")
			}
			waitFor(t, func() bool { return len(s.db.Snapshot().Layers) == 0 })
			clean(t, s)
		})
	}
	if _, err := open(t).Pull(t.Context(), "Bad/Name:x", PullOptions{}); kind(err) != Invalid {
		t.Errorf("bad reference: %v", err)
	}
}

func waitFor(t testing.TB, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Error("it did not come to be")
			return
		}
	}
}

// A cancel stops the transfer at once, at every step, and leaves nothing.
func TestCancel(t *testing.T) {
	for _, path := range []string{"/manifests/", "/blobs/"} {
		t.Run(path, func(t *testing.T) {
			r := newRemote(t)
			layers := [][]byte{tarOf(t, "a")}
			r.push("app:v1", picture{layers: layers, format: "gzip"})
			ctx, cancel := context.WithCancel(t.Context())
			gone := make(chan struct{}, 9)
			r.breaks(func(w http.ResponseWriter, q *http.Request) bool {
				if !strings.Contains(q.URL.Path, path) {
					return false
				}
				// Without a length: a wrong one would be an error that comes first, at times.
				_, _ = w.Write([]byte{0x1f})
				_ = http.NewResponseController(w).Flush()
				cancel()
				<-q.Context().Done()
				gone <- struct{}{}
				return true
			})
			s := open(t, func(c *Config) { c.Network.StallWindow, c.Network.Header = time.Hour, time.Hour }) // which end no transfer here
			_, err := s.Pull(ctx, r.host()+"/app:v1", PullOptions{})
			if kind(err) != Canceled || !errors.Is(err, context.Canceled) {
				t.Errorf("%v", err)
			}
			select {
			case <-gone:
			case <-time.After(time.Minute):
				t.Error("the transfer goes on")
			}
			s.layers.Wait()
			clean(t, s)
		})
	}
}

// The deadline of one caller is not the end of another's pull.
func TestCancelOfOneCaller(t *testing.T) {
	r := newRemote(t)
	plain := tarOf(t, "a")
	r.push("app:v1", picture{layers: [][]byte{plain}, format: "gzip"})
	s := open(t)
	enter, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	r.breaks(func(_ http.ResponseWriter, q *http.Request) bool {
		if strings.Contains(q.URL.Path, digest.FromBytes(squeeze(t, "gzip", plain)).String()) {
			once.Do(func() { close(enter) })
			<-release
		}
		return false
	})
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() { _, err := s.Pull(ctx, r.host()+"/app:v1", PullOptions{}); first <- err }()
	<-enter
	second := make(chan error, 1)
	go func() { _, err := s.Pull(t.Context(), r.host()+"/app:v1", PullOptions{}); second <- err }()
	waitFor(t, func() bool { return s.layers.Callers() == 2 })
	cancel()
	if err := <-first; kind(err) != Canceled {
		t.Errorf("first: %v", err)
	}
	close(release)
	if err := <-second; err != nil {
		t.Errorf("second: %v", err)
	}
	if n := r.count("blobs/" + digest.FromBytes(squeeze(t, "gzip", plain)).String()); n != 1 {
		t.Errorf("%d transfers", n)
	}
}
