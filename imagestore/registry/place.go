package registry

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"

	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/varve-cri/varve/imagestore/registry/hosts"
	"github.com/varve-cri/varve/imagestore/registry/transport"
)

// place is where a registry's content may be, before it is known for which image.
type place struct {
	base          *url.URL // the root of its API
	transport     http.RoundTripper
	header        http.Header // for this host alone
	pull, resolve bool
	mirror        bool            // is told which registry's content is wanted
	forward       bool            // gets the credentials of the pull
	own           auth.Credential // for when there are none of the pull
}

// places lists where a registry's content may be, in the order to ask. What is
// said of the registry by name comes before what is said of all.
func (c *Client) places(domain string) ([]place, error) {
	if rule, ok := c.config.Rules[domain]; ok {
		return c.byRule(domain, rule)
	}
	if own, err := c.directory.Own(domain); err != nil || own != nil {
		return c.byConfig(domain, own, err)
	}
	if rule, ok := c.config.Rules["*"]; ok {
		return c.byRule(domain, rule)
	}
	if common, err := c.directory.Default(); err != nil || common != nil {
		return c.byConfig(domain, common, err)
	}
	return c.byRule(domain, Rule{})
}

func (c *Client) byRule(domain string, rule Rule) (places []place, err error) {
	for _, e := range rule.Endpoints {
		p := place{
			transport: c.transports[security{e.CAFile, e.SkipVerify}], pull: true, resolve: true, mirror: !e.NoNamespace,
			forward: e.ForwardAuth && e.Username == "", own: auth.Credential{Username: e.Username, Password: e.Password},
		}
		if p.base, err = e.parse(); err != nil {
			return nil, err
		}
		p.base.Path += "/v2"
		places = append(places, p)
	}
	if len(rule.Endpoints) == 0 || rule.Fallback {
		t := c.transports[security{rule.CAFile, rule.SkipVerify}]
		places = append(places, place{base: origin(domain, rule.PlainHTTP), transport: t, pull: true, resolve: true, forward: true})
	}
	return places, nil
}

// byConfig makes the places of a directory. Credentials of the pull go to the
// registry itself: under its own name or, in its own directory, the server that
// stands for it. The server of _default stands for many and gets none.
func (c *Client) byConfig(domain string, config *hosts.Config, err error) ([]place, error) {
	if err != nil {
		return nil, err
	}
	transports, err := c.transportsOf(config)
	if err != nil {
		return nil, fmt.Errorf("registry configuration %s: %w", config.Dir, err)
	}
	var places []place
	for i := range config.Hosts {
		h := &config.Hosts[i]
		p := place{base: h.URL, transport: transports[i], header: h.Header, pull: h.Pull, resolve: h.Resolve}
		if p.base == nil {
			p.base = origin(domain, false)
		} else if p.base.Host == hub {
			moved := *p.base
			moved.Host = hubHost // what answers there is a web site
			p.base = &moved
		}
		same := sameRegistry(p.base.Host, domain)
		p.mirror, p.forward = !same, same || h.Server && !config.Default
		if h.ExplicitTLS() && p.base.Scheme == "http" && p.base.Port() != "80" {
			p.transport = transport.SecureFirst(p.transport, p.base.Host)
		}
		places = append(places, p)
	}
	return places, nil
}

// origin is where a registry's name leads without mirrors.
func origin(domain string, plain bool) *url.URL {
	if domain == hub {
		domain = hubHost
	}
	u := &url.URL{Scheme: "https", Host: domain, Path: "/v2"}
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
