package registry

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/varve-cri/varve/imagestore/fault"
	"github.com/varve-cri/varve/imagestore/registry/credentials"
)

// Auth is one registry's credentials, in the fields that CRI gives.
type Auth struct {
	Username, Password string
	Encoded            string // base64 of "username:password", when the two are empty
	IdentityToken      string // a refresh token for the token server
	RegistryToken      string // a bearer token for the registry itself
	ServerAddress      string // the only registry that they are for; empty is the image's
}

// String hides the secrets, so that no log line can hold them.
func (a Auth) String() string { return "credentials of " + a.Username }

// GoString hides the secrets from %#v.
func (a Auth) GoString() string { return a.String() }

func (a *Auth) credential() (auth.Credential, error) {
	if a == nil {
		return auth.EmptyCredential, nil
	}
	c := auth.Credential{Username: a.Username, Password: a.Password, RefreshToken: a.IdentityToken, AccessToken: a.RegistryToken}
	if a.Encoded != "" && c.Username == "" && c.Password == "" {
		var err error
		if c.Username, c.Password, err = credentials.Decode(a.Encoded); err != nil {
			return c, err
		}
	}
	return c, nil
}

// isFor tells whether the credentials may be used for images of a registry.
func (a *Auth) isFor(registry string) bool {
	if a == nil || a.ServerAddress == "" {
		return a != nil
	}
	address := a.ServerAddress
	if !strings.Contains(address, "://") {
		address = "https://" + address
	}
	u, err := url.Parse(address)
	return err == nil && sameRegistry(u.Host, registry)
}

// The one registry that has several names, and where it is.
const (
	hub     = "docker.io"
	hubHost = "registry-1.docker.io"
)

var hubNames = []string{hub, "index.docker.io", hubHost}

// namesOf gives the names under which credentials for a registry may be kept.
func namesOf(registry string) []string {
	for _, name := range hubNames {
		if name == registry {
			return hubNames
		}
	}
	return []string{registry}
}

func sameRegistry(a, b string) bool { return namesOf(a)[0] == namesOf(b)[0] }

// lookup is where one host's credentials come from: what was given for it, else
// what the keychain knows of it.
type lookup struct {
	given      auth.Credential
	keychain   *credentials.Keychain
	names      []string
	repository string
}

// credential is asked for only when the host wants credentials.
func (l *lookup) credential(ctx context.Context) (auth.Credential, error) {
	if l.given != auth.EmptyCredential {
		return l.given, nil
	}
	c, err := l.keychain.Lookup(ctx, l.names, l.repository)
	if err != nil {
		return auth.EmptyCredential, fault.New(fault.Unauthorized, "find credentials", fmt.Errorf("registry %s: %w", l.names[0], err))
	}
	return c, nil
}
