package imagestore

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-cri/varve/imagestore/layer/layertest"
	"github.com/varve-cri/varve/imagestore/registry"
)

// repeated gives n bytes of a repeated text.
func repeated(text string, n int64) io.Reader {
	// A text of one byte is copied byte by byte otherwise.
	return io.LimitReader(&endlessText{text: strings.Repeat(text, 1+64<<10/len(text))}, n)
}

type endlessText struct {
	text string
	at   int
}

func (e *endlessText) Read(p []byte) (n int, err error) {
	for n < len(p) {
		m := copy(p[n:], e.text[e.at:])
		e.at = (e.at + m) % len(e.text)
		n += m
	}
	return n, nil
}

// packed compresses r.
func packed(t testing.TB, format string, r io.Reader) []byte {
	t.Helper()
	var out bytes.Buffer
	var w io.WriteCloser
	if format == "zstd" {
		w, _ = zstd.NewWriter(&out, zstd.WithWindowSize(8<<20), zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	} else {
		w, _ = gzip.NewWriterLevel(&out, 1)
	}
	if _, err := io.Copy(w, r); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// bigFile is a tar of one file with n zeros.
func bigFile(t testing.TB, n int64) io.Reader {
	t.Helper()
	var head bytes.Buffer
	if err := tar.NewWriter(&head).WriteHeader(&tar.Header{Name: "f", Size: n, Mode: 0o644}); err != nil {
		t.Fatal(err)
	}
	return io.MultiReader(&head, repeated("\x00", n+1024))
}

// Bombs of every kind end at a limit, which the error names with its key, and cost
// no memory that grows with them.
func TestDecompressionBombs(t *testing.T) {
	const much = 96 << 20 // more than the layer and the heap may have together
	entries := func() io.Reader {
		one := string(layertest.Tar(t, layertest.File("f", ""))[:512])
		return repeated(one, 512*60_000)
	}
	deepNames := func() io.Reader {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for i := range 100 {
			h := layertest.Dir(fmt.Sprintf("%d/%s", i, strings.Repeat("d/", 1900)), 0o755)
			if err := w.WriteHeader(&h); err != nil {
				t.Fatal(err)
			}
		}
		return &b
	}
	// A window of 128 MiB that the frame only claims to need.
	window := func(descriptor byte) []byte {
		return append([]byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, descriptor}, make([]byte, 64)...)
	}
	sparse, err := exec.Command("sh", "-c", "cd "+t.TempDir()+" && truncate -s 900G f && tar --sparse --format=pax -cf - f").Output()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		blob []byte
		word string
	}{
		"gzip, one file":           {packed(t, "gzip", bigFile(t, much)), "more than 33554432 bytes: the layer holds more than is allowed (limit: images.maxLayerBytes)"},
		"gzip, no tar":             {packed(t, "gzip", repeated("\x00", much)), "images.maxLayerBytes"},
		"zstd, one file":           {packed(t, "zstd", bigFile(t, much)), "images.maxLayerBytes"},
		"gzip, text":               {packed(t, "gzip", repeated("not a tar at all ", much)), "tar"},
		"gzip of gzip":             {packed(t, "gzip", bytes.NewReader(packed(t, "gzip", bigFile(t, much)))), ""},
		"zstd window of 256 MiB":   {window(18 << 3), "zstd: "},
		"zstd window of 3.75 TiB":  {window(31<<3 | 7), "zstd: "},
		"many entries, gzip":       {packed(t, "gzip", entries()), "more than 50000 entries: the layer holds more than is allowed (limit: images.maxLayerEntries)"},
		"many entries, zstd":       {packed(t, "zstd", entries()), "images.maxLayerEntries"},
		"directories nobody names": {packed(t, "gzip", deepNames()), "images.maxLayerEntries"},
		"sparse file of 900 GiB":   {packed(t, "gzip", bytes.NewReader(sparse)), "images.maxLayerBytes"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRemote(t)
			r.push("app:v1", picture{layers: [][]byte{tarOf(t, "x")}, edit: func(m *ocispec.Manifest, _ *ocispec.Image) {
				m.Layers[0].Digest, m.Layers[0].Size = r.blob("app", c.blob), int64(len(c.blob))
			}})
			s := open(t, func(c *Config) { c.MaxLayerBytes, c.MaxLayerEntries = 32<<20, 50_000 })
			grown := heapGrowth(func() {
				if err := refusedAny(t, s, r.host()+"/app:v1"); !strings.Contains(fmt.Sprint(err), c.word) {
					t.Errorf("%v, want %q", err, c.word)
				}
			})
			if grown > 56<<20 {
				t.Errorf("a blob of %d bytes took %d MiB of heap", len(c.blob), grown>>20)
			}
		})
	}
}

