package registry

import (
	"fmt"
	"net/http"
	"sync"

	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/varve-cri/varve/imagestore/fault"
	"github.com/varve-cri/varve/imagestore/reference"
	"github.com/varve-cri/varve/imagestore/registry/credentials"
	"github.com/varve-cri/varve/imagestore/registry/hosts"
	"github.com/varve-cri/varve/imagestore/registry/transport"
)

// userAgent is how registries see us.
const userAgent = "varve"

// Config is what a Client is made of. The zero value speaks https with every
// registry, without credentials.
type Config struct {
	// Rules say where registries are.
	Rules Rules
	// Directories hold a hosts.toml for each registry, in containerd's layout; they
	// are read when a pull begins. A registry's own rule comes before its
	// directory, and that before the rule "*", and that before _default.
	Directories []string
	// DockerConfig is the path of a docker config.json with credentials for pulls
	// that bring none; empty is none.
	DockerConfig string
	// HelperDirs are searched for credential helpers; none is the PATH.
	HelperDirs []string
	// Limits bound what registries cost.
	Limits Limits
	// Transport, when not nil, replaces every transport.
	Transport http.RoundTripper
}

// Client makes Repositories by one Config; its connections are shared by all.
type Client struct {
	config    Config
	limits    Limits
	directory *hosts.Directory
	keychain  *credentials.Keychain
	// transports of the rules are keyed by what makes one differ from another.
	transports map[security]http.RoundTripper

	mu sync.Mutex
	// configured are the transports of the directories, by path; guarded by mu.
	configured map[string]*configured
}

type security struct {
	caFile string
	skip   bool
}

// configured are the transports of a directory's hosts, as long as it says the same.
type configured struct {
	config     *hosts.Config
	transports []http.RoundTripper
}

// New checks the rules and reads their certificates.
func New(config Config) (*Client, error) {
	if err := config.Rules.Validate(); err != nil {
		return nil, err
	}
	c := &Client{
		config: config, limits: config.Limits.withDefaults(), directory: hosts.New(config.Directories),
		keychain:   credentials.New(config.DockerConfig, config.HelperDirs),
		transports: map[security]http.RoundTripper{}, configured: map[string]*configured{},
	}
	if err := c.addTransport(security{}); err != nil {
		return nil, err
	}
	for name, rule := range config.Rules {
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
	for _, t := range c.transports {
		transport.CloseIdle(t)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, d := range c.configured {
		for _, t := range d.transports {
			transport.CloseIdle(t)
		}
	}
}

// Repository is one image's repository, at all the hosts that may serve it.
type Repository struct {
	limits Limits
	path   string
	hosts  []*host // as configured; order() tells in which order they are asked

	mu sync.Mutex
	// served are the hosts that gave bytes of a blob, by digest; guarded by mu.
	served map[string]map[*host]bool
}

// Repository gives the repository of ref. The credentials go to its own registry
// and to the mirrors that are told to get them; hosts that have none of their own
// may be in the keychain. The error is a *fault.Error.
func (c *Client) Repository(ref reference.Reference, credentials *Auth) (*Repository, error) {
	given, err := credentials.credential()
	if err != nil {
		return nil, fault.New(fault.Invalid, "read credentials", err)
	}
	if !credentials.isFor(ref.Domain) {
		given = auth.EmptyCredential
	}
	places, err := c.places(ref.Domain)
	if err != nil {
		return nil, fault.New(fault.Invalid, "find registry "+ref.Domain, err)
	}
	r := &Repository{limits: c.limits, path: ref.Path, served: map[string]map[*host]bool{}}
	for _, p := range places {
		own := p.own
		if p.forward && given != auth.EmptyCredential {
			own = given
		}
		h := &host{base: p.base, pull: p.pull, resolve: p.resolve}
		if p.mirror {
			h.namespace = ref.Domain
		}
		l := &lookup{given: own, keychain: c.keychain, names: namesOf(p.base.Host), repository: ref.Path}
		h.client = authClient(p, l)
		r.hosts = append(r.hosts, h)
	}
	return r, nil
}
