package registry

import (
	"fmt"
	"net/url"
	"strings"
)

// Rules say, for each registry name that a reference may carry, where its
// content is really fetched from. The key "*" is for every name that has no
// rule of its own. A name without any rule is fetched from itself by https
// (loopback names by http).
type Rules map[string]Rule

// Rule is the ordered list of endpoints of one registry name.
type Rule struct {
	// Endpoints are tried in order; the first that has the content serves it.
	Endpoints []Endpoint `json:"endpoints,omitempty" yaml:"endpoints,omitempty"`
	// Fallback also asks the registry itself, last, when no endpoint has the content.
	Fallback bool `json:"fallback,omitempty" yaml:"fallback,omitempty"`
	// PlainHTTP talks http, not https, to the registry itself.
	PlainHTTP bool `json:"plainHTTP,omitempty" yaml:"plainHTTP,omitempty"`
	// CAFile and SkipVerify are the registry's own, as an endpoint's are.
	CAFile     string `json:"caFile,omitempty" yaml:"caFile,omitempty"`
	SkipVerify bool   `json:"skipVerify,omitempty" yaml:"skipVerify,omitempty"`
}

// Endpoint is one mirror.
type Endpoint struct {
	// URL is http://HOST[:PORT][/PREFIX] or the same with https. The
	// repository's path is kept below PREFIX/v2/.
	URL string `json:"url" yaml:"url"`
	// NoNamespace leaves out the query ?ns=REGISTRY, by which mirrors of several
	// registries tell them apart.
	NoNamespace bool `json:"noNamespace,omitempty" yaml:"noNamespace,omitempty"`
	// ForwardAuth sends the credentials of the pull to this mirror as well. Without
	// it they go to the registry they were given for and to no other host.
	ForwardAuth bool `json:"forwardAuth,omitempty" yaml:"forwardAuth,omitempty"`
	// Username and Password are the mirror's own credentials.
	Username string `json:"username,omitempty" yaml:"username,omitempty"`
	Password string `json:"password,omitempty" yaml:"password,omitempty"`
	// CAFile holds certificates to trust besides the system's, in PEM form.
	CAFile string `json:"caFile,omitempty" yaml:"caFile,omitempty"`
	// SkipVerify accepts any certificate.
	SkipVerify bool `json:"skipVerify,omitempty" yaml:"skipVerify,omitempty"`
}

// Mirror gives the rules by which every registry name is fetched from one URL.
func Mirror(u string) Rules {
	return Rules{"*": {Endpoints: []Endpoint{{URL: u}}}}
}

// Validate checks every rule; the error names the field as the configuration
// file spells it.
func (r Rules) Validate() error {
	for name, rule := range r {
		for i, e := range rule.Endpoints {
			if _, err := e.parse(); err != nil {
				return fmt.Errorf("registries[%q].endpoints[%d].url: %w", name, i, err)
			}
		}
	}
	return nil
}

func (e Endpoint) parse() (*url.URL, error) {
	u, err := url.Parse(e.URL)
	switch {
	case err != nil:
		return nil, err
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("%q: the scheme must be http or https", e.URL)
	case u.Host == "":
		return nil, fmt.Errorf("%q has no host", e.URL)
	case u.User != nil, u.RawQuery != "", u.Fragment != "":
		return nil, fmt.Errorf("%q: only scheme, host, port and path are allowed", e.URL)
	}
	u.Path = strings.TrimSuffix(strings.TrimSuffix(u.Path, "/"), "/v2")
	return u, nil
}
