package streaming

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/cri-streaming/pkg/streaming/portforward"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	"k8s.io/klog/v2"
	"k8s.io/utils/exec"

	"github.com/varve-cri/varve/cri/fault"
	"github.com/varve-cri/varve/cri/session"
)

// Runtime is what streams are joined to. The context of a call ends when its
// client goes.
type Runtime interface {
	// StreamExec runs the command. An exit code other than 0 is an
	// exec.CodeExitError.
	StreamExec(ctx context.Context, req *runtimeapi.ExecRequest, s session.Streams) error
	// StreamAttach joins the container's own streams until it exits.
	StreamAttach(ctx context.Context, req *runtimeapi.AttachRequest, s session.Streams) error
	// StreamPort joins one connection to a port of the pod.
	StreamPort(ctx context.Context, pod string, port int32, stream io.ReadWriteCloser) error
}

// wanted are the streams that a request asks for.
type wanted interface {
	GetStdin() bool
	GetStdout() bool
	GetStderr() bool
	GetTty() bool
}

// check holds the rules of ExecRequest and AttachRequest in the CRI.
func check(r wanted) error {
	switch {
	case r.GetTty() && r.GetStderr():
		return &fault.InvalidError{Field: "stderr", Problem: "is not there with tty: a terminal has one output"}
	case !r.GetStdin() && !r.GetStdout() && !r.GetStderr():
		return &fault.InvalidError{Field: "stdin, stdout, stderr", Problem: "none is asked for"}
	}
	return nil
}

// Exec returns the URL at which a client gets the command's streams. Whether
// the container runs is for the caller to see to.
func (s *Server) Exec(req *runtimeapi.ExecRequest) (*runtimeapi.ExecResponse, error) {
	run := func(ctx context.Context, st session.Streams) error { return s.runtime.StreamExec(ctx, req, st) }
	url, err := s.offer("exec", req, run)
	if err != nil {
		return nil, err
	}
	return &runtimeapi.ExecResponse{Url: url}, nil
}

// Attach returns the URL at which a client gets the container's streams.
func (s *Server) Attach(req *runtimeapi.AttachRequest) (*runtimeapi.AttachResponse, error) {
	run := func(ctx context.Context, st session.Streams) error { return s.runtime.StreamAttach(ctx, req, st) }
	url, err := s.offer("attach", req, run)
	if err != nil {
		return nil, err
	}
	return &runtimeapi.AttachResponse{Url: url}, nil
}

// PortForward returns the URL at which a client gets connections to the pod.
func (s *Server) PortForward(req *runtimeapi.PortForwardRequest) (*runtimeapi.PortForwardResponse, error) {
	for _, port := range req.GetPort() {
		if port < 1 || port > 65535 {
			return nil, &fault.InvalidError{Field: "port", Problem: "is not between 1 and 65535"}
		}
	}
	token, err := s.tickets.issue("portforward", tokenLife, func(w http.ResponseWriter, r *http.Request) {
		s.servePorts(w, r, req)
	})
	if err != nil {
		return nil, err
	}
	return &runtimeapi.PortForwardResponse{Url: s.url("portforward", token)}, nil
}

// run is one session.
type run func(context.Context, session.Streams) error

// offer makes the URL of an exec or attach.
func (s *Server) offer(kind string, req wanted, do run) (string, error) {
	if err := check(req); err != nil {
		return "", err
	}
	o := &remotecommand.Options{Stdin: req.GetStdin(), Stdout: req.GetStdout(), Stderr: req.GetStderr(), TTY: req.GetTty()}
	token, err := s.tickets.issue(kind, tokenLife, func(w http.ResponseWriter, r *http.Request) {
		if do := mannered(do, kind); isVersion5(r) {
			s.serveVersion5(w, r, o, do)
		} else {
			s.serveCommand(w, r, kind, command{o, do})
		}
	})
	if err != nil {
		return "", err
	}
	return s.url(kind, token), nil
}

// mannered ends a session that failed so that a client which does not read
// cannot hold us up with our last words to it.
func mannered(do run, kind string) run {
	return func(ctx context.Context, st session.Streams) error {
		err := do(ctx, st)
		var exit exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			klog.V(2).InfoS("Stream ended", "kind", kind, "err", err)
			if c := connOf(ctx); c != nil {
				c.hurry()
			}
		}
		return err
	}
}

// serveCommand speaks the older protocols.
func (s *Server) serveCommand(w http.ResponseWriter, r *http.Request, kind string, c command) {
	idle, creation, protocols := s.cfg.IdleTimeout, s.cfg.CreationTimeout, remotecommand.SupportedStreamingProtocols
	if kind == "attach" {
		remotecommand.ServeAttach(w, r, c, "", "", "", c.o, idle, creation, protocols)
		return
	}
	remotecommand.ServeExec(w, r, c, "", "", "", nil, c.o, idle, creation, protocols)
}

// command is a session as cri-streaming calls it. The parameters of its methods
// are the interfaces'; the names of pod and container are in the session.
type command struct {
	o  *remotecommand.Options
	do run
}

// ExecInContainer runs an exec.
func (c command) ExecInContainer(ctx context.Context, _, _, _ string, _ []string, in io.Reader, out, err io.WriteCloser, _ bool,
	resize <-chan remotecommand.TerminalSize, _ time.Duration,
) error {
	return c.do(ctx, asked(c.o, in, [2]io.Writer{out, err}, resize))
}

// AttachContainer runs an attach.
func (c command) AttachContainer(ctx context.Context, _, _, _ string, in io.Reader, out, err io.WriteCloser, _ bool,
	resize <-chan remotecommand.TerminalSize,
) error {
	return c.do(ctx, asked(c.o, in, [2]io.Writer{out, err}, resize))
}

// asked leaves out what was not asked for: WebSockets have all channels always.
func asked(o *remotecommand.Options, in io.Reader, outs [2]io.Writer, resize <-chan remotecommand.TerminalSize) session.Streams {
	st := session.Streams{TTY: o.TTY}
	if o.Stdin {
		st.In = in
	}
	if o.Stdout {
		st.Out = outs[0]
	}
	if o.Stderr {
		st.Err = outs[1]
	}
	if o.TTY {
		st.Resize = resize
	}
	return st
}

// servePorts serves connections to the pod's ports.
func (s *Server) servePorts(w http.ResponseWriter, r *http.Request, req *runtimeapi.PortForwardRequest) {
	if isTunnel(r) {
		s.serveTunnel(w, r, req)
		return
	}
	s.forward(w, r, req)
}

func (s *Server) forward(w http.ResponseWriter, r *http.Request, req *runtimeapi.PortForwardRequest) {
	portforward.ServePortForward(w, r, ports{s, r.Context()}, req.GetPodSandboxId(), "", &portforward.V4Options{Ports: req.GetPort()},
		s.cfg.IdleTimeout, s.cfg.CreationTimeout, portforward.SupportedProtocols)
}

// ports connects for one client. cri-streaming's own context never ends, so
// this has the request's.
type ports struct {
	s   *Server
	ctx context.Context //nolint:containedctx // see above
}

// PortForward joins one connection.
func (p ports) PortForward(_ context.Context, pod, _ string, port int32, stream io.ReadWriteCloser) error {
	return p.s.runtime.StreamPort(p.ctx, pod, port, stream)
}