// The layers of one image have a limit together, while they are unpacked and when
// some of them are there already.
func TestImageIsTooLarge(t *testing.T) {
	r := newRemote(t)
	var layers [][]byte
	for i := range 6 {
		layers = append(layers, layertest.Tar(t, layertest.File(fmt.Sprint("f", i), strings.Repeat(fmt.Sprint(i), 3<<20))))
	}
	r.push("big:v1", picture{layers: layers, format: "gzip"})
	r.push("half:v1", picture{layers: layers[:3], format: "gzip"})
	s := open(t, func(c *Config) { c.MaxImageBytes = 12 << 20 })
	word := "all layers: more than 12582912 bytes: the image is too large (limit: images.maxImageBytes)"
	refused(t, s, r.host()+"/big:v1", Invalid, word, "unpack layer sha256:")
	pulled(t, s, r.host()+"/half:v1")
	refused(t, s, r.host()+"/big:v1", Invalid, word)
	// What the blobs alone say is enough: none is asked for.
	r.push("claims:v1", picture{layers: layers[:2], format: "gzip", edit: func(m *ocispec.Manifest, _ *ocispec.Image) {
		m.Layers[0].Size, m.Layers[1].Size = 7<<20, 7<<20
	}})
	before := r.count("/v2/claims/blobs/")
	refused(t, s, r.host()+"/claims:v1", Invalid, word, "read manifest sha256:")
	if n := r.count("/v2/claims/blobs/") - before; n > 1 { // the config
		t.Errorf("%d blobs were asked for", n)
	}
}

