package credentials

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"oras.land/oras-go/v2/registry/remote/auth"
)

func keychain(t *testing.T, file string, helpers map[string]string) *Keychain {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "config.json")
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, script := range helpers {
		if err := os.WriteFile(filepath.Join(dir, helperPrefix+name), []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return New(path, []string{dir})
}

var hub = []string{"docker.io", "index.docker.io", "registry-1.docker.io"}

func TestLookup(t *testing.T) {
	k := keychain(t, `{
		"auths": {
			"https://index.docker.io/v1/": {"auth": "aHViOnB3"},
			"r.example:5000": {"username": "plain", "password": "pw"},
			"quay.example": {"auth": "YWxsOnB3"},
			"quay.example/team": {"auth": "dGVhbTpwdw=="},
			"https://token.example": {"auth": "bWU6", "identitytoken": "refresh"},
			"bearer.example": {"registrytoken": "access"},
			"broken.example": {"auth": "%secret%"},
			"helper.example": {"auth": "YWxsOnB3"}
		},
		"credHelpers": {"helper.example": "one", "none.example": "none", "token.helper.example": "token"},
		"HttpHeaders": {"X": "y"}
	}`, map[string]string{
		"one":   `read host; [ "$1" = get ] && [ $# = 1 ] && printf '{"ServerURL":"%s","Username":"%s","Secret":"s"}' "$host" "$host"`,
		"none":  `echo "credentials not found in native keychain"; exit 1`,
		"token": `echo '{"Username":"<token>","Secret":"refresh"}'`,
	})
	for _, c := range []struct {
		names      []string
		repository string
		want       auth.Credential
	}{
		{hub, "library/busybox", auth.Credential{Username: "hub", Password: "pw"}},
		{[]string{"r.example:5000"}, "a", auth.Credential{Username: "plain", Password: "pw"}},
		{[]string{"r.example"}, "a", auth.EmptyCredential},
		{[]string{"quay.example"}, "other/app", auth.Credential{Username: "all", Password: "pw"}},
		{[]string{"quay.example"}, "team/app", auth.Credential{Username: "team", Password: "pw"}},
		{[]string{"quay.example"}, "teammates/app", auth.Credential{Username: "all", Password: "pw"}},
		{[]string{"quay.example.evil.example"}, "team/app", auth.EmptyCredential},
		{[]string{"token.example"}, "a", auth.Credential{Username: "me", RefreshToken: "refresh"}},
		{[]string{"bearer.example"}, "a", auth.Credential{AccessToken: "access"}},
		{[]string{"helper.example"}, "a", auth.Credential{Username: "helper.example", Password: "s"}},
		{[]string{"none.example"}, "a", auth.EmptyCredential},
		{[]string{"token.helper.example"}, "a", auth.Credential{RefreshToken: "refresh"}},
	} {
		got, err := k.Lookup(t.Context(), c.names, c.repository)
		if err != nil || got != c.want {
			t.Errorf("%s/%s: %+v, %v", c.names[0], c.repository, got, err)
		}
	}
	if _, err := k.Lookup(t.Context(), []string{"broken.example"}, "a"); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("a broken entry: %v", err)
	}
	store := keychain(t, `{"credsStore": "all", "auths": {"x.example": {"auth": "YWxsOnB3"}}}`, map[string]string{
		"all": `read host; case $host in https://index.docker.io/v1/) echo '{"Username":"h","Secret":"s"}';; *) echo credentials not found in native keychain; exit 1;; esac`,
	})
	if got, err := store.Lookup(t.Context(), hub, "a"); err != nil || got.Username != "h" {
		t.Errorf("credsStore: %+v, %v", got, err)
	}
	if got, err := store.Lookup(t.Context(), []string{"x.example"}, "a"); err != nil || got.Username != "all" {
		t.Errorf("what the store lacks: %+v, %v", got, err)
	}
	for _, none := range []*Keychain{nil, New("", nil), New("/nonexistent/config.json", nil)} {
		if got, err := none.Lookup(t.Context(), hub, "a"); err != nil || got != auth.EmptyCredential {
			t.Errorf("no file: %+v, %v", got, err)
		}
	}
}

// Whatever a helper or the file does wrong ends with an error that has no secret.
func TestBadHelpers(t *testing.T) {
	helpers := map[string]string{
		"loud":   `echo secret; echo secret >&2; exit 3`,
		"talker": `while :; do echo secretsecretsecretsecretsecretsecretsecretsecret; done`,
		"noise":  `echo secret`,
		"slow":   `sleep 60 & sleep 60`,
		"child":  `sleep 60 & echo '{"Username":"u","Secret":"s"}'`,
	}
	for name, want := range map[string]string{
		"loud": "exit status 3", "talker": "more than 65536 bytes", "noise": "not the protocol's JSON", "slow": "context deadline exceeded",
		"missing": "no such program in", "../loud": "is not the name", "a b": "is not the name", "child": "",
	} {
		k := keychain(t, fmt.Sprintf(`{"credsStore": %q}`, name), helpers)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		if name == "slow" {
			ctx, cancel = context.WithTimeout(t.Context(), 300*time.Millisecond)
		}
		begun := time.Now()
		c, err := k.Lookup(ctx, []string{"r.example"}, "a")
		cancel()
		if want == "" && (err != nil || c.Username != "u") || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, %v", name, c, err)
		}
		if strings.Contains(fmt.Sprint(err), "secret") || time.Since(begun) > 50*time.Second { // slow and child are there for a minute
			t.Errorf("%s after %v: %v", name, time.Since(begun), err)
		}
	}
	k := keychain(t, `{"auths": "secret"}`, nil)
	if _, err := k.Lookup(t.Context(), hub, "a"); err == nil || strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), "config.json") {
		t.Errorf("not a config.json: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"auths": {"https://index.docker.io/v1/": {"auth": "aHViOnB3"}}, "credHelpers": {"a": "b"}, "credsStore": "x"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		doc, err := parse(data)
		if err != nil {
			return
		}
		for key, e := range doc.Auths {
			_, _ = e.credential()
			if n := matches(key, []string{"r.example"}, "a/b"); n > 0 && !strings.Contains(key, "r.example") {
				t.Errorf("%q matches", key)
			}
		}
	})
}
