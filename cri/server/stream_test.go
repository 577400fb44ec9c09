package server

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/tools/remotecommand"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/config"
	"github.com/varve-cri/varve/e2e/criclient"
	"github.com/varve-cri/varve/e2e/streamclient"
)

// streamClient makes this test program be fifty clients that wait to be killed.
const streamClient = "VARVE_TEST_STREAM_CLIENT"

// runStreamClients is that program: kind, socket, pod, container and port.
func runStreamClients(args []string) error {
	s := &streams{pod: args[2], id: args[3], asked: new(atomic.Int32)}
	var err error
	if s.listening, err = strconv.Atoi(args[4]); err != nil {
		return err
	}
	if s.Client, err = criclient.Dial(args[1]); err != nil {
		return err
	}
	failed := make(chan error, 50)
	for i := range cap(failed) {
		own := *s
		own.via = streamclient.All[i%2]
		go func() {
			if err := abandoned[args[0]](context.Background(), &own); err != nil {
				failed <- err
			}
		}()
	}
	for s.asked.Load() < int32(cap(failed)) && len(failed) == 0 {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(500 * time.Millisecond) // most have their streams by then
	if len(failed) == 0 {
		fmt.Println("begun")
	}
	return <-failed
}

// abandoned are clients that go away in the middle, by what they had asked for.
var abandoned = map[string]func(ctx context.Context, s *streams) error{
	"exec":             func(ctx context.Context, s *streams) error { return s.exec(ctx, false, "spawn", "sleep", "+", "sleep") },
	"exec that talks":  func(ctx context.Context, s *streams) error { return s.exec(ctx, false, "bytes", "1000000000000") },
	"exec, terminal":   func(ctx context.Context, s *streams) error { return s.exec(ctx, true, "sleep") },
	"terminal, failed": func(ctx context.Context, s *streams) error { return s.exec(ctx, true, "") }, // CVE-2022-23471
	"attach":           func(ctx context.Context, s *streams) error { return s.attach(ctx) },         // CVE-2025-64329
	"port":             func(ctx context.Context, s *streams) error { return s.ports(ctx, s.listening) },
	"port, refused":    func(ctx context.Context, s *streams) error { return s.ports(ctx, 1) },
	"token":            func(ctx context.Context, s *streams) error { return s.tokens(ctx) },
}

// streams is a client's view of a pod and a container.
type streams struct {
	*criclient.Client
	pod, id   string
	listening int // a port of a server that accepts and says nothing
	via       streamclient.Transport
	asked     *atomic.Int32 // how many have their URLs
}

func (s *streams) exec(ctx context.Context, tty bool, words ...string) error {
	req := &runtimeapi.ExecRequest{ContainerId: s.id, Cmd: append([]string{"/bin/probe"}, words...), Tty: tty, Stdin: true, Stdout: true, Stderr: !tty}
	if words[0] == "" {
		req.Cmd = []string{"/no/such/program"}
	}
	answer, err := s.Exec(ctx, req)
	if err != nil {
		return err
	}
	s.asked.Add(1)
	in, typed := io.Pipe()
	defer typed.Close()
	o := remotecommand.StreamOptions{Stdin: in, Stdout: io.Discard, Tty: tty}
	if tty {
		o.TerminalSizeQueue = &window{ctx: ctx}
	} else {
		o.Stderr = io.Discard
	}
	_ = s.via.Run(ctx, answer.GetUrl(), o)
	return nil
}

// window is changed all the time.
type window struct {
	ctx context.Context //nolint:containedctx // the client's
	n   uint16
}

func (w *window) Next() *remotecommand.TerminalSize {
	select {
	case <-time.After(time.Millisecond):
	case <-w.ctx.Done():
		return nil
	}
	w.n++
	return &remotecommand.TerminalSize{Width: 80 + w.n%20, Height: 24}
}

func (s *streams) attach(ctx context.Context) error {
	answer, err := s.Attach(ctx, &runtimeapi.AttachRequest{ContainerId: s.id, Stdin: true, Stdout: true, Stderr: true})
	if err != nil {
		return err
	}
	s.asked.Add(1)
	in, typed := io.Pipe()
	defer typed.Close()
	_ = s.via.Run(ctx, answer.GetUrl(), remotecommand.StreamOptions{Stdin: in, Stdout: io.Discard, Stderr: io.Discard})
	return nil
}

func (s *streams) ports(ctx context.Context, port int) error {
	answer, err := s.PortForward(ctx, &runtimeapi.PortForwardRequest{PodSandboxId: s.pod})
	if err != nil {
		return err
	}
	s.asked.Add(1)
	c, err := s.via.Dial(ctx, answer.GetUrl())
	if err != nil {
		return nil //nolint:nilerr // it was cancelled meanwhile
	}
	for n := range 3 {
		if data, _, err := c.Open(n, port); err == nil {
			go func() { _, _ = io.Copy(io.Discard, data) }()
		}
	}
	<-ctx.Done()
	return nil
}

func (s *streams) tokens(ctx context.Context) error {
	_, err := s.Exec(ctx, &runtimeapi.ExecRequest{ContainerId: s.id, Cmd: []string{"/bin/probe", "sleep"}, Stdout: true})
	s.asked.Add(1)
	return err
}

// burden is what this process holds.
type burden struct{ goroutines, files, children int }

func (b burden) more(than burden) bool {
	return b.goroutines > than.goroutines || b.files > than.files || b.children > than.children
}

func carried(n *node) burden {
	files, _ := os.ReadDir("/proc/self/fd")
	procs := 0
	groups, _ := filepath.Glob("/sys/fs/cgroup/*" + n.cfg.Cgroup.Parent + "/*/*/*")
	for _, g := range groups {
		if st, err := os.Stat(g); err == nil && st.IsDir() {
			procs++ // an exec's group
		}
	}
	return burden{runtime.NumGoroutine(), len(files), procs}
}

// visit has clients come, fifty in a process, and kills them in the middle.
func (n *node) visit(t *testing.T, processes int, args ...string) {
	t.Helper()
	for range processes {
		cmd := exec.Command("/proc/self/exe", args...)
		cmd.Env = append(os.Environ(), streamClient+"=1")
		var said strings.Builder
		cmd.Stderr = &said
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		line, _ := bufio.NewReader(out).ReadString('\n')
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if line != "begun\n" {
			t.Errorf("clients: %s", said.String())
		}
	}
}

// TestAbandonedStreams: three hundred clients of each kind, fifty at a time,
// vanish without a word. Nothing of them is left: no goroutine, no descriptor, no
// process and no group of an exec, and the container is as it was.
func TestAbandonedStreams(t *testing.T) {
	n := newNode(t)
	n.cfg.Streaming.CreationTimeout = config.Duration(5 * time.Second)
	n.crash()
	n.restart()
	n.pull()
	l, err := net.Listen("tcp", "127.0.0.1:0") // never accepts
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	pc := podConfig(t)
	pod := n.pod(pc)
	cc := containerConfig(pc, "main", "sleep")
	cc.Stdin = true
	id := n.run(pod, pc, cc)
	args := func(name string) []string {
		return []string{name, filepath.Join(n.cfg.StateDir, "test.sock"), pod, id, strconv.Itoa(l.Addr().(*net.TCPAddr).Port)}
	}
	for name := range abandoned { // what is made once and stays is made now
		n.visit(t, 1, args(name)...)
	}
	before := n.settled(burden{})
	before.goroutines++ // that of a test in a test
	for name := range abandoned {
		t.Run(name, func(t *testing.T) {
			n.visit(t, 6, args(name)...)
			if after := n.settled(before); after.more(before) {
				var stacks strings.Builder
				_ = pprof.Lookup("goroutine").WriteTo(&stacks, 1)
				t.Errorf("before %+v, after %+v\n%s", before, after, stacks.String())
			}
			n.alone(id)
		})
	}
}

// settled waits until no more is carried than was before; without a before, until
// nothing changes any more, for longer than the creation timeout: so long is a
// client waited for that vanished before it had opened its streams.
func (n *node) settled(before burden) burden {
	now, since := carried(n), time.Now()
	for end := time.Now().Add(2 * patience); time.Now().Before(end) && now.more(before); time.Sleep(20 * time.Millisecond) {
		next := carried(n)
		if next != now {
			now, since = next, time.Now()
		}
		if before == (burden{}) && time.Since(since) > n.cfg.Streaming.CreationTimeout.Std()+time.Second {
			break
		}
	}
	return now
}
