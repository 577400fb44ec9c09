package registry

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/varve-cri/varve/imagestore/fault"
	"github.com/varve-cri/varve/imagestore/reference"
)

// witness is a server that notes what it is asked, and answers every manifest with "{}".
type witness struct {
	*httptest.Server
	mu     sync.Mutex
	seen   []*http.Request
	answer http.HandlerFunc // instead
}

func (w *witness) ServeHTTP(out http.ResponseWriter, q *http.Request) {
	w.mu.Lock()
	w.seen = append(w.seen, q)
	answer := w.answer
	w.mu.Unlock()
	if answer != nil {
		answer(out, q)
		return
	}
	out.Header().Set(digestHeader, digest.FromString("{}").String())
	_, _ = io.WriteString(out, "{}")
}

// asked gives the requests as "METHOD /path?query", and forgets them.
func (w *witness) asked() (lines []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, q := range w.seen {
		lines = append(lines, q.Method+" "+q.URL.String())
	}
	w.seen = nil
	return lines
}

// carried gives the distinct values of a header that came.
func (w *witness) carried(header string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []string
	for _, q := range w.seen {
		all = append(all, q.Header.Get(header))
	}
	return strings.Join(all, "|")
}

func (w *witness) host() string { return w.Listener.Addr().String() }

func newWitness(t *testing.T, answer http.HandlerFunc) *witness {
	t.Helper()
	w := &witness{answer: answer}
	w.Server = httptest.NewServer(w)
	t.Cleanup(w.Close)
	return w
}

func newSecure(t *testing.T, clients *x509.CertPool) *witness {
	t.Helper()
	w := &witness{}
	w.Server = httptest.NewUnstartedServer(w)
	w.Config.ErrorLog = log.New(io.Discard, "", 0)
	if clients != nil {
		w.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients}
	}
	w.StartTLS()
	t.Cleanup(w.Close)
	return w
}

func (w *witness) authority() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.Certificate().Raw}))
}

// certificate makes a client's certificate, signed by itself, and its key.
func certificate(t *testing.T) (cert, key string, pool *x509.CertPool) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "client"}, NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool = x509.NewCertPool()
	pool.AddCert(parsed)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})), pool
}

// node is a client with a directory of registry configuration.
type node struct {
	*Client
	t   *testing.T
	dir string
}

