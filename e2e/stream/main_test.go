package stream

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/util/exec"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/e2e/harness"
	"github.com/varve-cri/varve/e2e/node"
	"github.com/varve-cri/varve/e2e/streamclient"
)

var suite *harness.Suite

// each runs a test over both transports.
func each(t *testing.T, test func(t *testing.T, via streamclient.Transport)) {
	for _, via := range streamclient.All {
		t.Run(string(via), func(t *testing.T) { test(t, via) })
	}
}

// words are a command of the probe.
func words(line string) []string { return append([]string{"/bin/probe"}, strings.Fields(line)...) }

// execURL asks for a command's streams: those that o has.
func execURL(h *harness.Test, id, line string, o remotecommand.StreamOptions) string {
	h.T.Helper()
	answer, err := h.Exec(h.Ctx, &runtimeapi.ExecRequest{
		ContainerId: id, Cmd: words(line), Tty: o.Tty, Stdin: o.Stdin != nil, Stdout: o.Stdout != nil, Stderr: o.Stderr != nil,
	})
	h.Must(err)
	return answer.GetUrl()
}

func attachURL(h *harness.Test, id string, o remotecommand.StreamOptions) string {
	h.T.Helper()
	answer, err := h.Attach(h.Ctx, &runtimeapi.AttachRequest{
		ContainerId: id, Tty: o.Tty, Stdin: o.Stdin != nil, Stdout: o.Stdout != nil, Stderr: o.Stderr != nil,
	})
	h.Must(err)
	return answer.GetUrl()
}

func portURL(h *harness.Test, id string) string {
	h.T.Helper()
	answer, err := h.PortForward(h.Ctx, &runtimeapi.PortForwardRequest{PodSandboxId: id})
	h.Must(err)
	return answer.GetUrl()
}

// code is the exit code in a client's error; -1 when there is none.
func code(err error) int {
	if err == nil {
		return 0
	}
	var exit exec.CodeExitError
	if errors.As(err, &exit) {
		return exit.Code
	}
	return -1
}

// screen collects what a client is shown.
type screen struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(b)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.String()
}

// wait waits until the screen holds the words.
func (s *screen) wait(t *testing.T, words string) {
	t.Helper()
	harness.Eventually(t, "the client sees "+words, func() bool { return strings.Contains(s.String(), words) })
}

// sizes is a window that changes.
type sizes chan remotecommand.TerminalSize

func (s sizes) Next() *remotecommand.TerminalSize {
	size, ok := <-s
	if !ok {
		return nil
	}
	return &size
}

// running is a client at work.
type running struct {
	t      *testing.T
	cancel context.CancelFunc
	ended  chan error
}

func start(h *harness.Test, via streamclient.Transport, url string, o remotecommand.StreamOptions) *running {
	ctx, cancel := context.WithCancel(h.Ctx)
	r := &running{h.T, cancel, make(chan error, 1)}
	go func() { r.ended <- via.Run(ctx, url, o) }()
	h.T.Cleanup(cancel)
	return r
}

// wait waits for the client's end.
func (r *running) wait() error {
	r.t.Helper()
	select {
	case err := <-r.ended:
		return err
	case <-time.After(node.Patience(2 * time.Minute)):
		r.t.Fatal("the client does not end")
		return nil
	}
}

// alone waits until the container has but its own process, and the one that looks.
func alone(h *harness.Test, c *harness.Container) {
	h.T.Helper()
	var seen string
	harness.Eventually(h.T, "only the container's process is left", func() bool {
		seen = c.Exec("pids")
		living := 0
		for line := range strings.Lines(seen) {
			if len(strings.Fields(line)) > 1 {
				living++
			}
		}
		return living == 2
	})
}
