package admin_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

func TestProfilesAndMetrics(t *testing.T) {
	n := newNode(t)
	c := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", n.socket)
	}}}
	defer c.CloseIdleConnections()
	for path, want := range map[string]struct {
		status int
		body   string
	}{
		"/metrics":                           {200, "varve_test 1"},
		"/metrics?x=1":                       {400, "query.x"},
		"/debug/pprof/":                      {200, "goroutine"},
		"/debug/pprof/goroutine?debug=1":     {200, "goroutine profile: total "},
		"/debug/pprof/heap":                  {200, "\x1f\x8b"}, // gzip
		"/debug/pprof/profile?seconds=1":     {200, "\x1f\x8b"},
		"/debug/pprof/cmdline":               {200, "admin.test"},
		"/debug/pprof/none":                  {404, "none"},
		"/debug/pprof/../../etc/passwd":      {404, ""},
		"/debug/pprof/%2e%2e%2fetc%2fpasswd": {404, "passwd"},
	} {
		r, err := c.Get("http://varve" + path)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		body, err := io.ReadAll(r.Body)
		r.Body.Close()
		if err != nil || r.StatusCode != want.status || !strings.Contains(string(body), want.body) {
			t.Errorf("%s: %s, %v, %.200q", path, r.Status, err, body)
		}
	}
	r, err := c.Post("http://varve/metrics", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: %s", r.Status)
	}
}