// Two registries that disagree: a mirror with other bytes for a digest is passed
// over or refused, and one with another manifest for a tag is believed in nothing
// that the digest contradicts.
func TestMirrorsDisagree(t *testing.T) {
	good, evil := newRemote(t), newRemote(t)
	p := picture{layers: [][]byte{tarOf(t, "a")}, format: "gzip"}
	d, id := good.push("library/app:v1", p)
	_, other := evil.push("library/app:v1", picture{layers: [][]byte{tarOf(t, "evil")}, format: "gzip"})
	rules := registry.Rules{"*": {Endpoints: []registry.Endpoint{{URL: evil.URL}, {URL: good.URL}}}}
	mirrored := func() *Store { return open(t, func(c *Config) { c.Registries = rules }) }
	t.Run("a tag is the first answer's", func(t *testing.T) {
		if image := pulled(t, mirrored(), "app:v1"); image.ID != other.String() {
			t.Errorf("%+v", image)
		}
	})
	t.Run("by digest only the true bytes", func(t *testing.T) {
		image := pulled(t, mirrored(), "app@"+d.Digest.String())
		if image.ID != id.String() {
			t.Errorf("%+v", image)
		}
	})
	t.Run("other manifest under the digest", func(t *testing.T) {
		evil.serves(map[string]answer{"/manifests/" + d.Digest.String(): {contentType: ocispec.MediaTypeImageManifest, body: evil.manifestOf(p)[1:]}})
		defer evil.breaks(nil)
		s := mirrored()
		image, err := s.Pull(t.Context(), "app@"+d.Digest.String(), PullOptions{})
		if err == nil && image.ID != id.String() || err != nil && kind(err) != Digest {
			t.Errorf("%+v, %v", image, err)
		}
	})
	t.Run("other bytes under the layer's digest", func(t *testing.T) {
		var m ocispec.Manifest
		body := good.manifestOf(p)
		decodeInto(t, bytes.NewReader(body), &m)
		lie := squeeze(t, "gzip", tarOf(t, "evil"))
		lie = append(lie, make([]byte, max(0, int(m.Layers[0].Size)-len(lie)))...)[:m.Layers[0].Size]
		evil.serves(map[string]answer{"/manifests/v9": {contentType: ocispec.MediaTypeImageManifest, body: body}, "/blobs/" + m.Layers[0].Digest.String(): {body: lie}, "/blobs/" + m.Config.Digest.String(): {body: []byte("{}")}})
		defer evil.breaks(nil)
		s := mirrored()
		image, err := s.Pull(t.Context(), "app:v9", PullOptions{})
		if err == nil {
			f, err := s.MountImage(image.ID)
			if got := inMount(t, f, err, "a"); got != "a" || image.ID != id.String() {
				t.Errorf("%+v: a holds %q", image, got)
			}
		} else if kind(err) != Digest {
			t.Errorf("%v", err)
		}
		evil.breaks(nil)
		if image := pulled(t, s, "app@"+d.Digest.String()); image.ID != id.String() {
			t.Errorf("%+v", image)
		}
	})
	t.Run("HEAD and GET disagree", func(t *testing.T) {
		r := newRemote(t)
		_, id := r.push("app:v1", p)
		s := open(t)
		pulled(t, s, r.host()+"/app:v1")
		r.breaks(func(w http.ResponseWriter, q *http.Request) bool {
			if q.Method == http.MethodHead {
				w.Header().Set("Docker-Content-Digest", digest.FromString("another").String())
				return true
			}
			return false
		})
		if image := pulled(t, s, r.host()+"/app:v1"); image.ID != id.String() {
			t.Errorf("%+v", image)
		}
	})
}

