package registry

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-cri/varve/imagestore/fault"
	"github.com/varve-cri/varve/imagestore/manifest"
	"github.com/varve-cri/varve/imagestore/reference"
)

// always answers every request in one way.
type always struct {
	status int
	header http.Header
	body   []byte
	sent   map[string]bool // secrets by host
}

func (a *always) RoundTrip(q *http.Request) (*http.Response, error) {
	if q.Body != nil {
		b, _ := io.ReadAll(io.LimitReader(q.Body, 64<<10))
		if bytes.Contains(b, []byte("secret")) {
			a.sent[q.URL.Scheme+" "+q.URL.Host] = true
		}
	}
	if q.Header.Get("Authorization") != "" {
		a.sent[q.URL.Scheme+" "+q.URL.Host] = true
	}
	return &http.Response{StatusCode: a.status, Status: http.StatusText(a.status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: a.header.Clone(), Body: io.NopCloser(bytes.NewReader(a.body)), ContentLength: -1, Request: q}, nil
}

// FuzzAnswers: whatever a registry says in its status, challenge, headers and body,
// each question ends in time, with an error of a kind or with content that is what
// its digest says; and no secret goes to a server without TLS.
func FuzzAnswers(f *testing.F) {
	const bearer = `Bearer realm="https://h.example/token",service="x",scope="repository:a/b:pull"`
	f.Add(401, bearer, "", "", "", []byte(`{"token":"t"}`))
	f.Add(401, `Bearer realm="http://h.example/token"`, "1", "", "", []byte(`{"access_token":"t","expires_in":-1}`))
	f.Add(401, `Basic realm="x", Bearer realm=`, "", "", "", []byte("x"))
	f.Add(401, `Bearer realm="//[::1", Digest "`, "", "", "", []byte{})
	f.Add(429, "", "99999999999999999999", "", "", []byte(`{"errors":[{"code":"TOOMANYREQUESTS","message":"m"}]}`))
	f.Add(503, "", "Fri, 31 Dec 9999 23:59:59 GMT", "", "", []byte(`{"errors":[null]}`))
	f.Add(200, "", "", "", "sha256:"+strings.Repeat("0", 64), []byte(`{}`))
	f.Add(200, "", "", "bytes 0-1/2", "application/vnd.oci.image.index.v1+json", []byte(`{}`))
	f.Add(206, "", "", "bytes 0-9223372036854775807/*", "", []byte("content"))
	f.Add(206, "", "", "bytes -1--1/-1", "x", []byte("content"))
	f.Add(307, "", "", "", "https://h.example/elsewhere", []byte("content"))
	f.Add(100, "", "-1", "bytes", "", []byte{0})
	ref, err := reference.Parse("h.example/a/b")
	if err != nil {
		f.Fatal(err)
	}
	limits := Limits{Attempts: 2, Backoff: time.Microsecond, RetryAfter: time.Millisecond, StallWindow: time.Minute, StallBytes: 1}
	f.Fuzz(func(t *testing.T, status int, challenge, retry, contentRange, other string, body []byte) {
		h := http.Header{"Www-Authenticate": {challenge}, "Retry-After": {retry}, "Content-Range": {contentRange},
			"Docker-Content-Digest": {other}, "Content-Type": {other}, "Location": {other}, "Content-Length": {other}, "Content-Encoding": {other}, "Accept-Ranges": {"bytes"}}
		a := &always{status: 100 + (status%500+500)%500, header: h, body: body, sent: map[string]bool{}}
		c, err := New(Config{Limits: limits, Transport: a})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		r, err := c.Repository(ref, &Auth{Username: "u", Password: "secret"})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		want := digest.FromBytes(body)
		m, err := r.Manifest(ctx, "latest")
		judge(t, err)
		if err == nil && m.Digest != want {
			t.Errorf("a manifest of digest %s is %s", want, m.Digest)
		}
		_, err = r.Resolve(ctx, "latest")
		judge(t, err)
		d := ocispec.Descriptor{Digest: want, Size: int64(len(body))}
		small, err := r.Small(ctx, d)
		judge(t, err)
		if err == nil && !bytes.Equal(small, body) {
			t.Errorf("a config of %q is %q", body, small)
		}
		blob, err := r.Blob(ctx, d)
		judge(t, err)
		if err == nil {
			got, err := io.ReadAll(io.LimitReader(blob, manifest.MaxBytes))
			judge(t, err)
			if len(got) > len(body) {
				t.Errorf("%d bytes of a blob of %d", len(got), len(body))
			}
			_ = blob.Close()
		}
		if ctx.Err() != nil {
			t.Error("it does not end")
		}
		for to := range a.sent {
			if strings.HasPrefix(to, "http ") {
				t.Errorf("a secret went to %s", to)
			}
		}
	})
}

func judge(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	told := (*fault.Error)(nil)
	if !errors.As(err, &told) || told.Kind == "" || told.Step == "" || strings.Contains(err.Error(), "secret") {
		t.Errorf("error %v", err)
	}
}
