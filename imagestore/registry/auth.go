package registry

import (
	"encoding/base64"
	"fmt"
	"strings"

	"oras.land/oras-go/v2/registry/remote/auth"
)

// Auth is one registry's credentials, in the fields that CRI gives.
type Auth struct {
	Username, Password string
	Encoded            string // base64 of "username:password", when the two are empty
	IdentityToken      string // a refresh token for the token server
	RegistryToken      string // a bearer token for the registry itself
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
		plain, err := base64.StdEncoding.DecodeString(a.Encoded)
		if err != nil {
			return c, fmt.Errorf("auth field: %w", err)
		}
		name, password, ok := strings.Cut(string(plain), ":")
		if !ok {
			return c, fmt.Errorf("auth field: no colon between user name and password")
		}
		c.Username, c.Password = name, strings.Trim(password, "\x00")
	}
	return c, nil
}