// Layers that are not what the manifest or the config says, and kinds of layers.
func TestBadLayers(t *testing.T) {
	plain := layertest.Tar(t, layertest.Dir("./", 0o755), layertest.File("f", "some text"))
	gz := squeeze(t, "gzip", plain)
	set := func(mediaType string) func(*ocispec.Manifest, *ocispec.Image) {
		return func(m *ocispec.Manifest, _ *ocispec.Image) { m.Layers[0].MediaType = mediaType }
	}
	grow := func(n int64) func(*ocispec.Manifest, *ocispec.Image) {
		return func(m *ocispec.Manifest, _ *ocispec.Image) { m.Layers[0].Size += n }
	}
	sha512 := digest.SHA512.FromBytes(gz)
	for name, c := range map[string]struct {
		edit func(*ocispec.Manifest, *ocispec.Image)
		want Kind // "" for an image that is right
		word string
	}{
		"diff id of another layer": {func(_ *ocispec.Manifest, i *ocispec.Image) { i.RootFS.DiffIDs[0] = digest.FromString("x") }, Digest, "uncompressed layer " + digest.FromString("x").String()},
		"diff id of the blob":      {func(m *ocispec.Manifest, i *ocispec.Image) { i.RootFS.DiffIDs[0] = m.Layers[0].Digest }, Digest, "digest is"},
		"blob shorter than said":   {grow(9), Digest, "the manifest says"},
		"blob longer than said":    {grow(-9), Digest, "the manifest says"},
		"blob of size 0":           {func(m *ocispec.Manifest, _ *ocispec.Image) { m.Layers[0].Size = 0 }, Digest, ""},
		"blob of size 1 TiB":       {func(m *ocispec.Manifest, _ *ocispec.Image) { m.Layers[0].Size = 1 << 41 }, Invalid, "size"},
		"unknown algorithm": {func(m *ocispec.Manifest, _ *ocispec.Image) {
			m.Layers[0].Digest = "blake3:" + digest.Digest(strings.Repeat("a", 64))
		}, Invalid, "blake3"},
		"sha384": {func(m *ocispec.Manifest, _ *ocispec.Image) { m.Layers[0].Digest = digest.SHA384.FromBytes(gz) }, Invalid, "sha384"},
		"md5 diff id": {func(_ *ocispec.Manifest, i *ocispec.Image) {
			i.RootFS.DiffIDs[0] = "md5:d41d8cd98f00b204e9800998ecf8427e"
		}, Invalid, "md5"},
		"451 layers": {func(m *ocispec.Manifest, i *ocispec.Image) {
			for range 450 {
				m.Layers, i.RootFS.DiffIDs = append(m.Layers, m.Layers[0]), append(i.RootFS.DiffIDs, i.RootFS.DiffIDs[0])
			}
		}, Invalid, "451 layers, at most 450"},
		"config of 5 MiB":         {func(_ *ocispec.Manifest, i *ocispec.Image) { i.Author = strings.Repeat("a", 5<<20) }, Invalid, "size 52"},
		"not a file tree":         {set("application/vnd.cncf.helm.chart.content.v1.config"), Artifact, "not a file tree"},
		"encrypted":               {set(ocispec.MediaTypeImageLayerGzip + "+encrypted"), Invalid, "encrypted layers are not supported"},
		"says zstd and is gzip":   {set(ocispec.MediaTypeImageLayerZstd), "", ""},
		"says plain and is gzip":  {set(ocispec.MediaTypeImageLayer), "", ""},
		"says nothing of packing": {set("application/vnd.docker.image.rootfs.diff.tar"), "", ""},
		"nondistributable":        {set(ocispec.MediaTypeImageLayerNonDistributableGzip), "", ""}, //nolint:staticcheck // old images have them
		"docker's foreign":        {set("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"), "", ""},
		"annotations do not count": {func(m *ocispec.Manifest, _ *ocispec.Image) {
			m.Layers[0].Annotations = map[string]string{"io.github.containers.zstd-chunked.manifest-position": "1:2:3:4", "containerd.io/snapshot/stargz/toc.digest": "sha256:00"}
		}, "", ""},
		"data that is embedded and lies": {func(m *ocispec.Manifest, _ *ocispec.Image) { m.Layers[0].Data = []byte("other bytes") }, "", ""},
		"sha512":                         {func(m *ocispec.Manifest, _ *ocispec.Image) { m.Layers[0].Digest = sha512 }, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRemote(t)
			_, id := r.push("app:v1", picture{layers: [][]byte{plain}, format: "gzip", edit: c.edit})
			r.serves(map[string]answer{"/blobs/" + sha512.String(): {body: gz, header: map[string]string{"Content-Length": fmt.Sprint(len(gz))}}})
			s := open(t)
			if c.want != "" {
				refused(t, s, r.host()+"/app:v1", c.want, c.word)
				return
			}
			image := pulled(t, s, r.host()+"/app:v1")
			f, err := s.MountImage(image.ID)
			if got := inMount(t, f, err, "f"); got != "some text" || image.ID != id.String() {
				t.Errorf("f holds %q", got)
			}
		})
	}
}

