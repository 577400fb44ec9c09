package stream

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/e2e/harness"
	"github.com/varve-cri/varve/e2e/node"
	"github.com/varve-cri/varve/e2e/streamclient"
)

func dial(t *testing.T, port int) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(node.Patience(2 * time.Minute)))
	return c.(*net.TCPConn)
}

func forward(h *harness.Test, via streamclient.Transport, pod string, port int) (int, context.CancelFunc) {
	h.T.Helper()
	ctx, cancel := context.WithCancel(h.Ctx)
	h.T.Cleanup(cancel)
	local, err := via.Forward(ctx, portURL(h, pod), port)
	h.Must(err)
	return local[0], cancel
}

// TestPortForward: many connections at once, bytes whole in both directions, and
// an answer after the client has said its last.
func TestPortForward(t *testing.T) {
	h := suite.Test(t)
	sent := make([]byte, 100<<10)
	_, _ = rand.Read(sent)
	for name, network := range map[string]harness.PodChange{"pod": harness.OwnNetwork, "host": func(*runtimeapi.PodSandboxConfig) {}} {
		for i, listen := range []string{"127.0.0.1", "[::1]"} {
			t.Run(name+[]string{"4", "6"}[i], func(t *testing.T) {
				h := h.For(t)
				pod, port := h.Pod(network), harness.FreePort(t)
				c := pod.Start(harness.Say(fmt.Sprintf("sum %s:%d", listen, port)))
				c.WaitLog("serving on")
				each(t, func(t *testing.T, via streamclient.Transport) {
					h := h.For(t)
					local, stop := forward(h, via, pod.ID, port)
					defer stop()
					var all sync.WaitGroup
					for range 40 {
						conn := dial(t, local)
						all.Go(func() {
							_, _ = conn.Write(sent)
							_ = conn.CloseWrite()
							got, err := io.ReadAll(conn)
							if want := fmt.Sprintf("%d bytes\n", len(sent)); err != nil || !bytes.HasPrefix(got, []byte(want)) || !bytes.HasSuffix(got, sent) {
								t.Errorf("got %d bytes, %v", len(got), err)
							}
						})
					}
					all.Wait()
				})
			})
		}
	}
}

// TestPortForwardErrors: what is wrong reaches the client, and one bad port does
// no harm to others.
func TestPortForwardErrors(t *testing.T) {
	h := suite.Test(t)
	each(t, func(t *testing.T, via streamclient.Transport) {
		h := h.For(t)
		pod := h.Pod(harness.OwnNetwork)
		pod.Start(harness.Say("sum 127.0.0.1:18082")).WaitLog("serving on")
		c, err := via.Dial(h.Ctx, portURL(h, pod.ID))
		h.Must(err)
		defer c.Close()
		for n, port := range []int{4711, 18082} {
			data, problem, err := c.Open(n, port)
			h.Must(err)
			_ = data.Close()
			answer, _ := io.ReadAll(data)
			said, _ := io.ReadAll(problem)
			want, refused := "0 bytes\n", ""
			if port == 4711 {
				want, refused = "", "connect to port 4711: 127.0.0.1:4711: connect: connection refused"
			}
			if string(answer) != want || !strings.Contains(string(said), refused) || refused == "" && len(said) > 0 {
				t.Errorf("port %d: answer %q, error %q", port, answer, said)
			}
		}
	})
	pod := h.Pod()
	pod.Stop()
	_, err := h.PortForward(h.Ctx, &runtimeapi.PortForwardRequest{PodSandboxId: pod.ID})
	h.WantCode(err, codes.FailedPrecondition, "not ready")
	_, err = h.PortForward(h.Ctx, &runtimeapi.PortForwardRequest{PodSandboxId: strings.Repeat("d", 64)})
	h.WantCode(err, codes.NotFound, "dddd")
	_, err = h.PortForward(h.Ctx, &runtimeapi.PortForwardRequest{PodSandboxId: h.Pod().ID, Port: []int32{80, 70000}})
	h.WantCode(err, codes.InvalidArgument, "port")
}

// TestPortForwardPodGone: a connection ends with its pod also when neither side
// says anything.
func TestPortForwardPodGone(t *testing.T) {
	h := suite.Test(t)
	each(t, func(t *testing.T, via streamclient.Transport) {
		h := h.For(t)
		pod := h.Pod(harness.OwnNetwork)
		c := pod.Start(harness.Say("sum 127.0.0.1:18083"))
		c.WaitLog("serving on")
		local, _ := forward(h, via, pod.ID, 18083)
		conn := dial(t, local)
		c.WaitLog("connection")
		pod.Stop()
		if _, err := io.ReadAll(conn); err != nil && strings.Contains(err.Error(), "timeout") {
			t.Error("the connection outlives the pod")
		}
	})
}