func newNode(t *testing.T, rules Rules) *node {
	t.Helper()
	n := &node{t: t, dir: t.TempDir()}
	var err error
	n.Client, err = New(Config{
		Rules: rules, Limits: quick, Directories: []string{filepath.Join(n.dir, "certs.d")},
		DockerConfig: filepath.Join(n.dir, "config.json"), HelperDirs: []string{n.dir},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	return n
}

func (n *node) write(name, text string) {
	n.t.Helper()
	file := filepath.Join(n.dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		n.t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o700); err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) manifest(name string, a *Auth) error {
	n.t.Helper()
	ref, err := reference.Parse(name)
	if err != nil {
		n.t.Fatal(err)
	}
	r, err := n.Repository(ref, a)
	if err != nil {
		return err
	}
	_, err = r.Manifest(n.t.Context(), ref.Target())
	return err
}

func TestDirectoryTLS(t *testing.T) {
	cert, key, pool := certificate(t)
	secure, mutual, plain := newSecure(t, nil), newSecure(t, pool), newWitness(t, nil)
	n := newNode(t, nil)
	n.write("certs.d/client.cert", cert)
	n.write("certs.d/client.key", key)
	n.write("certs.d/both.pem", cert+key)
	n.write("certs.d/ca.crt", secure.authority())
	n.write("certs.d/"+mutual.host()+"/ca.crt", mutual.authority())
	n.write("certs.d/"+mutual.host()+"/me.cert", cert)
	n.write("certs.d/"+mutual.host()+"/me.key", key)
	for name, c := range map[string]struct {
		toml string
		fine bool
	}{
		"unknown authority":     {"server = %q", false},
		"authority":             {"server = %q\nca = \"../ca.crt\"", true},
		"skip verify":           {"server = %q\nskip_verify = true", true},
		"no client certificate": {"server = %[2]q\nca = \"../ca.crt\"", false},
		"client pair":           {"server = %[2]q\nca = \"../ca.crt\"\nclient = [[\"../client.cert\", \"../client.key\"]]", true},
		"client in one file":    {"server = %[2]q\nskip_verify = true\nclient = \"../both.pem\"", true},
		"http that is https":    {"[host.\"http://%[3]s\"]\nskip_verify = true", true},
		"http that is http":     {"[host.\"http://%[4]s\"]\nskip_verify = true", true},
		"missing authority":     {"server = %q\nca = \"../none.crt\"", false},
		"empty authority":       {"server = %q\nca = \"hosts.toml\"", false},
		"wrong key":             {"server = %q\nclient = \"../ca.crt\"", false},
	} {
		text := fmt.Sprintf(c.toml+"%.0[1]s%.0[2]s%.0[3]s%.0[4]s", secure.URL, mutual.URL, secure.host(), plain.host())
		n.write("certs.d/r.example/hosts.toml", text)
		if err := n.manifest("r.example/app", nil); (err == nil) != c.fine {
			t.Errorf("%s: %v", name, err)
		}
	}
	// The name of a loopback registry means http, unless certificates are there for it.
	if err := n.manifest(mutual.host()+"/app", nil); err != nil {
		t.Errorf("docker's layout: %v", err)
	}
}

// What is said of one registry is no matter of another, and needs no restart.
func TestDirectoryErrors(t *testing.T) {
	w := newWitness(t, nil)
	n := newNode(t, nil)
	n.write("certs.d/good.example/hosts.toml", "server = \""+w.URL+"\"")
	n.write("certs.d/bad.example/hosts.toml", "server = \""+w.URL+"\"\ncapabilites = [\"pull\"]")
	err := n.manifest("bad.example/app", nil)
	if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "bad.example/hosts.toml: capabilites: no such key") || len(w.asked()) != 0 {
		t.Errorf("bad: %v", err)
	}
	if err := n.manifest("good.example/app", nil); err != nil {
		t.Errorf("good: %v", err)
	}
	n.write("certs.d/bad.example/hosts.toml", "server = \""+w.URL+"\"\ncapabilities = [\"pull\", \"resolve\"]")
	if err := n.manifest("bad.example/app", nil); err != nil {
		t.Errorf("mended: %v", err)
	}
	n.write("certs.d/bad.example/hosts.toml", "server = \""+w.URL+"\"\ncapabilities = [\"push\"]")
	if err := n.manifest("bad.example/app", nil); fault.KindOf(err) != fault.Invalid {
		t.Errorf("no host for it: %v", err)
	}
}

// The registry's own rule, its own directory, the rule for all, the directory for all.
func TestWhoWins(t *testing.T) {
	own, dir, all, common := newWitness(t, nil), newWitness(t, nil), newWitness(t, nil), newWitness(t, nil)
	n := newNode(t, Rules{"r.example": {Endpoints: []Endpoint{{URL: own.URL}}}, "*": {Endpoints: []Endpoint{{URL: all.URL}}}})
	for _, name := range []string{"r.example", "d.example"} {
		n.write("certs.d/"+name+"/hosts.toml", "server = \""+dir.URL+"\"")
	}
	n.write("certs.d/_default/hosts.toml", "server = \""+common.URL+"\"")
	for name, w := range map[string]*witness{"r.example/a": own, "d.example/a": dir, "other.example/a": all} {
		if err := n.manifest(name, nil); err != nil || len(w.asked()) != 1 {
			t.Errorf("%s: %v", name, err)
		}
	}
	n = newNode(t, nil)
	n.write("certs.d/_default/hosts.toml", "server = \""+common.URL+"/prefix\"\noverride_path = true")
	if err := n.manifest("other.example/a", nil); err != nil {
		t.Error(err)
	}
	if got := strings.Join(common.asked(), "\n"); got != "GET /prefix/a/manifests/latest?ns=other.example" {
		t.Errorf("asked %s", got)
	}
}

// A mirror that may not resolve is not asked what a tag is, but for what it is.
func TestCapabilities(t *testing.T) {
	mirror, server := newWitness(t, nil), newWitness(t, nil)
	n := newNode(t, nil)
	n.write("certs.d/r.example/hosts.toml", fmt.Sprintf("server = %q\n[host.%q]\ncapabilities = [\"pull\"]", server.URL, mirror.URL))
	if err := n.manifest("r.example/a/b:v1", nil); err != nil {
		t.Fatal(err)
	}
	byDigest := "GET /v2/a/b/manifests/" + digest.FromString("{}").String() + "?ns=r.example"
	if got := strings.Join(server.asked(), "\n"); got != "HEAD /v2/a/b/manifests/v1?ns=r.example" {
		t.Errorf("the server was asked %s", got)
	}
	if got := strings.Join(mirror.asked(), "\n"); got != byDigest {
		t.Errorf("the mirror was asked %s", got)
	}
	// The mirror lies about the digest: the server has the last word.
	mirror.answer = func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{ }") }
	if err := n.manifest("r.example/a/b:v1", nil); err != nil || len(mirror.asked()) != 1 || len(server.asked()) != 2 {
		t.Errorf("a mirror that lies: %v", err)
	}
	server.answer = mirror.answer
	if err := n.manifest("r.example/a/b@"+digest.FromString("{}").String(), nil); fault.KindOf(err) != fault.Digest {
		t.Errorf("all lie: %v", err)
	}
}

// demand answers 401 until the password is there.
func demand(password string) http.HandlerFunc {
	return func(w http.ResponseWriter, q *http.Request) {
		if _, got, _ := q.BasicAuth(); got != password {
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = io.WriteString(w, "{}")
	}
}

// Request, host, keychain: and each only where it belongs.
func TestCredentialOrder(t *testing.T) {
	server, mirror := newWitness(t, nil), newWitness(t, nil)
	n := newNode(t, nil)
	config := func(header string) {
		n.write("certs.d/r.example/hosts.toml", fmt.Sprintf("server = %q\n%s\n[host.%q]\n", server.URL, header, mirror.URL))
	}
	n.write("config.json", fmt.Sprintf(`{"auths": {"http://%s": {"username": "u", "password": "kept"}}, "credHelpers": {%q: "x"}}`, server.host(), mirror.host()))
	n.write("docker-credential-x", "#!/bin/sh\necho run >> "+n.dir+"/runs\necho '{\"Username\":\"u\",\"Secret\":\"helped\"}'\n")
	given := &Auth{Username: "u", Password: "given"}
	missing := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) }
	own := "[header]\nAuthorization = \"Basic dTpvd24=\"" // u:own
	for name, c := range map[string]struct {
		header string
		given  *Auth
		want   string
	}{
		"keychain":         {"", nil, "kept"},
		"host's own":       {own, nil, "own"},
		"request":          {own, given, "given"},
		"another registry": {"", &Auth{Username: "u", Password: "given", ServerAddress: "https://elsewhere.example"}, "kept"},
		"this registry":    {"", &Auth{Username: "u", Password: "given", ServerAddress: "r.example"}, "given"},
	} {
		config(c.header)
		server.answer, mirror.answer = demand(c.want), missing
		if err := n.manifest("r.example/app", c.given); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got := mirror.carried("Authorization"); strings.Trim(got, "|") != "" {
			t.Errorf("%s: the mirror saw %s", name, got)
		}
		server.asked()
		mirror.asked()
	}
	if _, err := os.Stat(filepath.Join(n.dir, "runs")); err == nil {
		t.Error("the helper ran, and nobody asked for credentials")
	}
	config("")
	server.answer, mirror.answer = missing, demand("helped")
	if err := n.manifest("r.example/app", given); err != nil {
		t.Errorf("helper: %v", err)
	}
	n.write("docker-credential-x", "#!/bin/sh\necho secret\nexit 1\n")
	if err := n.manifest("r.example/app", given); err == nil || strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), "docker-credential-x") {
		t.Errorf("broken helper: %v", err)
	}
	// The server of _default is the server of many, so what was given for one is not for it.
	n.write("certs.d/_default/hosts.toml", "server = \""+server.URL+"\"")
	server.answer = demand("given")
	if err := n.manifest("other.example/app", given); fault.KindOf(err) != fault.Unauthorized {
		t.Errorf("_default: %v", err)
	}
}

