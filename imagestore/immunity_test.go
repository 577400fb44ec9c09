package imagestore

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-cri/varve/imagestore/manifest"
	"github.com/varve-cri/varve/imagestore/registry"
)

// What registries and manifests have done to software of this kind: each test
// has the id of a published vulnerability, and shows on a real store and a real
// connection that it is not ours. e2e/immunity has the list of all.

func decodeInto(t testing.TB, r io.Reader, v any) {
	t.Helper()
	if err := json.NewDecoder(r).Decode(v); err != nil {
		t.Fatal(err)
	}
}

// CVE-2020-1702, and CVE-2023-25153's huge documents: whatever a registry may
// send as a document is read to a bound, and no further.
func TestCVE_2020_1702_AnswersAreBounded(t *testing.T) {
	const most = 512 << 20
	flood := func(sent *atomic.Int64, unit string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) { endless(w, bytes.Repeat([]byte(unit), 32<<10/len(unit)), most, sent) }
	}
	for name, c := range map[string]struct {
		path    string
		status  int
		header  map[string]string
		unit    string
		want    Kind
		word    string
		changed func(*ocispec.Manifest)
	}{
		"manifest":             {"/manifests/v1", 200, map[string]string{"Content-Type": ocispec.MediaTypeImageManifest}, " ", Invalid, "more than 4194304", nil},
		"index":                {"/manifests/v1", 200, map[string]string{"Content-Type": ocispec.MediaTypeImageIndex}, `{"manifests":[`, Invalid, "more than 4194304", nil},
		"manifest with length": {"/manifests/v1", 200, map[string]string{"Content-Length": "2147483648"}, " ", Invalid, "2147483648 bytes", nil},
		"config longer":        {"/blobs/", 200, nil, "x", Digest, "more than", nil},
		"config of 5 MiB":      {"/blobs/", 200, nil, "x", Invalid, "size 5242880", func(m *ocispec.Manifest) { m.Config.Size = 5 << 20 }},
		"error body":           {"/manifests/v1", 404, nil, `{"errors":[{"code":"x","message":"`, NotFound, "404", nil},
		"error body, retried":  {"/manifests/v1", 500, nil, "x", Unavailable, "500", nil},
		"token answer":         {"/token", 200, nil, `{"token":"`, Unavailable, "token server's answer", nil},
		"token error":          {"/token", 403, nil, `{"errors":[{"code":"x","message":"`, Unauthorized, "token server: Forbidden", nil},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRemote(t)
			m := r.manifestOf(picture{layers: [][]byte{tarOf(t, "a")}})
			var changed ocispec.Manifest
			decodeInto(t, bytes.NewReader(m), &changed)
			if c.changed != nil {
				c.changed(&changed)
			}
			var sent atomic.Int64
			r.breaks(func(w http.ResponseWriter, q *http.Request) bool {
				switch {
				case q.Method == http.MethodHead:
					w.WriteHeader(http.StatusMethodNotAllowed)
				case strings.Contains(q.URL.Path, c.path):
					for k, v := range c.header {
						w.Header().Set(k, v)
					}
					w.WriteHeader(c.status)
					flood(&sent, c.unit)(w)
				case c.path == "/token":
					w.Header().Set("WWW-Authenticate", `Bearer realm="`+r.URL+`/token",service="x"`)
					w.WriteHeader(http.StatusUnauthorized)
				case strings.Contains(q.URL.Path, "/manifests/v1"):
					w.Header().Set("Content-Type", ocispec.MediaTypeImageManifest)
					_, _ = w.Write(encode(t, changed))
				default:
					return false
				}
				return true
			})
			s := open(t)
			grown := heapGrowth(func() {
				refusedWith(t, s, r.host()+"/template:v1", PullOptions{Auth: &Auth{Username: "u", Password: "p"}}, c.want, c.word)
			})
			// What is in the sockets' buffers was sent and not read; three attempts are made at most.
			if sent.Load() > 64<<20 || grown > 32<<20 {
				t.Errorf("%d bytes were sent, the heap grew by %d", sent.Load(), grown)
			}
		})
	}
}

