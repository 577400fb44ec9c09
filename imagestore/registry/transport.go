package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync/atomic"
	"time"

	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/varve-cri/varve/imagestore/registry/hosts"
)

// dialling is what one transport does differently from another.
type dialling struct {
	tls     *tls.Config
	connect time.Duration // 0 is the limit for all
	proxy   *url.URL      // nil is the environment's
}

func (c *Client) addTransport(s security) error {
	if _, ok := c.transports[s]; ok {
		return nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: s.skip} //nolint:gosec // the rule asks for it
	if s.caFile != "" {
		pem, err := os.ReadFile(s.caFile)
		if err != nil {
			return err
		}
		if config.RootCAs, err = x509.SystemCertPool(); err != nil {
			config.RootCAs = x509.NewCertPool()
		}
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("%s holds no certificate", s.caFile)
		}
	}
	c.transports[s] = c.transport(dialling{tls: config})
	return nil
}

// transportsOf gives the transports of a directory's hosts, which live as long as
// the directory says the same.
func (c *Client) transportsOf(config *hosts.Config) ([]http.RoundTripper, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.configured[config.Dir]
	if before != nil && before.config == config {
		return before.transports, nil
	}
	now := &configured{config: config}
	for i := range config.Hosts {
		h := &config.Hosts[i]
		if !h.ExplicitTLS() && h.DialTimeout == 0 && h.Proxy == nil {
			now.transports = append(now.transports, c.transports[security{}])
			continue
		}
		own, err := h.TLS()
		if err != nil {
			return nil, err
		}
		now.transports = append(now.transports, c.transport(dialling{own, h.DialTimeout, h.Proxy}))
	}
	c.configured[config.Dir] = now
	if before != nil {
		for _, t := range before.transports {
			if t != c.transports[security{}] {
				closeIdle(t)
			}
		}
	}
	return now.transports, nil
}

func (c *Client) transport(d dialling) http.RoundTripper {
	if c.config.Transport != nil {
		return c.config.Transport
	}
	proxy := http.ProxyFromEnvironment
	if d.proxy != nil {
		proxy = http.ProxyURL(d.proxy)
	}
	connect := c.limits.Connect
	if d.connect != 0 {
		connect = d.connect
	}
	return &http.Transport{
		Proxy:                 proxy,
		DialContext:           (&net.Dialer{Timeout: connect}).DialContext,
		TLSHandshakeTimeout:   c.limits.Connect,
		ResponseHeaderTimeout: c.limits.Header,
		TLSClientConfig:       d.tls,
		ForceAttemptHTTP2:     true,
		MaxIdleConnsPerHost:   8,
		IdleConnTimeout:       30 * time.Second,
		// A registry that gzips a blob on the way would change its digest.
		DisableCompression: true,
	}
}

func closeIdle(rt http.RoundTripper) {
	if t, ok := rt.(*http.Transport); ok {
		t.CloseIdleConnections()
	}
}

// authClient answers the challenges of one host with one credential. The
// credential is bound to the host, so no redirect and no other host's challenge
// can ask for it (CVE-2020-15157, CVE-2019-10214).
func authClient(p place, l *lookup) *auth.Client {
	transport := p.transport
	if len(p.header) > 0 {
		header := p.header.Clone()
		if l.given != auth.EmptyCredential {
			header.Del("Authorization") // the pull's own come first
		}
		transport = &headed{inner: transport, base: p.base, header: header}
	}
	client := &auth.Client{
		Client:   &http.Client{Transport: transport, CheckRedirect: checkRedirect},
		Cache:    auth.NewCache(),
		ClientID: userAgent,
		Credential: func(ctx context.Context, asked string) (auth.Credential, error) {
			if asked != p.base.Host {
				return auth.EmptyCredential, nil
			}
			return l.credential(ctx)
		},
	}
	client.SetUserAgent(userAgent)
	return client
}

// checkRedirect lets no one lead us from https to http or to another scheme.
func checkRedirect(req *http.Request, via []*http.Request) error {
	switch {
	case len(via) >= 10:
		return errors.New("more than 10 redirects")
	case req.URL.Scheme != "https" && req.URL.Scheme != "http", via[0].URL.Scheme == "https" && req.URL.Scheme != "https":
		return fmt.Errorf("redirect from %s to %s refused", via[0].URL.Scheme, req.URL.Scheme)
	}
	return nil
}

// headed adds headers to the requests for one host. It does so below redirects and
// token requests, which would carry them to other hosts.
type headed struct {
	inner  http.RoundTripper
	base   *url.URL
	header http.Header
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

// secureFirst tries https at a host that is configured as http and yet has
// something said of its certificates, as containerd does.
type secureFirst struct {
	inner http.RoundTripper
	host  string
	plain atomic.Bool // it answered in plain text
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
