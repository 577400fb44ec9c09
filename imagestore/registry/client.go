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
	"strings"
	"time"

	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/varve-cri/varve/imagestore/reference"
)

// userAgent is how registries see us.
const userAgent = "varve"

// Client makes Repositories by one set of rules; its connections are shared by all.
type Client struct {
	rules    Rules
	limits   Limits
	override http.RoundTripper
	// transports are keyed by what makes one differ from another.
	transports map[security]http.RoundTripper
}

type security struct {
	caFile string
	skip   bool
}

// New checks the rules and reads their certificates. override, when not nil,
// replaces every transport.
func New(rules Rules, limits Limits, override http.RoundTripper) (*Client, error) {
	if err := rules.Validate(); err != nil {
		return nil, err
	}
	c := &Client{rules: rules, limits: limits.withDefaults(), override: override, transports: map[security]http.RoundTripper{}}
	if err := c.addTransport(security{}); err != nil {
		return nil, err
	}
	for name, rule := range rules {
		for _, e := range append([]Endpoint{{CAFile: rule.CAFile, SkipVerify: rule.SkipVerify}}, rule.Endpoints...) {
			if err := c.addTransport(security{e.CAFile, e.SkipVerify}); err != nil {
				return nil, fmt.Errorf("registries[%q]: %w", name, err)
			}
		}
	}
	return c, nil
}

// Close drops idle connections.
func (c *Client) Close() {
	for _, rt := range c.transports {
		if t, ok := rt.(*http.Transport); ok {
			t.CloseIdleConnections()
		}
	}
}

func (c *Client) addTransport(s security) error {
	if _, ok := c.transports[s]; ok {
		return nil
	}
	if c.override != nil {
		c.transports[s] = c.override
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
	c.transports[s] = &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: c.limits.Connect}).DialContext,
		TLSHandshakeTimeout:   c.limits.Connect,
		ResponseHeaderTimeout: c.limits.Header,
		TLSClientConfig:       config,
		ForceAttemptHTTP2:     true,
		MaxIdleConnsPerHost:   8,
		IdleConnTimeout:       30 * time.Second,
		// A registry that gzips a blob on the way would change its digest.
		DisableCompression: true,
	}
	return nil
}

// Repository is one image's repository, at all the hosts that may serve it.
type Repository struct {
	limits Limits
	path   string
	hosts  []*host // in the order they are asked
}

// host is one place that serves the repository.
type host struct {
	base      *url.URL
	namespace string // for ?ns=
	client    *auth.Client
}

// Repository gives the repository of ref; credentials go to its own registry and
// to the mirrors that the rules name for it.
func (c *Client) Repository(ref reference.Reference, credentials *Auth) (*Repository, error) {
	given, err := credentials.credential()
	if err != nil {
		return nil, err
	}
	rule, ok := c.rules[ref.Domain]
	if !ok {
		rule = c.rules["*"]
	}
	r := &Repository{limits: c.limits, path: ref.Path}
	for _, e := range rule.Endpoints {
		base, err := e.parse()
		if err != nil {
			return nil, err
		}
		credential := auth.Credential{Username: e.Username, Password: e.Password}
		if e.ForwardAuth && e.Username == "" {
			credential = given
		}
		h := &host{base: base, client: c.authClient(security{e.CAFile, e.SkipVerify}, base.Host, credential)}
		if !e.NoNamespace {
			h.namespace = ref.Domain
		}
		r.hosts = append(r.hosts, h)
	}
	if len(rule.Endpoints) == 0 || rule.Fallback {
		base := origin(ref.Domain, rule.PlainHTTP)
		r.hosts = append(r.hosts, &host{base: base, client: c.authClient(security{rule.CAFile, rule.SkipVerify}, base.Host, given)})
	}
	return r, nil
}

// origin is where a registry's name leads without mirrors.
func origin(domain string, plain bool) *url.URL {
	if domain == "docker.io" {
		domain = "registry-1.docker.io"
	}
	u := &url.URL{Scheme: "https", Host: domain}
	if plain || isLoopback(domain) {
		u.Scheme = "http"
	}
	return u
}

// isLoopback tells the names that never leave this machine, for which http is
// as good as https and what people expect.
func isLoopback(domain string) bool {
	name, _, err := net.SplitHostPort(domain)
	if err != nil {
		name = strings.Trim(domain, "[]")
	}
	if name == "localhost" {
		return true
	}
	ip := net.ParseIP(name)
	return ip != nil && ip.IsLoopback()
}

// authClient answers the challenges of one host with one credential. The
// credential is bound to the host, so no redirect and no other host's challenge
// can ask for it (CVE-2020-15157, CVE-2019-10214).
func (c *Client) authClient(s security, hostport string, credential auth.Credential) *auth.Client {
	client := &auth.Client{
		Client:   &http.Client{Transport: c.transports[s], CheckRedirect: checkRedirect},
		Cache:    auth.NewCache(),
		ClientID: userAgent,
		Credential: func(_ context.Context, asked string) (auth.Credential, error) {
			if asked != hostport {
				return auth.EmptyCredential, nil
			}
			return credential, nil
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
