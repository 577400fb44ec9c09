package server

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/shim/internal/group"
	"github.com/varve-cri/varve/shim/proto"
)

// request is one request; its body is in the read buffer and must be decoded
// before anything else is read. Its files are closed after the verb unless the
// verb takes them out.
type request struct {
	proto.Head
	room  *proto.Room
	body  []byte
	files []int
}

// take hands the next file over.
func (r *request) take() int {
	if len(r.files) == 0 {
		return noFile
	}
	fd := r.files[0]
	r.files = r.files[1:]
	return fd
}

// verb carries a request out. The reply's body may be nil; a verb that has
// replied itself returns replied.
type verb func(s *server, c *conn, r *request) (proto.Body, error)

// replied is the body of a verb that has sent its own reply.
type replied struct{ proto.Body }

// verbs is indexed by proto.Verb.
var verbs = [...]verb{
	proto.VerbStart:      (*server).serveStart,
	proto.VerbState:      (*server).serveState,
	proto.VerbSignal:     (*server).serveSignal,
	proto.VerbResize:     (*server).serveResize,
	proto.VerbReopenLog:  (*server).serveReopenLog,
	proto.VerbCloseStdin: (*server).serveCloseStdin,
	proto.VerbAttach:     (*server).serveAttach,
	proto.VerbDetach:     (*server).serveDetach,
	proto.VerbExec:       (*server).serveExec,
	proto.VerbKill:       (*server).serveKill,
	proto.VerbShutdown:   (*server).serveShutdown,
	proto.VerbAbort:      (*server).serveAbort,
}

func (s *server) serve(c *conn, r *request) {
	defer func() { proto.CloseAll(r.files) }()
	if int(r.Verb) >= len(verbs) || verbs[r.Verb] == nil {
		c.fail(r.Head, proto.Refuse(proto.CodeUnsupported, "unknown verb"))
		return
	}
	if s.phase == waiting && r.Verb != proto.VerbStart && r.Verb != proto.VerbAbort {
		c.fail(r.Head, proto.Refuse(proto.CodeState, "no container yet"))
		return
	}
	body, err := verbs[r.Verb](s, c, r)
	if _, ok := body.(replied); ok {
		return
	}
	if err != nil {
		c.fail(r.Head, proto.Fail("", "", err))
		return
	}
	c.reply(r.Head, body)
}

// decode reads the body of a request.
func (r *request) decode(into proto.Body) error {
	if err := r.room.Decode(r.body, into); err != nil {
		return proto.Refuse(proto.CodeInvalid, "malformed body")
	}
	return nil
}

// step makes the failure of one step of a verb; nil stays nil.
func step(name, object string, err error) error {
	if err == nil {
		return nil
	}
	return proto.Fail(name, object, err)
}

var errExited = proto.Refuse(proto.CodeState, "container has exited")

func (s *server) serveState(*conn, *request) (proto.Body, error) {
	m := &proto.State{
		ID: s.id, ShimPID: uint32(os.Getpid()), PID: uint32(s.init.pid), StartedAt: s.startedAt.UnixNano(),
		Exited: s.phase != running, Execs: uint32(len(s.execs)),
	}
	if s.log != nil {
		m.LogErrors, m.LogLost = s.log.Errors, s.log.Lost
	}
	return m, nil
}

func (s *server) serveSignal(_ *conn, r *request) (proto.Body, error) {
	var m proto.Signal
	if err := r.decode(&m); err != nil {
		return nil, err
	}
	sig := unix.Signal(m.Number)
	switch {
	case s.phase != running:
		return nil, errExited
	case m.All:
		return nil, step("signal", "container", s.signalAll(sig))
	case m.Exec == "":
		if sig == unix.SIGKILL {
			s.oom.rebase() // what came before is not why the container ends now
		}
		return nil, step("signal", "init", unix.PidfdSendSignal(s.init.pidfd, sig, nil, 0))
	}
	e := s.findExec(m.Exec)
	if e == nil || !e.runs() {
		return nil, proto.Refuse(proto.CodeNotFound, "exec "+m.Exec+" not found")
	}
	return nil, step("signal", "exec "+m.Exec, unix.PidfdSendSignal(e.pidfd, sig, nil, 0))
}

// signalAll signals every process of the container: by its cgroup, or when it
// has none of its own the first process and the execs.
func (s *server) signalAll(sig unix.Signal) error {
	if dir := s.groupDir(); dir != "" {
		if sig == unix.SIGKILL {
			return group.Kill(dir)
		}
		_, err := group.Signal(dir, sig)
		return err
	}
	for _, e := range s.execs {
		if e.runs() {
			_ = unix.PidfdSendSignal(e.pidfd, sig, nil, 0)
		}
	}
	return unix.PidfdSendSignal(s.init.pidfd, sig, nil, 0)
}

// groupDir is the cgroup that holds all of the container.
func (s *server) groupDir() string {
	if s.cgroup.V2 != "" {
		return s.cgroup.V2
	}
	return v1Group(s.cgroup.V1)
}

func (s *server) serveResize(_ *conn, r *request) (proto.Body, error) {
	var m proto.Resize
	if err := r.decode(&m); err != nil {
		return nil, err
	}
	if s.console == noFile {
		return nil, proto.Refuse(proto.CodeInvalid, "container has no terminal")
	}
	size := &unix.Winsize{Row: m.Rows, Col: m.Cols}
	return nil, step("resize", "terminal", unix.IoctlSetWinsize(s.console, unix.TIOCSWINSZ, size))
}

func (s *server) serveReopenLog(*conn, *request) (proto.Body, error) {
	if s.log == nil {
		return nil, errExited
	}
	return nil, step("reopen log", s.log.Path(), s.log.Reopen())
}

// serveShutdown kills the container; its exit then goes the usual way.
func (s *server) serveShutdown(*conn, *request) (proto.Body, error) {
	if s.phase != running {
		return nil, nil
	}
	s.oom.rebase()
	return nil, step("kill", "container", s.killAll())
}

// serveAbort undoes a start that nobody wants any more.
func (s *server) serveAbort(*conn, *request) (proto.Body, error) {
	if s.phase == running {
		_ = s.killAll()
		s.waitAll()
	}
	s.release()
	return nil, nil
}

// killAll kills the first process as well as the group: the group may be
// shared out to hierarchies that it has not reached yet.
func (s *server) killAll() error {
	_ = s.signalAll(unix.SIGKILL)
	err := unix.PidfdSendSignal(s.init.pidfd, unix.SIGKILL, nil, 0)
	if err == unix.ESRCH {
		return nil
	}
	return err
}
