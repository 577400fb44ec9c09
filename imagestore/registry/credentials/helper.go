package credentials

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"oras.land/oras-go/v2/registry/remote/auth"
)

const (
	helperPrefix  = "docker-credential-"
	helperTime    = 30 * time.Second
	maxHelpers    = 4 // at a time
	maxOutput     = 64 << 10
	tokenUsername = "<token>" // the user name by which a helper says that the secret is an identity token
)

// helperName is what a helper's name may be: no path, so that only the
// directories for helpers are searched.
var helperName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

// errOutput ends a helper that says too much.
var errOutput = fmt.Errorf("more than %d bytes of output", maxOutput)

// ask runs docker-credential-NAME get; the empty credential when it knows none.
func (k *Keychain) ask(ctx context.Context, name, server string) (auth.Credential, error) {
	c, err := k.get(ctx, name, server)
	if err != nil {
		return auth.EmptyCredential, fmt.Errorf("%s%s: credentials of %s: %w", helperPrefix, name, server, err)
	}
	return c, nil
}

func (k *Keychain) get(ctx context.Context, name, server string) (auth.Credential, error) {
	path, err := k.find(name)
	if err != nil {
		return auth.EmptyCredential, err
	}
	select {
	case k.slots <- struct{}{}:
		defer func() { <-k.slots }()
	case <-ctx.Done():
		return auth.EmptyCredential, context.Cause(ctx)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, helperTime, fmt.Errorf("no answer within %v", helperTime))
	defer cancel()
	out, err := run(ctx, path, server)
	switch {
	case ctx.Err() != nil:
		return auth.EmptyCredential, context.Cause(ctx)
	case err != nil && bytes.Contains(out, []byte("credentials not found")): // the protocol's words for "none"
		return auth.EmptyCredential, nil
	case err != nil:
		return auth.EmptyCredential, err
	}
	var said struct{ Username, Secret string }
	if json.Unmarshal(out, &said) != nil {
		return auth.EmptyCredential, errors.New("the answer is not the protocol's JSON")
	}
	if said.Username == tokenUsername {
		return auth.Credential{RefreshToken: said.Secret}, nil
	}
	return auth.Credential{Username: said.Username, Password: said.Secret}, nil
}

// find gives the helper's program.
func (k *Keychain) find(name string) (string, error) {
	if !helperName.MatchString(name) {
		return "", fmt.Errorf("%q is not the name of a credential helper", name)
	}
	dirs := k.helpers
	if len(dirs) == 0 {
		dirs = filepath.SplitList(os.Getenv("PATH"))
	}
	for _, dir := range dirs {
		path := filepath.Join(dir, helperPrefix+name)
		info, err := os.Stat(path)
		if err == nil && filepath.IsAbs(path) && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	return "", fmt.Errorf("no such program in %s", strings.Join(dirs, ", "))
}

// run runs the helper in a process group of its own, so that its end is the end of
// what it started too.
func run(ctx context.Context, path, server string) ([]byte, error) {
	var out capped
	cmd := exec.CommandContext(ctx, path, "get")
	cmd.Dir = "/"
	cmd.Stdin = strings.NewReader(server)
	cmd.Stdout = &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	// What it left behind may hold its output open.
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	switch {
	case out.over:
		err = errOutput
	case errors.Is(err, exec.ErrWaitDelay):
		err = nil
	}
	return out.kept.Bytes(), err
}

// capped keeps as much output as an answer may have.
type capped struct {
	kept bytes.Buffer // not embedded: its ReadFrom knows no bound
	over bool
}

func (c *capped) Write(p []byte) (int, error) {
	if c.kept.Len()+len(p) > maxOutput {
		c.over = true
		return 0, errOutput
	}
	return c.kept.Write(p)
}