// GHSA-5j5w (CVE-2021-41190): a document that two readers would read in two
// ways is no image, whatever the registry calls it.
func TestCVE_2021_41190_GHSA_5j5w_AmbiguousDocuments(t *testing.T) {
	r := newRemote(t)
	whole := string(r.manifestOf(picture{layers: [][]byte{tarOf(t, "a")}}))
	other := fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":7}`, ocispec.MediaTypeImageManifest, digest.FromString("x"))
	with := func(extra string) string { return strings.TrimSuffix(whole, "}") + "," + extra + "}" }
	untyped := strings.Replace(whole, `"mediaType":"`+ocispec.MediaTypeImageManifest+`",`, "", 1)
	for name, c := range map[string]struct{ body, contentType string }{
		"manifests and layers":            {with(`"manifests":[` + other + `]`), ocispec.MediaTypeImageManifest},
		"manifests and layers, as index":  {with(`"manifests":[` + other + `]`), ocispec.MediaTypeImageIndex},
		"manifests and layers, untyped":   {strings.TrimSuffix(untyped, "}") + `,"manifests":[` + other + `]}`, ""},
		"manifest called index":           {whole, ocispec.MediaTypeImageIndex},
		"untyped manifest called index":   {untyped, ocispec.MediaTypeImageIndex},
		"index called manifest":           {`{"schemaVersion":2,"manifests":[` + other + `]}`, ocispec.MediaTypeImageManifest},
		"manifest called docker's":        {whole, manifest.DockerManifest},
		"layers twice":                    {with(`"layers":[]`), ocispec.MediaTypeImageManifest},
		"layers in another case":          {with(`"Layers":[]`), ocispec.MediaTypeImageManifest},
		"manifests in another case":       {with(`"MANIFESTS":[` + other + `]`), ocispec.MediaTypeImageManifest},
		"layers in an old s":              {with(`"layerſ":[]`), ocispec.MediaTypeImageManifest},
		"layers only in another case":     {strings.Replace(whole, `"layers":`, `"Layers":`, 1), ocispec.MediaTypeImageManifest},
		"config in another case":          {with(`"Config":` + other), ocispec.MediaTypeImageManifest},
		"media type twice":                {with(`"mediaType":"` + ocispec.MediaTypeImageIndex + `"`), ocispec.MediaTypeImageManifest},
		"digest of the config twice":      {strings.Replace(whole, `"config":{`, `"config":{"digest":"`+digest.FromString("y").String()+`",`, 1), ocispec.MediaTypeImageManifest},
		"digest of a layer, another case": {strings.Replace(whole, `"layers":[{`, `"layers":[{"Digest":"`+digest.FromString("y").String()+`",`, 1), ocispec.MediaTypeImageManifest},
		"two documents":                   {whole + whole, ocispec.MediaTypeImageManifest},
		"schema 1 with layers":            {with(`"fsLayers":[]`), ocispec.MediaTypeImageManifest},
	} {
		t.Run(name, func(t *testing.T) {
			r.serves(map[string]answer{"/manifests/v1": {contentType: c.contentType, body: []byte(c.body)}})
			refused(t, open(t), r.host()+"/template:v1", Invalid, "manifest")
		})
	}
	r.serves(map[string]answer{"/manifests/v1": {contentType: ocispec.MediaTypeImageManifest, body: []byte(whole)}})
	pulled(t, open(t), r.host()+"/template:v1") // the document that the others were made of is an image
}

