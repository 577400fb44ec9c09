package kubelet

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/util/exec"

	"github.com/varve-cri/varve/e2e/harness"
	"github.com/varve-cri/varve/e2e/node"
	"github.com/varve-cri/varve/e2e/streamclient"
)

// streams does what kubectl has the kubelet do: exec, attach and port-forward, by
// both of kubectl's protocols. The kubelet itself speaks SPDY to varve, whatever
// its own client speaks.
func (w *world) streams() {
	pod := w.podName()
	for _, via := range streamclient.All {
		w.t.Run(string(via), func(t *testing.T) {
			w.exec(t, via, pod)
			w.terminal(t, via, pod)
			w.attach(t, via, pod)
			w.forward(t, via, pod)
		})
	}
}

// podName is the only pod's, which ends in the node's name.
func (w *world) podName() string {
	var pods struct {
		Items []struct{ Metadata struct{ Name string } }
	}
	harness.Eventually(w.t, "the kubelet lists the pod", func() bool {
		return json.Unmarshal(w.get("pods"), &pods) == nil && len(pods.Items) == 1
	})
	return pods.Items[0].Metadata.Name
}

// url is one of the kubelet's; streams are letters of "ioet": input, output, error, tty.
func (w *world) url(verb, path, streams string, command ...string) string {
	q := url.Values{"command": command}
	for letter, name := range map[string]string{"i": "input", "o": "output", "e": "error", "t": "tty"} {
		if strings.Contains(streams, letter) {
			q.Set(name, "1")
		}
	}
	return fmt.Sprintf("https://127.0.0.1:%d/%s/default/%s?%s", w.port, verb, path, q.Encode())
}

func deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), node.Patience(3*time.Minute))
	t.Cleanup(cancel)
	return ctx
}

func (w *world) exec(t *testing.T, via streamclient.Transport, pod string) {
	var out, errs bytes.Buffer
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<14)
	o := remotecommand.StreamOptions{Stdin: bytes.NewReader(sent), Stdout: &out, Stderr: &errs}
	address := w.url("exec", pod+"/worker", "ioe", "/bin/probe", "stdin", "+", "err", "done", "+", "exit", "9")
	err := via.Run(deadline(t), address, o)
	var exit exec.CodeExitError
	if !errors.As(err, &exit) || exit.Code != 9 || errs.String() != "done\n" || !bytes.Equal(out.Bytes(), sent) {
		t.Errorf("exec: %v, %d bytes on stdout, stderr %q", err, out.Len(), &errs)
	}
}

// once is a window of one size.
type once struct {
	sync.Once
	ctx context.Context //nolint:containedctx // the client's
}

func (o *once) Next() (size *remotecommand.TerminalSize) {
	o.Do(func() { size = &remotecommand.TerminalSize{Width: 90, Height: 40} })
	if size == nil {
		<-o.ctx.Done()
	}
	return size
}

func (w *world) terminal(t *testing.T, via streamclient.Transport, pod string) {
	ctx, cancel := context.WithCancel(deadline(t))
	defer cancel()
	var out bytes.Buffer
	o := remotecommand.StreamOptions{Stdin: strings.NewReader("typed\n"), Stdout: &out, Tty: true, TerminalSizeQueue: &once{ctx: ctx}}
	if err := via.Run(ctx, w.url("exec", pod+"/worker", "iot", "/bin/probe", "size", "40", "90", "+", "line", "+", "tty"), o); err != nil {
		t.Errorf("exec in a terminal: %v", err)
	}
	if got := out.String(); !strings.Contains(got, "line typed\r\n") || !strings.Contains(got, "0 yes 40 90") {
		t.Errorf("the screen: %q", got)
	}
}

// screen is what a client sees.
type screen struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *screen) has(words string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Contains(s.b.String(), words)
}

func (w *world) attach(t *testing.T, via streamclient.Transport, pod string) {
	ctx, cancel := context.WithCancel(deadline(t))
	var out screen
	ended := make(chan error, 1)
	go func() {
		ended <- via.Run(ctx, w.url("attach", pod+"/web", "o"), remotecommand.StreamOptions{Stdout: &out})
	}()
	// The readiness probe asks once a second, and web tells of each request.
	harness.Eventually(t, "an attached client sees what the container says", func() bool { return out.has("request from") })
	cancel()
	<-ended
}

func (w *world) forward(t *testing.T, via streamclient.Transport, pod string) {
	ctx, cancel := context.WithCancel(deadline(t))
	defer cancel()
	local, err := via.Forward(ctx, fmt.Sprintf("https://127.0.0.1:%d/portForward/default/%s", w.port, pod), 8080)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			answer, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/", local[0]))
			if err != nil {
				t.Error(err)
				return
			}
			defer answer.Body.Close()
			if body, err := io.ReadAll(answer.Body); err != nil || string(body) != "kubelet-test-web\n" {
				t.Errorf("through the forwarded port: %q, %v", body, err)
			}
		})
	}
	all.Wait()
}