// Layers that are strange and right: several times the same one, empty ones, a
// blob of no bytes, and those of formats that are gzip or zstd in disguise.
func TestStrangeLayers(t *testing.T) {
	plain := layertest.Tar(t, layertest.File("f", "some text"), layertest.File("g", strings.Repeat("more ", 5000)))
	empty := layertest.Tar(t)
	// eStargz: each file a gzip member of its own, then the table and a footer.
	// zstd:chunked: frames of their own, then the table in frames that are skipped.
	var members, frames bytes.Buffer
	for at := 0; at < len(plain); at += 1000 {
		piece := plain[at:min(at+1000, len(plain))]
		members.Write(squeeze(t, "gzip", piece))
		frames.Write(squeeze(t, "zstd", piece))
	}
	skippable := append([]byte{0x50, 0x2a, 0x4d, 0x18, 16, 0, 0, 0}, "a table of files"...)
	frames.Write(skippable)
	for name, c := range map[string]struct {
		layers [][]byte
		blob   []byte // of the last layer; nil for gzip
		files  map[string]string
	}{
		"one layer three times":                            {[][]byte{plain, plain, plain}, nil, map[string]string{"f": "some text"}},
		"one layer on top of itself, with another between": {[][]byte{plain, layertest.Tar(t, layertest.File(".wh.f", "")), plain}, nil, map[string]string{"f": "some text"}},
		"empty layers":                                     {[][]byte{empty, plain, empty, empty}, nil, map[string]string{"f": "some text"}},
		"a blob of no bytes":                               {[][]byte{plain, {}}, []byte{}, map[string]string{"f": "some text"}},
		"no layers":                                        {nil, nil, nil},
		"eStargz":                                          {[][]byte{plain}, members.Bytes(), map[string]string{"f": "some text"}},
		"zstd:chunked":                                     {[][]byte{plain}, frames.Bytes(), map[string]string{"f": "some text"}},
		"zstd that begins with a skippable frame":          {[][]byte{plain}, append(bytes.Clone(skippable), squeeze(t, "zstd", plain)...), map[string]string{"f": "some text"}},
		"gzip with a name and a comment":                   {[][]byte{plain}, named(t, plain), map[string]string{"f": "some text"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRemote(t)
			r.push("app:v1", picture{layers: c.layers, format: "gzip", edit: func(m *ocispec.Manifest, _ *ocispec.Image) {
				if last := len(m.Layers) - 1; c.blob != nil {
					m.Layers[last].Digest, m.Layers[last].Size = r.blob("app", c.blob), int64(len(c.blob))
				}
			}})
			s := open(t)
			image := pulled(t, s, r.host()+"/app:v1")
			if len(image.Layers) != len(c.layers) {
				t.Errorf("%d layers, want %d", len(image.Layers), len(c.layers))
			}
			for path, want := range c.files {
				f, err := s.MountImage(image.ID)
				if got := inMount(t, f, err, path); got != want {
					t.Errorf("%s holds %q", path, got)
				}
			}
			clean(t, s)
			if err := s.Remove(t.Context(), image.ID); err != nil {
				t.Error(err)
			}
			waitFor(t, func() bool { return len(contentRows(s)) == 0 })
			clean(t, s)
		})
	}
}

