package network

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/version"

	"github.com/varve-cri/varve/cri/step"
)

// maxOutput bounds what is kept of a plugin's output.
const maxOutput = 1 << 20

// PluginError says which plugin failed at which verb and what it said.
type PluginError struct {
	Plugin, Verb string
	Err          error
}

// Error returns "plugin bridge: ADD: cause".
func (e *PluginError) Error() string {
	return fmt.Sprintf("plugin %s: %s: %v", e.Plugin, e.Verb, e.Err)
}

// Unwrap gives the cause.
func (e *PluginError) Unwrap() error { return e.Err }

// grace is how long a plugin may still run when nobody waits for it any more.
// A plugin that is killed can leave what no DEL finds: host-local makes the
// lease's file first and writes into it whose it is after that. Only a test
// changes it.
var grace = 2 * time.Second

// runner executes plugins. Unlike libcni's own it kills a plugin together
// with its children when the context has ended and it does not come to an end
// itself, and does not wait for ever for a grandchild that keeps the output
// open.
type runner struct{ version.PluginDecoder }

var _ invoke.Exec = (*runner)(nil)

// FindInPath finds a plugin's program. libcni has rejected types with path
// separators (CVE-2021-20206); an error names the plugin and the folders.
func (r *runner) FindInPath(plugin string, dirs []string) (string, error) {
	path, err := invoke.FindInPath(plugin, dirs)
	if err != nil {
		return "", fmt.Errorf("plugin %s: not found in %s", plugin, strings.Join(dirs, ", "))
	}
	return path, nil
}

// ExecPlugin runs one plugin with one verb.
func (r *runner) ExecPlugin(ctx context.Context, path string, stdin []byte, env []string) ([]byte, error) {
	step.Note(ctx, "CNI plugin "+filepath.Base(path)+": "+verb(env))
	defer step.Note(ctx, "")
	var stdout, stderr capped
	c := exec.CommandContext(ctx, path)
	c.Env, c.Stdin, c.Stdout, c.Stderr = env, bytes.NewReader(stdin), &stdout, &stderr
	c.ExtraFiles = inherited(ctx)
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var end *time.Timer
	c.Cancel = func() error {
		end = time.AfterFunc(grace, func() { _ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL) })
		return nil
	}
	c.WaitDelay = grace + time.Second
	err := runBusy(ctx, c)
	if end != nil {
		end.Stop() // before the number is another's
	}
	if err == nil || errors.Is(err, exec.ErrWaitDelay) {
		return stdout.b.Bytes(), nil
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	} else {
		err = complaint(err, stdout.b.Bytes(), stderr.b.String())
	}
	return nil, &PluginError{Plugin: filepath.Base(path), Verb: verb(env), Err: err}
}

// runBusy runs c and tries again while its file is being written: plugins
// are replaced under a running node.
func runBusy(ctx context.Context, c *exec.Cmd) error {
	for i := 0; ; i++ {
		again := *c
		err := c.Start()
		if err == nil {
			return c.Wait()
		}
		if !errors.Is(err, syscall.ETXTBSY) || i == 5 {
			return err
		}
		*c = again
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// complaint makes one error of what a plugin printed: an error object on
// stdout by the specification, or anything on stderr.
func complaint(err error, stdout []byte, stderr string) error {
	var e types.Error
	if json.Unmarshal(stdout, &e) == nil && e.Msg != "" {
		if e.Details != "" {
			return fmt.Errorf("%s: %s (code %d)", e.Msg, e.Details, e.Code)
		}
		return fmt.Errorf("%s (code %d)", e.Msg, e.Code)
	}
	if s := strings.TrimSpace(stderr); s != "" {
		return fmt.Errorf("%w: %s", err, s)
	}
	if s := strings.TrimSpace(string(stdout)); s != "" {
		return fmt.Errorf("%w: %s", err, s)
	}
	return err
}

func verb(env []string) string {
	for _, e := range env {
		if v, ok := strings.CutPrefix(e, "CNI_COMMAND="); ok {
			return v
		}
	}
	return "run"
}

// capped keeps the first maxOutput bytes and discards the rest.
type capped struct{ b bytes.Buffer }

// Write implements io.Writer.
func (c *capped) Write(p []byte) (int, error) {
	if room := maxOutput - c.b.Len(); room > 0 {
		c.b.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

var _ io.Writer = (*capped)(nil)
