package server

import (
	"context"
	"fmt"
	"io"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/config"
	"github.com/varve-cri/varve/cri/portforward"
	"github.com/varve-cri/varve/cri/record"
	"github.com/varve-cri/varve/cri/session"
	"github.com/varve-cri/varve/cri/streaming"
	"github.com/varve-cri/varve/runtime/namespace"
)

// newStreams makes the server that streaming clients are sent to.
func newStreams(c config.Streaming, s *Server) (*streaming.Server, error) {
	return streaming.New(streaming.Config{
		Address: c.Address, CertFile: c.TLS.CertFile, KeyFile: c.TLS.KeyFile, ClientCAFile: c.TLS.ClientCAFile,
		IdleTimeout: c.IdleTimeout.Std(), CreationTimeout: c.CreationTimeout.Std(),
	}, joiner{s})
}

// Streams is the server of the streaming clients, to be served and closed by the caller.
func (s *Server) Streams() *streaming.Server { return s.streams }

// Exec returns a URL at which the command is run.
func (s *Server) Exec(ctx context.Context, req *runtimeapi.ExecRequest) (*runtimeapi.ExecResponse, error) {
	if err := checkCommand(req.GetCmd()); err != nil {
		return nil, err
	}
	c, _, err := s.running(ctx, req.GetContainerId(), "run a command")
	if err != nil {
		return nil, err
	}
	own := proto.CloneOf(req)
	own.ContainerId = c.id
	return s.streams.Exec(own)
}

// Attach returns a URL at which the container's own streams are.
func (s *Server) Attach(ctx context.Context, req *runtimeapi.AttachRequest) (*runtimeapi.AttachResponse, error) {
	c, _, err := s.running(ctx, req.GetContainerId(), "be attached to")
	if err != nil {
		return nil, err
	}
	cfg := c.rec.Load().Config
	switch {
	case req.GetTty() && !cfg.GetTty():
		return nil, invalid("tty", "container %s has no terminal", c.id)
	case req.GetStdin() && !cfg.GetStdin():
		return nil, invalid("stdin", "container %s has no standard input", c.id)
	}
	own := proto.CloneOf(req)
	own.ContainerId = c.id
	return s.streams.Attach(own)
}

// PortForward returns a URL at which connections to the pod are made.
func (s *Server) PortForward(_ context.Context, req *runtimeapi.PortForwardRequest) (*runtimeapi.PortForwardResponse, error) {
	p, err := s.readyPod(req.GetPodSandboxId())
	if err != nil {
		return nil, err
	}
	own := proto.CloneOf(req)
	own.PodSandboxId = p.id
	return s.streams.PortForward(own)
}

// readyPod finds a pod whose network is up.
func (s *Server) readyPod(id string) (*pod, error) {
	p, err := s.table.findPod(id)
	if err != nil {
		return nil, err
	}
	if p.rec.Load().State != record.PodReady {
		return nil, coded(codes.FailedPrecondition, "pod %s cannot forward ports: it is not ready", p.id)
	}
	return p, nil
}

// joiner joins streams with containers. What may have changed since the URL was
// given out is checked again.
type joiner struct{ s *Server }

// StreamExec runs the command.
func (j joiner) StreamExec(ctx context.Context, req *runtimeapi.ExecRequest, st session.Streams) error {
	c, client, err := j.s.running(ctx, req.GetContainerId(), "run a command")
	if err != nil {
		return err
	}
	cmd, err := j.s.command(c, client, req.GetCmd())
	if err != nil {
		return inContainer(c, err)
	}
	cmd.Process.Terminal = st.TTY
	return cmd.Stream(ctx, st)
}

// StreamAttach joins the container's own streams.
func (j joiner) StreamAttach(ctx context.Context, req *runtimeapi.AttachRequest, st session.Streams) error {
	c, client, err := j.s.running(ctx, req.GetContainerId(), "be attached to")
	if err != nil {
		return err
	}
	if err := session.Attach(ctx, client, st); err != nil {
		return fmt.Errorf("attach to container %s: %w", c.id, err)
	}
	return nil
}

// StreamPort joins one connection with a port of the pod, and ends with the pod.
func (j joiner) StreamPort(ctx context.Context, id string, port int32, stream io.ReadWriteCloser) error {
	p, err := j.s.readyPod(id)
	if err != nil {
		return err
	}
	t := portforward.Target{Port: uint16(port)}
	if p.rec.Load().Pins.Net {
		t.NetNS = namespace.Pins{Dir: j.s.records.PodDir(p.id) + "/ns"}.Net()
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-p.stopped.ch:
			cancel(fmt.Errorf("pod %s has stopped", p.id))
		case <-ctx.Done():
		}
	}()
	return t.Forward(ctx, stream)
}
