package transport

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"
)

// Options are what one transport does differently from another.
type Options struct {
	TLS *tls.Config
	// Connect bounds the dial and the TLS handshake, Header the wait for an
	// answer's first bytes.
	Connect, Header time.Duration
	// Proxy is used instead of the environment's, when not nil.
	Proxy *url.URL
}

// New gives a transport with connections of its own.
func New(o Options) *http.Transport {
	proxy := http.ProxyFromEnvironment
	if o.Proxy != nil {
		proxy = http.ProxyURL(o.Proxy)
	}
	return &http.Transport{
		Proxy:                 proxy,
		DialContext:           (&net.Dialer{Timeout: o.Connect}).DialContext,
		TLSHandshakeTimeout:   o.Connect,
		ResponseHeaderTimeout: o.Header,
		TLSClientConfig:       o.TLS,
		ForceAttemptHTTP2:     true,
		MaxIdleConnsPerHost:   8,
		IdleConnTimeout:       30 * time.Second,
		// A registry that gzips a blob on the way would change its digest.
		DisableCompression: true,
	}
}

// CloseIdle drops the connections that no request uses.
func CloseIdle(rt http.RoundTripper) {
	if t, ok := rt.(*http.Transport); ok {
		t.CloseIdleConnections()
	}
}

// CheckRedirect lets no one lead us from https to http or to another scheme.
func CheckRedirect(req *http.Request, via []*http.Request) error {
	switch {
	case len(via) >= 10:
		return errors.New("more than 10 redirects")
	case req.URL.Scheme != "https" && req.URL.Scheme != "http", via[0].URL.Scheme == "https" && req.URL.Scheme != "https":
		return fmt.Errorf("redirect from %s to %s refused", via[0].URL.Scheme, req.URL.Scheme)
	}
	return nil
}

// headed adds headers to the requests for one host.
type headed struct {
	inner  http.RoundTripper
	base   *url.URL
	header http.Header
}

// WithHeader adds headers to the requests for base's host. It does so below
// redirects and token requests, which would carry them to other hosts. An
// Authorization that a request has stays.
func WithHeader(inner http.RoundTripper, base *url.URL, header http.Header) http.RoundTripper {
	return &headed{inner, base, header}
}

// RoundTrip implements http.RoundTripper.
func (h *headed) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Host != h.base.Host || req.URL.Scheme != h.base.Scheme {
		return h.inner.RoundTrip(req)
	}
	with := req.Clone(req.Context())
	for key, values := range h.header {
		if key != "Authorization" || with.Header.Get(key) == "" {
			with.Header[key] = values
		}
	}
	resp, err := h.inner.RoundTrip(with)
	if resp != nil {
		resp.Request = req
	}
	return resp, err
}

// secureFirst tries https at one host.
type secureFirst struct {
	inner http.RoundTripper
	host  string
	plain atomic.Bool // it answered in plain text
}

// SecureFirst tries https for the http requests to a host that has something said
// of its certificates, as containerd does, and http when it answers in plain text.
func SecureFirst(inner http.RoundTripper, host string) http.RoundTripper {
	return &secureFirst{inner: inner, host: host}
}

// RoundTrip implements http.RoundTripper. Requests have no body, so they may be sent again.
func (s *secureFirst) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme != "http" || req.URL.Host != s.host || req.Body != nil || s.plain.Load() {
		return s.inner.RoundTrip(req)
	}
	secure := req.Clone(req.Context())
	secure.URL.Scheme = "https"
	resp, err := s.inner.RoundTrip(secure)
	if mismatch := (tls.RecordHeaderError{}); errors.As(err, &mismatch) {
		s.plain.Store(true)
		return s.inner.RoundTrip(req)
	}
	if resp != nil {
		resp.Request = req
	}
	return resp, err
}
