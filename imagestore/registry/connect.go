package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"time"

	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/varve-cri/varve/imagestore/registry/hosts"
	"github.com/varve-cri/varve/imagestore/registry/transport"
)

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
	c.transports[s] = c.transport(config, 0, nil)
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
		now.transports = append(now.transports, c.transport(own, h.DialTimeout, h.Proxy))
	}
	c.configured[config.Dir] = now
	if before != nil {
		for _, t := range before.transports {
			if t != c.transports[security{}] {
				transport.CloseIdle(t)
			}
		}
	}
	return now.transports, nil
}

func (c *Client) transport(tls *tls.Config, connect time.Duration, proxy *url.URL) http.RoundTripper {
	if c.config.Transport != nil {
		return c.config.Transport
	}
	if connect == 0 {
		connect = c.limits.Connect
	}
	return transport.New(transport.Options{TLS: tls, Connect: connect, Header: c.limits.Header, Proxy: proxy})
}

// authClient answers the challenges of one host with one credential. The
// credential is bound to the host, so no redirect and no other host's challenge
// can ask for it (CVE-2020-15157, CVE-2019-10214).
func authClient(p place, l *lookup) *auth.Client {
	rt := p.transport
	if len(p.header) > 0 {
		header := p.header.Clone()
		if l.given != auth.EmptyCredential {
			header.Del("Authorization") // the pull's own come first
		}
		rt = transport.WithHeader(rt, p.base, header)
	}
	client := &auth.Client{
		Client:   &http.Client{Transport: rt, CheckRedirect: transport.CheckRedirect},
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
