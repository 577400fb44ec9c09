package image

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/varve-cri/varve/e2e/harness"
	"github.com/varve-cri/varve/e2e/pty"
	"github.com/varve-cri/varve/e2e/testimage"
	"github.com/varve-cri/varve/e2e/testregistry"
)

// varve is the operator's program that was built with the daemon.
func varve(h *harness.Test, args ...string) *exec.Cmd {
	h.T.Helper()
	daemon, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", h.Node.PID()))
	h.Must(err)
	cmd := exec.CommandContext(h.Ctx, filepath.Join(filepath.Dir(daemon), "varve"), args...)
	// The credentials of whoever runs the tests are none of its business.
	cmd.Env = append(os.Environ(), "VARVE_SOCKET="+h.Node.AdminSocket(), "DOCKER_CONFIG="+h.T.TempDir(), "TERM=xterm")
	return cmd
}

// said runs the program and gives what it wrote and its exit code.
func said(cmd *exec.Cmd) (out, err string, code int) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	_ = cmd.Run()
	return stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()
}

func TestVarve(t *testing.T) {
	h := suite.Test(t)
	image, err := testimage.Build(testimage.Spec{Config: v1.Config{}, Layers: [][]testimage.File{
		{testimage.Dir("etc"), {Name: "etc/one", Body: t.Name()}}, {{Name: "etc/two", Body: t.Name()}},
	}})
	h.Must(err)
	h.Must(h.Registry.Push("varve/app:1", image))
	const ref = "registry.test/varve/app:1"
	config, err := image.ConfigName()
	h.Must(err)
	id := config.String()
	t.Cleanup(func() { remove(h, ref) })

	out, errs, code := said(varve(h, "pull", ref))
	if code != 0 || out != id+"\n" || !strings.Contains(errs, "layer 2 of 2") || !strings.Contains(errs, ref+": done, 2 layers") || strings.Contains(errs, "\x1b") {
		t.Errorf("pull: %d, %q, %q", code, out, errs)
	}
	if out, errs, code = said(varve(h, "pull", "-q", ref)); code != 0 || out != id+"\n" || errs != "" {
		t.Errorf("quiet pull: %d, %q, %q", code, out, errs)
	}
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{"images"}, []string{ref, config.Hex[:12], "UNIQUE"}},
		{[]string{"images", "--json"}, []string{`"id": "` + id + `"`}},
		{[]string{"layers", ref}, []string{"o ", "\n| ", "2 layers"}},
		{[]string{"history", ref}, []string{"LAYER"}},
		{[]string{"store"}, []string{"orphans         0\n", "damaged layers  0\n", "layer format"}},
		{[]string{"pulls"}, []string{ref, "is up to date"}},
		{[]string{"pull", "--json", ref}, []string{`"stage":"done"`}},
		{[]string{"operations"}, []string{"nothing runs"}},
		{[]string{"version"}, []string{"varve  ", "varved "}},
		{[]string{"--help"}, []string{"Exit codes", "varve pull"}},
	} {
		out, errs, code := said(varve(h, c.args...))
		for _, w := range c.want {
			if code != 0 || !strings.Contains(out, w) {
				t.Errorf("%v: %d, %q, %q, want %q", c.args, code, out, errs, w)
			}
		}
	}
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"pull", "registry.test/varve/none:1"}, 1, "pull registry.test/varve/none:1: fetch manifest 1"},
		{[]string{"history", "nobody"}, 1, "not found"},
		{[]string{"pull"}, 2, "which image"},
		{[]string{"pull", "NO SUCH"}, 2, "reference"},
		{[]string{"pull", "--plattform=x", "a"}, 2, "plattform"},
		{[]string{"nothing"}, 2, "nothing"},
		{[]string{"--socket", "/nowhere/admin.sock", "images"}, 3, "systemctl start varved"},
	} {
		out, errs, code := said(varve(h, c.args...))
		if code != c.code || out != "" || !strings.Contains(errs, c.want) || strings.Contains(errs, "failed to") {
			t.Errorf("%v: %d, %q, %q, want %d and %q", c.args, code, out, errs, c.code, c.want)
		}
	}
}