// CVE-2020-15157, CVE-2019-10214: neither a redirect nor a token server brings
// credentials or a host's own headers to another host.
func TestSecretsStayHome(t *testing.T) {
	thief := newWitness(t, nil)
	server := newWitness(t, nil)
	n := newNode(t, nil)
	n.write("certs.d/r.example/hosts.toml", fmt.Sprintf("server = %q\n[header]\nX-Secret = \"secret\"", server.URL))
	given := &Auth{Username: "u", Password: "given"}
	server.answer = func(w http.ResponseWriter, q *http.Request) {
		if _, password, _ := q.BasicAuth(); password == "" {
			demand("given")(w, q)
			return
		}
		http.Redirect(w, q, thief.URL+"/elsewhere", http.StatusTemporaryRedirect)
	}
	if err := n.manifest("r.example/app", given); err != nil {
		t.Error(err)
	}
	if got := server.carried("X-Secret"); got != "secret|secret" {
		t.Errorf("the host's own header: %s", got)
	}
	server.answer = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", `Bearer realm="`+strings.Replace(thief.URL, "127.0.0.1", "localhost", 1)+`/token",service="x"`)
		w.WriteHeader(http.StatusUnauthorized)
	}
	if err := n.manifest("r.example/app", given); fault.KindOf(err) != fault.Unauthorized {
		t.Errorf("a token server on this machine's loopback: %v", err)
	}
	// A redirect that then wants credentials gets none.
	server.answer = func(w http.ResponseWriter, q *http.Request) {
		http.Redirect(w, q, thief.URL+"/elsewhere", http.StatusTemporaryRedirect)
	}
	thief.answer = demand("given")
	if err := n.manifest("r.example/app", given); fault.KindOf(err) != fault.Unauthorized {
		t.Errorf("a redirect that asks: %v", err)
	}
	if got := thief.carried("Authorization") + thief.carried("X-Secret"); strings.Trim(got, "|") != "" || len(thief.asked()) < 2 {
		t.Errorf("the thief saw %s", got)
	}
}

// containerd#10624: a mirror that does not answer costs its share and no more.
func TestSickMirror(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		sick := http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) { asked.Add(1); <-q.Context().Done() })
		server := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") })
		limits := quick
		limits.MirrorHeader, limits.Share, limits.Attempts = 100*time.Millisecond, 250*time.Millisecond, 4
		begun := time.Now()
		r := inBubble(t, limits, sick, server)
		for range 5 {
			if _, err := r.Manifest(t.Context(), "v1"); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(begun); asked.Load() < 1 || asked.Load() > 2 || took > limits.Share {
			t.Errorf("the sick mirror was asked %d times in %v", asked.Load(), took)
		}
	})
}