func named(t *testing.T, plain []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Name, w.Comment, w.Extra = "../../etc/passwd", strings.Repeat("c", 400), []byte("SG\x16\x00 extra")
	if _, err := w.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// Documents of Docker schema 1, and indexes that lead nowhere or in a circle.
func TestBadDocuments(t *testing.T) {
	r := newRemote(t)
	schema1 := `{"schemaVersion":1,"name":"app","tag":"v1","architecture":"amd64","fsLayers":[{"blobSum":"` + digest.FromString("x").String() + `"}],"history":[{"v1Compatibility":"{}"}]}`
	entry := func(mediaType string, body []byte) string {
		b, err := json.Marshal(ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(body), Size: int64(len(body))})
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	index := func(entries ...string) []byte {
		return []byte(`{"schemaVersion":2,"mediaType":"` + ocispec.MediaTypeImageIndex + `","manifests":[` + strings.Join(entries, ",") + `]}`)
	}
	answers := map[string]answer{}
	body, depth := index(entry(ocispec.MediaTypeImageManifest, []byte("x"))), 6
	for range depth {
		answers["/manifests/"+digest.FromBytes(body).String()] = answer{contentType: ocispec.MediaTypeImageIndex, body: body}
		body = index(entry(ocispec.MediaTypeImageIndex, body))
	}
	answers["/manifests/deep"] = answer{contentType: ocispec.MediaTypeImageIndex, body: body}
	for name, c := range map[string]struct {
		contentType string
		body        []byte
		want        Kind
		word        string
	}{
		"schema1":   {"application/vnd.docker.distribution.manifest.v1+prettyjws", []byte(schema1), Invalid, "docker schema 1 manifests are not supported"},
		"schema1b":  {"application/json", []byte(schema1), Invalid, "docker schema 1"},
		"noentries": {ocispec.MediaTypeImageIndex, index(), Invalid, "index with 0 manifests"},
		"manyindex": {ocispec.MediaTypeImageIndex, index(strings.Split(strings.Repeat(entry(ocispec.MediaTypeImageManifest, []byte("x"))+"\n", 10_001), "\n")[:10_001]...), Invalid, "index with 10001 manifests"},
		"dangling":  {ocispec.MediaTypeImageIndex, index(entry(ocispec.MediaTypeImageManifest, []byte("gone"))), NotFound, "404"},
		"artifact":  {ocispec.MediaTypeImageManifest, []byte(`{"schemaVersion":2,"artifactType":"application/x","config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"` + digest.FromString("{}").String() + `","size":2},"layers":[]}`), Artifact, `of type "application/x"`},
		"wrongsize": {ocispec.MediaTypeImageIndex, index(strings.Replace(entry(ocispec.MediaTypeImageIndex, answers["/manifests/deep"].body), `"size":`, `"size":1`, 1)), NotFound, ""},
		"deep":      {ocispec.MediaTypeImageIndex, body, Invalid, "more than 3 indexes within each other"},
	} {
		t.Run(name, func(t *testing.T) {
			answers["/manifests/"+name] = answer{contentType: c.contentType, body: c.body}
			r.serves(answers)
			refused(t, open(t), r.host()+"/app:"+name, c.want, c.word)
		})
	}
}

// A registry's own faults while it sends: ranges that lie, bodies without an end.
func TestLyingRanges(t *testing.T) {
	r := newRemote(t)
	plain := layertest.Tar(t, layertest.File("f", strings.Repeat("0123456789abcdef", 64<<10)))
	var blobs atomic.Int64
	r.push("app:v1", picture{layers: [][]byte{plain}})
	path := "/blobs/" + digest.FromBytes(plain).String()
	for name, c := range map[string]struct {
		contentRange string
		body         []byte
	}{
		"from the start":      {"bytes 0-9/10", plain},
		"backwards":           {"bytes 9-0/10", plain},
		"of other content":    {"bytes %d-%d/99", bytes.Repeat([]byte("x"), len(plain))},
		"in letters":          {"bytes a-b/c", plain},
		"none":                {"", plain},
		"beyond 2^63":         {"bytes 99999999999999999999-99999999999999999999/1", plain},
		"negative":            {"bytes -5--1/10", plain},
		"more than asked for": {"bytes %d-%d/*", append(bytes.Clone(plain), plain...)},
	} {
		t.Run(name, func(t *testing.T) {
			r.breaks(func(w http.ResponseWriter, q *http.Request) bool {
				if !strings.HasSuffix(q.URL.Path, path) {
					return false
				}
				blobs.Add(1)
				if q.Header.Get("Range") == "" {
					w.Header().Set("Content-Length", fmt.Sprint(len(plain)))
					_, _ = w.Write(plain[:len(plain)/2])
					panic(http.ErrAbortHandler)
				}
				var from, to int
				_, _ = fmt.Sscanf(q.Header.Get("Range"), "bytes=%d-%d", &from, &to)
				said := c.contentRange
				if strings.Contains(said, "%d") {
					said = fmt.Sprintf(said, from, to)
				}
				w.Header().Set("Content-Range", said)
				w.WriteHeader(http.StatusPartialContent)
				_, _ = w.Write(c.body[min(from, len(c.body)):])
				return true
			})
			s := open(t)
			blobs.Store(0)
			_, err := s.Pull(t.Context(), r.host()+"/app:v1", PullOptions{})
			if k := kind(err); err != nil && k != Unavailable && k != Digest || blobs.Load() > 80 {
				t.Errorf("after %d requests: %v", blobs.Load(), err)
			}
			settled(t, s)
			r.breaks(nil)
			image := pulled(t, s, r.host()+"/app:v1")
			f, err := s.MountImage(image.ID)
			if got := inMount(t, f, err, "f"); len(got) != 1<<20 {
				t.Errorf("f has %d bytes", len(got))
			}
			clean(t, s)
		})
	}
}