// Whoever watches sees the pulls of all others, the kubelet's too.
func TestVarveWatchesPulls(t *testing.T) {
	h := suite.Test(t)
	h.Must(h.Registry.Push("varve/watched:1", tiny(t, v1.Config{})))
	const ref = "registry.test/varve/watched:1"
	outside, inside := pty.Open(t, 100, 24)
	onTerminal, toPipe := varve(h, "pulls", "--watch"), varve(h, "pulls", "--watch", "--json")
	var shown, piped screen
	onTerminal.Stdout, toPipe.Stdout = inside, &piped
	h.Must(errors.Join(onTerminal.Start(), toPipe.Start(), inside.Close()))
	read := shown.follow(outside)
	// A watcher tells of what begins once it watches, and nobody knows when that is.
	const early = "registry.test/probe:1"
	harness.Eventually(t, "both watch", func() bool {
		h.Must(h.Pull(h.Ctx, early))
		time.Sleep(50 * time.Millisecond)
		return shown.has(early) && piped.has(early)
	})
	h.Must(h.Pull(h.Ctx, ref))
	remove(h, ref)
	harness.Eventually(t, "both tell the end", func() bool {
		return shown.has(ref+": done, 1 layer") && slices.ContainsFunc(strings.Split(piped.String(), "\n"), func(line string) bool {
			return strings.Contains(line, `"stage":"done"`) && strings.Contains(line, ref)
		})
	})
	for _, cmd := range []*exec.Cmd{onTerminal, toPipe} {
		h.Must(cmd.Process.Signal(os.Interrupt))
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v: %v", cmd.Args, err)
		}
	}
	<-read
}

// screen collects what a program writes while it runs.
type screen struct {
	mu  sync.Mutex
	buf bytes.Buffer // guarded by mu
}

// Write implements io.Writer.
func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(b)
}

// String is all that was written so far.
func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.String()
}

func (s *screen) has(words string) bool { return strings.Contains(s.String(), words) }

// follow collects what comes to a terminal, until its last program closes it.
func (s *screen) follow(outside io.Reader) (ended <-chan struct{}) {
	over := make(chan struct{})
	go func() {
		defer close(over)
		_, _ = io.Copy(s, outside) // a terminal's end is an error
	}()
	return over
}

// On a terminal there are bars, and Ctrl-C ends the pull.
func TestVarvePullOnATerminal(t *testing.T) {
	h := suite.Test(t)
	h.Registry.Fault("varve/slow", testregistry.Fault{Blobs: testregistry.BlobStalled})
	h.Must(h.Registry.Push("varve/slow:1", tiny(t, v1.Config{})))
	const ref = "registry.test/varve/slow:1"
	outside, inside := pty.Open(t, 100, 24)
	cmd := varve(h, "pull", ref)
	cmd.Stdin, cmd.Stderr = inside, inside
	h.Must(cmd.Start())
	h.Must(inside.Close())
	var shown screen
	read := shown.follow(outside)
	pulls := func(words string) func() bool {
		return func() bool {
			out, _, _ := said(varve(h, "pulls"))
			lines := strings.Split(strings.TrimSpace(out), "\n")
			return strings.Contains(lines[len(lines)-1], ref) && strings.Contains(lines[len(lines)-1], words)
		}
	}
	harness.Eventually(t, "the pull runs", pulls("0 of 1 layer"))
	harness.Eventually(t, "the bars are drawn, and drawn again", func() bool { return shown.has("fetching") && shown.has("\x1b[1A") })
	h.Must(cmd.Process.Signal(os.Interrupt))
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 130 {
		t.Errorf("interrupted: %v", err)
	}
	<-read
	text := shown.String()
	for _, want := range []string{"0 of 1 layer", "] ", "fetching", "\x1b[K\r\n", "\x1b[1A", "varve: pull " + ref + ": interrupted\r\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("the terminal lacks %q: %q", want, text)
		}
	}
	// No mode was changed and no cursor hidden.
	if strings.Contains(text, "\x1b[?") {
		t.Errorf("the terminal was changed: %q", text)
	}
	harness.Eventually(t, "the pull has ended", pulls("canceled"))
}
