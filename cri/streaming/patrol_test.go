package streaming

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"k8s.io/client-go/tools/remotecommand"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/session"
	"github.com/varve-cri/varve/e2e/streamclient"
)

// The test binary is also a client of its own, to be killed.
const clientVia, clientURL = "VARVE_TEST_CLIENT_VIA", "VARVE_TEST_CLIENT_URL"

func TestMain(m *testing.M) {
	if via := os.Getenv(clientVia); via != "" {
		o := remotecommand.StreamOptions{Stdin: &zeros{left: flood}, Stdout: io.Discard}
		if err := streamclient.Transport(via).Run(context.Background(), os.Getenv(clientURL), o); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// flood is more than all buffers on the way hold.
const flood = 64 << 20

// zeros is an input.
type zeros struct{ left int }

func (z *zeros) Read(b []byte) (int, error) {
	if z.left == 0 {
		return 0, io.EOF
	}
	n := min(len(b), z.left)
	z.left -= n
	return n, nil
}

// stuck waits until the server's one connection has input that nobody reads and
// nothing moves on it.
func stuck(t *testing.T, s *Server) {
	t.Helper()
	eventually(t, "the client has sent all that fits", func() bool {
		still := s.patrol.still()
		return len(still) == 1 && still[0].unread()
	})
}

// TestKilledClientBehindUnreadInput: the end of a client that waits behind its
// own input, in its kernel, is noticed all the same.
func TestKilledClientBehindUnreadInput(t *testing.T) {
	for _, via := range streamclient.All {
		s, f := serving(t, Config{}, untilGone)
		client := exec.CommandContext(t.Context(), "/proc/self/exe")
		url := execURL(t, s, &runtimeapi.ExecRequest{Stdin: true, Stdout: true})
		client.Env = append(os.Environ(), clientVia+"="+string(via), clientURL+"="+url)
		if err := client.Start(); err != nil {
			t.Fatal(err)
		}
		stuck(t, s)
		if err := client.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = client.Wait()
		// The idle timeout is an hour. A write to the dead client, if there is one, may be the first to find out.
		if err := f.wait(t); err == nil || errors.Is(err, errIdle) {
			t.Errorf("%s: %v", via, err)
		}
		eventually(t, "the connection is forgotten", func() bool { return s.hangups.len() == 0 })
	}
}

// TestLiveClientBehindUnreadInput: one that only waits is let wait, however
// long, and loses nothing.
func TestLiveClientBehindUnreadInput(t *testing.T) {
	for _, via := range streamclient.All {
		goOn := make(chan struct{})
		var read int64
		s, f := serving(t, Config{}, func(ctx context.Context, st session.Streams) error {
			select {
			case <-goOn:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			var err error
			read, err = io.Copy(io.Discard, st.In)
			return err
		})
		ended := make(chan error, 1)
		url := execURL(t, s, &runtimeapi.ExecRequest{Stdin: true, Stdout: true})
		go func() {
			ended <- via.Run(t.Context(), url, remotecommand.StreamOptions{Stdin: &zeros{left: flood}, Stdout: io.Discard})
		}()
		stuck(t, s)
		for range 3 {
			s.patrol.look()
		}
		close(goOn)
		if err := f.wait(t); err != nil || read != flood {
			t.Errorf("%s: %d bytes of %d, %v", via, read, flood, err)
		}
		if err := <-ended; err != nil {
			t.Errorf("%s: the client: %v", via, err)
		}
	}
}

// TestAbandoned: what the kernel says of sockets of both families, and of one
// that it does not have.
func TestAbandoned(t *testing.T) {
	d, err := openDiag()
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	for listen, dial := range map[string]string{"127.0.0.1:0": "127.0.0.1", "[::1]:0": "::1", "[::]:0": "127.0.0.1"} {
		l, err := net.Listen("tcp", listen) //nolint:noctx // a test's
		if err != nil {
			t.Fatal(err)
		}
		client, err := net.Dial("tcp", net.JoinHostPort(dial, fmt.Sprint(l.Addr().(*net.TCPAddr).Port))) //nolint:noctx // a test's
		if err != nil {
			t.Fatal(err)
		}
		server, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		for n := 1; n > 0; { // until nothing more fits
			_ = client.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
			n, _ = client.Write(make([]byte, 1<<20))
		}
		ask := func() bool {
			return d.abandoned(server.RemoteAddr().(*net.TCPAddr).AddrPort(), server.LocalAddr().(*net.TCPAddr).AddrPort())
		}
		if ask() {
			t.Errorf("%s: a client that is there is abandoned", dial)
		}
		_ = client.Close()
		if !ask() {
			t.Errorf("%s: a client that has closed its socket is not abandoned", dial)
		}
		_ = server.Close()
		eventually(t, "the socket is gone", func() bool { return !ask() })
		_ = l.Close()
	}
}