// CVE-2024-3727: a digest that is a path, wherever a digest can stand.
func TestCVE_2024_3727_DigestsAreNoPaths(t *testing.T) {
	r := newRemote(t)
	whole := r.manifestOf(picture{layers: [][]byte{tarOf(t, "a")}})
	var good ocispec.Manifest
	decodeInto(t, bytes.NewReader(whole), &good)
	for _, evil := range []string{"sha256:../../x", "sha256:../../../../../../tmp/varve-cve-2024-3727", "../../x:" + strings.Repeat("a", 64), "sha256:" + strings.Repeat("/", 64), "sha256:" + strings.Repeat("a", 63) + "/", "sha256:", ":", "sha256:" + strings.Repeat("A", 64), "sha512:../x", "sha256:" + strings.Repeat("a", 64) + "/../../x"} {
		text := string(whole)
		top := t.TempDir()
		s := open(t, func(c *Config) { c.Root = filepath.Join(top, "in", "store") })
		for where, body := range map[string]string{
			"config": strings.Replace(text, good.Config.Digest.String(), evil, 1),
			"layer":  strings.Replace(text, good.Layers[0].Digest.String(), evil, 1),
			"index":  fmt.Sprintf(`{"schemaVersion":2,"manifests":[{"mediaType":%q,"digest":%q,"size":7}]}`, ocispec.MediaTypeImageManifest, evil),
		} {
			t.Run(where+" "+strings.ReplaceAll(evil, "/", "|"), func(t *testing.T) {
				r.serves(map[string]answer{"/manifests/v1": {body: []byte(body)}})
				refused(t, s, r.host()+"/template:v1", Invalid, "digest")
			})
		}
		t.Run("reference "+strings.ReplaceAll(evil, "/", "|"), func(t *testing.T) {
			refused(t, s, r.host()+"/template@"+evil, Invalid, "reference")
		})
		t.Run("diff id "+strings.ReplaceAll(evil, "/", "|"), func(t *testing.T) {
			r.breaks(nil)
			r.push("diff:v1", picture{layers: [][]byte{tarOf(t, "a")}, edit: func(_ *ocispec.Manifest, i *ocispec.Image) {
				i.RootFS.DiffIDs[0] = digest.Digest(evil)
			}})
			refused(t, s, r.host()+"/diff:v1", Invalid, "digest")
		})
		t.Run("announced "+strings.ReplaceAll(evil, "/", "|"), func(t *testing.T) {
			// A header that holds no digest says nothing; the body's own digest counts.
			r.serves(map[string]answer{"/manifests/v1": {contentType: ocispec.MediaTypeImageManifest, body: whole, header: map[string]string{"Docker-Content-Digest": evil}}})
			s := open(t)
			pulled(t, s, r.host()+"/template:v1")
			pulled(t, s, r.host()+"/template:v1")
		})
		if left, _ := filepath.Glob(top + "/in/*"); len(left) != 1 {
			t.Errorf("beside the store: %v", left)
		}
	}
	if _, err := os.Lstat("/tmp/varve-cve-2024-3727"); err == nil {
		t.Error("a digest made a file outside")
	}
}

