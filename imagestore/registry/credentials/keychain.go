package credentials

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"oras.land/oras-go/v2/registry/remote/auth"
)

// maxFile bounds the config.json.
const maxFile = 1 << 20

// Keychain is one config.json. The file is read for every lookup: lookups are
// rare, and what was revoked must be gone at once.
type Keychain struct {
	path    string
	helpers []string
	slots   chan struct{}
}

// New gives the keychain of the file at path, which need not be there; empty is
// the keychain that knows nothing. Helpers are searched in the directories, or
// in the PATH of this process when there are none.
func New(path string, helperDirs []string) *Keychain {
	return &Keychain{path: path, helpers: helperDirs, slots: make(chan struct{}, maxHelpers)}
}

// document is what is read of the file. Docker keeps more in it.
type document struct {
	Auths   map[string]entry  `json:"auths"`
	Store   string            `json:"credsStore"`
	Helpers map[string]string `json:"credHelpers"`
}

type entry struct {
	Auth          string `json:"auth"`
	Username      string `json:"username"`
	Password      string `json:"password"`
	IdentityToken string `json:"identitytoken"`
	RegistryToken string `json:"registrytoken"`
}

// Lookup gives the credentials for a repository at a host that has the names,
// the empty credential when there are none. The order is docker's: the host's
// own helper, the helper for all hosts, the file; and in the file the longest
// prefix of host/repository.
func (k *Keychain) Lookup(ctx context.Context, names []string, repository string) (auth.Credential, error) {
	if k == nil || k.path == "" {
		return auth.EmptyCredential, nil
	}
	doc, err := k.read()
	if err != nil {
		return auth.EmptyCredential, fmt.Errorf("credentials in %s: %w", k.path, err)
	}
	helper, server := doc.Store, serverFor(names)
	for key, name := range doc.Helpers {
		if matches(key, names, "") > 0 {
			helper = name
		}
	}
	if helper != "" {
		found, err := k.ask(ctx, helper, server)
		if err != nil || found != auth.EmptyCredential {
			return found, err
		}
	}
	best, length := entry{}, 0
	for key, e := range doc.Auths {
		if n := matches(key, names, repository); n > length {
			best, length = e, n
		}
	}
	c, err := best.credential()
	if err != nil {
		return auth.EmptyCredential, fmt.Errorf("credentials in %s: auths of %s: %w", k.path, names[0], err)
	}
	return c, nil
}

func (k *Keychain) read() (*document, error) {
	doc := &document{}
	info, err := os.Stat(k.path)
	if errors.Is(err, fs.ErrNotExist) {
		return doc, nil
	}
	if err != nil {
		return nil, err
	}
	if info.Size() > maxFile || !info.Mode().IsRegular() {
		return nil, fmt.Errorf("not a regular file of at most %d bytes", maxFile)
	}
	data, err := os.ReadFile(k.path)
	if err != nil {
		return nil, err
	}
	return parse(data)
}

func parse(data []byte) (*document, error) {
	doc := &document{}
	if err := json.Unmarshal(data, doc); err != nil {
		// The library's message may quote what is in the file.
		return nil, errors.New("not a docker config.json")
	}
	return doc, nil
}

// serverFor is how helpers know the host: docker's own hub by an old address.
func serverFor(names []string) string {
	if names[0] == "docker.io" {
		return "https://index.docker.io/v1/"
	}
	return names[0]
}

// matches tells how much of host/repository a key covers, 0 for not at all. Keys
// are host, host/path, or docker's https://host/v1/.
func matches(key string, names []string, repository string) int {
	if _, rest, ok := strings.Cut(key, "://"); ok {
		key = rest
	}
	key = strings.TrimSuffix(key, "/")
	for _, version := range []string{"/v1", "/v2"} {
		key = strings.TrimSuffix(key, version)
	}
	for _, name := range names {
		if key == name || strings.HasPrefix(name+"/"+repository+"/", key+"/") && strings.HasPrefix(key, name+"/") {
			return len(key)
		}
	}
	return 0
}

func (e entry) credential() (auth.Credential, error) {
	c := auth.Credential{Username: e.Username, Password: e.Password, RefreshToken: e.IdentityToken, AccessToken: e.RegistryToken}
	if e.Auth == "" || c.Username != "" || c.Password != "" {
		return c, nil
	}
	var err error
	c.Username, c.Password, err = Decode(e.Auth)
	return c, err
}

// Decode reads "user:password" in base64. The error has no part of either.
func Decode(encoded string) (user, password string, err error) {
	plain, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return "", "", fmt.Errorf("auth field: %w", err)
	}
	user, password, ok := strings.Cut(string(plain), ":")
	if !ok {
		return "", "", errors.New("auth field: no colon between user name and password")
	}
	return user, strings.Trim(password, "\x00"), nil
}
