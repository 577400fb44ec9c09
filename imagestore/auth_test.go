package imagestore

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-cri/varve/imagestore/registry"
)

// A registry behind a token server, and one with basic auth.
func TestAuth(t *testing.T) {
	r := newRemote(t)
	_, id := r.push("private/app:v1", picture{layers: [][]byte{tarOf(t, "a")}})
	var tokens int
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		name, password, _ := q.BasicAuth()
		if name != "me" || password != "secret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		tokens++
		if q.URL.Query().Get("scope") != "repository:private/app:pull" {
			t.Errorf("scope %q", q.URL.Query().Get("scope"))
		}
		fmt.Fprintf(w, `{"token":"good"}`)
	}))
	defer server.Close()
	bearer := func(w http.ResponseWriter, q *http.Request) bool {
		if q.Header.Get("Authorization") == "Bearer good" {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Bearer realm="`+server.URL+`/token",service="x",scope="repository:private/app:pull"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	}
	basic := func(w http.ResponseWriter, q *http.Request) bool {
		if name, password, _ := q.BasicAuth(); name == "me" && password == "secret" {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	}
	ref := r.host() + "/private/app:v1"
	for name, fault := range map[string]func(http.ResponseWriter, *http.Request) bool{"bearer": bearer, "basic": basic} {
		r.breaks(fault)
		for _, a := range []*Auth{{Username: "me", Password: "secret"}, {Encoded: "bWU6c2VjcmV0"}} {
			image, err := open(t).Pull(t.Context(), ref, PullOptions{Auth: a})
			if err != nil || image.ID != id.String() {
				t.Errorf("%s: %v", name, err)
			}
		}
		for _, a := range []*Auth{nil, {Username: "me", Password: "wrong"}} {
			_, err := open(t).Pull(t.Context(), ref, PullOptions{Auth: a})
			if kind(err) != Unauthorized || strings.Contains(fmt.Sprint(err), "wrong") {
				t.Errorf("%s with %v: %v", name, a, err)
			}
		}
	}
	if tokens != 2 {
		t.Errorf("%d tokens for two pulls", tokens)
	}
	if _, err := open(t).Pull(t.Context(), ref, PullOptions{Auth: &Auth{Encoded: "%"}}); kind(err) != Invalid {
		t.Errorf("malformed credentials: %v", err)
	}
}

// CVE-2020-15157: neither a foreign layer's urls, nor a redirect, nor a mirror
// brings the credentials to another host.
func TestCVE_2020_15157_CredentialsStayHome(t *testing.T) {
	var seen []string
	var mu sync.Mutex
	r, thief := newRemote(t), newRemote(t)
	note := func(_ http.ResponseWriter, q *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, q.Header.Get("Authorization"))
		return false
	}
	thief.breaks(note)
	layers := [][]byte{tarOf(t, "a")}
	r.push("app:v1", picture{layers: layers, edit: func(m *ocispec.Manifest, _ *ocispec.Image) {
		m.Layers[0].MediaType = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
		m.Layers[0].URLs = []string{thief.URL + "/steal"}
	}})
	thief.push("app:v1", picture{layers: layers})
	r.breaks(func(w http.ResponseWriter, q *http.Request) bool {
		if name, _, _ := q.BasicAuth(); name != "me" {
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
			return true
		}
		if strings.Contains(q.URL.Path, "/blobs/") {
			http.Redirect(w, q, thief.URL+q.URL.Path, http.StatusTemporaryRedirect)
			return true
		}
		return false
	})
	me := PullOptions{Auth: &Auth{Username: "me", Password: "secret"}}
	if _, err := open(t).Pull(t.Context(), r.host()+"/app:v1", me); err != nil {
		t.Fatal(err)
	}
	if thief.count("/steal") != 0 || len(seen) == 0 {
		t.Errorf("the foreign url was followed, or the redirect was not: %v", seen)
	}
	mirrored := open(t, func(c *Config) {
		c.Registries = registry.Rules{r.host(): {Endpoints: []registry.Endpoint{{URL: thief.URL}}}}
	})
	thief.breaks(func(w http.ResponseWriter, q *http.Request) bool {
		note(w, q)
		if q.Header.Get("Authorization") == "" {
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
			return true
		}
		return false
	})
	if _, err := mirrored.Pull(t.Context(), r.host()+"/app:v1", me); kind(err) != Unauthorized {
		t.Errorf("the mirror got credentials: %v", err)
	}
	for _, a := range seen {
		if a != "" {
			t.Errorf("another host saw %q", a)
		}
	}
}