// CVE-2021-21285, CVE-2024-36620, CVE-2024-23650: malformed documents, and such
// as lack what others have, end in an error and not in a panic.
func TestCVE_2021_21285_CVE_2024_36620_MalformedDocuments(t *testing.T) {
	r := newRemote(t)
	layers := [][]byte{tarOf(t, "a")}
	whole := string(r.manifestOf(picture{layers: layers}))
	d := digest.FromString("x").String()
	manifests := map[string]string{
		"empty": "", "null": "null", "number": "1", "string": `"x"`, "array": "[]", "object": "{}", "true": "true", "bom": "\xef\xbb\xbf" + whole, "nul": "\x00", "cut": whole[:len(whole)/2],
		"null layers": `{"schemaVersion":2,"layers":null,"config":null}`, "null layer": `{"schemaVersion":2,"config":{"digest":"` + d + `","size":1},"layers":[null]}`,
		"null manifest": `{"schemaVersion":2,"manifests":[null]}`, "manifests an object": `{"schemaVersion":2,"manifests":{}}`, "layers a string": `{"schemaVersion":2,"layers":"x"}`,
		"size a string": strings.Replace(whole, `"size":`, `"size":"1","x":`, 1), "huge size": strings.Replace(whole, `"size":`, `"size":9223372036854775808,"x":`, 1), "float size": strings.Replace(whole, `"size":`, `"size":1e3,"x":`, 1),
		"deep": strings.Repeat("[", 1<<20), "deep object": strings.Repeat(`{"a":`, 1<<19), "digest a number": strings.Replace(whole, `"digest":`, `"digest":7,"x":`, 1),
		"platform null": `{"schemaVersion":2,"manifests":[{"digest":"` + d + `","size":1,"platform":null}]}`, "media type a number": `{"schemaVersion":2,"mediaType":7}`, "not utf8": "{\"schemaVersion\":2,\"mediaType\":\"\xff\xfe\"}",
		"subject null": `{"schemaVersion":2,"subject":null,"layers":[]}`, "urls null": `{"schemaVersion":2,"layers":[{"urls":null}]}`, "html": "<html>", "schema 3": `{"schemaVersion":3}`,
	}
	for name, body := range manifests {
		t.Run("manifest "+name, func(t *testing.T) {
			r.serves(map[string]answer{"/manifests/v1": {contentType: ocispec.MediaTypeImageManifest, body: []byte(body)}})
			s := open(t)
			_, err := s.Pull(t.Context(), r.host()+"/template:v1", PullOptions{})
			if k := kind(err); k != Invalid && k != NotFound && k != Unavailable {
				t.Errorf("%v", err)
			}
			if len(contentRows(s)) != 0 {
				t.Errorf("rows: %v", contentRows(s))
			}
			clean(t, s)
		})
	}
	diff := digest.FromBytes(layers[0]).String()
	for name, config := range map[string]string{
		"null": "null", "array": "[]", "empty": "", "rootfs null": `{"rootfs":null}`, "rootfs a list": `{"rootfs":[]}`, "diff a number": `{"rootfs":{"type":"layers","diff_ids":[7]}}`,
		"diff null": `{"rootfs":{"type":"layers","diff_ids":[null]}}`, "two diffs": `{"rootfs":{"type":"layers","diff_ids":["` + diff + `","` + diff + `"]}}`, "no type": `{"rootfs":{"diff_ids":["` + diff + `"]}}`,
		"config a list": `{"config":[],"rootfs":{"type":"layers","diff_ids":["` + diff + `"]}}`, "env null": `{"config":{"Env":[7]},"rootfs":{"type":"layers","diff_ids":["` + diff + `"]}}`,
		"deep": strings.Repeat(`{"config":`, 200_000), "diffs twice": `{"rootfs":{"type":"layers","diff_ids":["` + diff + `"],"diff_ids":[]}}`, "two roots": `{"rootfs":{"type":"layers","diff_ids":["` + diff + `"]},"RootFS":{"type":"layers","diff_ids":[]}}`,
		"created no time": `{"created":"yesterday","rootfs":{"type":"layers","diff_ids":["` + diff + `"]}}`, "cut": `{"rootfs":`,
	} {
		t.Run("config "+name, func(t *testing.T) {
			r.breaks(nil)
			body := strings.ReplaceAll(whole, configOf(t, whole).Digest.String(), r.blob("template", []byte(config)).String())
			body = strings.Replace(body, fmt.Sprintf(`"size":%d`, configOf(t, whole).Size), fmt.Sprintf(`"size":%d`, len(config)), 1)
			r.serves(map[string]answer{"/manifests/v1": {contentType: ocispec.MediaTypeImageManifest, body: []byte(body)}})
			refused(t, open(t), r.host()+"/template:v1", Invalid, "read config ")
		})
	}
	// What is missing and may be: the pull goes well.
	for name, config := range map[string]string{
		"bare": `{"rootfs":{"type":"layers","diff_ids":["` + diff + `"]}}`, "config null": `{"config":null,"history":null,"created":null,"rootfs":{"type":"layers","diff_ids":["` + diff + `"]}}`,
		"histories that do not match": `{"history":[{},{},{"empty_layer":true}],"rootfs":{"type":"layers","diff_ids":["` + diff + `"]}}`, "lists null": `{"config":{"Env":null,"Volumes":null,"Labels":null,"Cmd":null},"rootfs":{"type":"layers","diff_ids":["` + diff + `"]}}`,
	} {
		t.Run("fine config "+name, func(t *testing.T) {
			r.breaks(nil)
			body := strings.ReplaceAll(whole, configOf(t, whole).Digest.String(), r.blob("template", []byte(config)).String())
			body = strings.Replace(body, fmt.Sprintf(`"size":%d`, configOf(t, whole).Size), fmt.Sprintf(`"size":%d`, len(config)), 1)
			r.serves(map[string]answer{"/manifests/v1": {contentType: ocispec.MediaTypeImageManifest, body: []byte(body)}})
			s := open(t)
			image := pulled(t, s, r.host()+"/template:v1")
			if _, _, err := s.Users(image.ID); err != nil {
				t.Error(err)
			}
		})
	}
}

