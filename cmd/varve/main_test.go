package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/cri/admin/client"
)

func TestEndings(t *testing.T) {
	for _, c := range []struct {
		err  error
		code int
		hint string
	}{
		{errors.New("x"), 1, ""},
		{&usageError{errors.New("x")}, 2, "--help"},
		{fmt.Errorf("a: %w", errInterrupted), 130, ""},
		{&client.DialError{Socket: "s", Err: unix.ENOENT}, 3, "systemctl start varved"},
		{&client.DialError{Socket: "s", Err: unix.ECONNREFUSED}, 3, "systemctl start varved"},
		{&client.DialError{Socket: "s", Err: unix.EACCES}, 3, "sudo"},
		{&client.DialError{Socket: "s", Err: unix.EIO}, 3, ""},
	} {
		if code, said := exitCode(c.err), hint(c.err); code != c.code || !strings.Contains(said, c.hint) || (c.hint == "") != (said == "") {
			t.Errorf("%v: %d %q, want %d %q", c.err, code, said, c.code, c.hint)
		}
	}
	for _, args := range [][]string{{"pull"}, {"pull", "a", "b"}, {"images", "x"}, {"--nosuch"}, {"nosuch"}, {"layers", "a", "b"}, {"pull", "-q", "--json", "a"}} {
		if code := run(t.Context(), args); code != exitUsage {
			t.Errorf("%v: exit code %d", args, code)
		}
	}
	socket := filepath.Join(t.TempDir(), strings.Repeat("long", 40), "admin.sock")
	for _, args := range [][]string{{"images"}, {"store"}, {"pulls"}, {"pulls", "-w"}, {"operations"}, {"reload"}, {"version"}, {"pull", "busybox"}} {
		if code := run(t.Context(), append(args, "--socket", socket)); code != exitUnreachable {
			t.Errorf("%v: exit code %d", args, code)
		}
	}
}

func TestCredentials(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("DOCKER_CONFIG", dir)
	auth := base64.StdEncoding.EncodeToString([]byte("me:secret"))
	config := fmt.Sprintf(`{"auths":{"https://index.docker.io/v1/":{"auth":%q},"quay.io":{"auth":%q}}}`, auth, auth)
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	for image, want := range map[string]bool{"busybox": true, "quay.io/a/b:1": true, "ghcr.io/a/b": false} {
		got, err := credentialsFor(context.Background(), image)
		if err != nil || (got != nil) != want || want && (got.Username != "me" || got.Password != "secret") {
			t.Errorf("%s: %+v, %v", image, got, err)
		}
	}
	if _, err := credentialsFor(context.Background(), "NO SUCH"); err == nil {
		t.Error("a name that is none")
	}
}