func configOf(t *testing.T, body string) ocispec.Descriptor {
	t.Helper()
	var m ocispec.Manifest
	decodeInto(t, strings.NewReader(body), &m)
	return m.Config
}

// contentRows are the store's rows of every kind, as text.
func contentRows(s *Store) (rows []string) {
	v := s.db.Snapshot()
	for id := range v.Images {
		rows = append(rows, "image "+id.String())
	}
	for id := range v.Layers {
		rows = append(rows, fmt.Sprint("layer ", id))
	}
	for name := range v.Names {
		rows = append(rows, "name "+name)
	}
	return rows
}

// CVE-2019-10214: credentials for a registry that is spoken to by https go to no
// token server that is not, however the registry or a redirect leads there.
func TestCVE_2019_10214_RealmWithoutTLS(t *testing.T) {
	var mu sync.Mutex
	var seen []string
	note := func(w http.ResponseWriter, q *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		body, _ := io.ReadAll(io.LimitReader(q.Body, 1<<10))
		seen = append(seen, q.Header.Get("Authorization")+q.URL.RawQuery+string(body))
		_, _ = w.Write([]byte(`{"token":"x"}`))
	}
	plain := httptest.NewServer(http.HandlerFunc(note))
	defer plain.Close()
	var realm string
	tls := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if q.URL.Path == "/redirect" {
			http.Redirect(w, q, plain.URL, http.StatusTemporaryRedirect)
			return
		}
		w.Header().Set("WWW-Authenticate", `Bearer realm="`+realm+`",service="x",scope="repository:x:pull"`)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	defer tls.Close()
	host := strings.TrimPrefix(tls.URL, "https://")
	rules := registry.Rules{host: {Endpoints: []registry.Endpoint{{URL: tls.URL, SkipVerify: true, ForwardAuth: true}}}}
	for name, r := range map[string]string{
		"http": plain.URL + "/token", "redirect": tls.URL + "/redirect", "file": "file:///etc/passwd", "no scheme": strings.TrimPrefix(plain.URL, "http:"), "nothing": "", "unix": "unix:///run/x", "broken": "http://[::1",
	} {
		t.Run(name, func(t *testing.T) {
			realm = r
			for _, a := range []*Auth{{Username: "me", Password: "secret"}, {IdentityToken: "secret"}} {
				s := open(t, func(c *Config) { c.Registries = rules })
				_, err := s.Pull(t.Context(), host+"/x:v1", PullOptions{Auth: a})
				if k := kind(err); k != Unauthorized && k != Unavailable || strings.Contains(fmt.Sprint(err), "secret") {
					t.Errorf("%v", err)
				}
			}
		})
	}
	for _, s := range seen {
		if strings.Contains(s, "secret") || strings.Contains(s, "Basic") {
			t.Errorf("a server without TLS saw %q", s)
		}
	}
}

// CVE-2019-13509: no message holds a secret, neither one of the caller's nor one
// that the registry's answers repeat.
func TestCVE_2019_13509_NoSecretsInMessages(t *testing.T) {
	const secret = "Tr0ub4dor"
	var said []string
	for _, code := range []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusInternalServerError, http.StatusTooManyRequests} {
		r := newRemote(t)
		r.breaks(func(w http.ResponseWriter, q *http.Request) bool {
			if q.Header.Get("Authorization") == "" {
				w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
				code := http.StatusUnauthorized
				w.WriteHeader(code)
				return true
			}
			w.WriteHeader(code)
			return true
		})
		s := open(t, func(c *Config) { c.Report = func(m string) { said = append(said, m) } })
		for _, a := range []*Auth{{Username: "me", Password: secret}, {Encoded: "bWU6VHIwdWI0ZG9y"}, {Encoded: secret + "%"}, {IdentityToken: secret}, {RegistryToken: secret}} {
			_, err := s.Pull(t.Context(), r.host()+"/x:v1", PullOptions{Auth: a})
			said = append(said, fmt.Sprint(err), fmt.Sprintf("%+v", err), fmt.Sprintf("%v %+v %#v", a, *a, a))
		}
	}
	for _, m := range said {
		if strings.Contains(m, secret) || strings.Contains(m, "bWU6VHIwdWI0ZG9y") {
			t.Errorf("a message holds the secret: %s", m)
		}
	}
}
