package server

import (
	"slices"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/runtime/plan"
	"github.com/varve-cri/varve/shim/internal/group"
	"github.com/varve-cri/varve/shim/proto"
)

// exec is a process that joins the container. It stays in the server's table
// until its cgroup is gone, because its owner may still want to kill what it
// left behind.
type exec struct {
	s     *server
	owner *conn
	name
	grouped bool    // it has a cgroup of its own
	by      *joiner // until it has begun
	begun   bool    // it has a process, or will never have one
	killed  bool
	exited  bool
	process // once it has begun
}

// serveExec starts a process. The reply is sent by begin.
func (s *server) serveExec(c *conn, r *request) (proto.Body, error) {
	m := &s.asked
	*m = proto.Exec{}
	if err := r.decode(m); err != nil {
		return nil, err
	}
	if err := s.admit(m); err != nil {
		return nil, err
	}
	j := s.joiner()
	j.take(r)
	err := j.decode(m)
	if err == nil {
		err = s.place.open(s)
	}
	if err != nil {
		j.release()
		return nil, err
	}
	e := s.newExec(c, m.ID)
	e.by = j
	s.starting++
	j.ask.Init, j.ask.InitPID = s.init.pidfd, s.init.pid
	s.mayTrace = s.mayTrace || traces(j.ask.Process)
	j.ask.Private = s.ownPIDs && !s.mayTrace
	if err := e.enter(&s.place, j); err != nil {
		j.err = step("make exec cgroup", e.groupDir(), err)
		e.begin()
		return replied{}, nil
	}
	j.work <- e
	return replied{}, nil
}

// newExec puts an exec into the table.
func (s *server) newExec(c *conn, id []byte) *exec {
	e := s.unused
	s.unused = nil
	if e == nil {
		e = &exec{}
	}
	*e = exec{s: s, owner: c, process: process{pidfd: noFile}}
	e.set(id)
	s.execs = append(s.execs, e)
	return e
}

// begin takes what has become of the start of an exec. The reply is on its way
// before the exit is told.
func (e *exec) begin() {
	s, j := e.s, e.by
	e.by, e.begun = nil, true
	head, joined, err := j.head, j.joined, j.err
	j.release()
	defer s.allBegun()
	if err != nil {
		e.owner.fail(head, proto.Fail("", "", err))
		e.owner, e.exited = nil, true
		e.forget()
		return
	}
	e.process = process{pid: joined.PID, pidfd: joined.PIDFD}
	e.reply(head, joined.Console)
	if e.owner == nil || e.killed {
		e.kill()
	}
	if ws, ok := s.strays[e.pid]; ok && (e.pidfd == noFile || over(e.pidfd)) {
		e.ended(ws)
	}
}

func (e *exec) reply(head proto.Head, console int) {
	s := e.s
	s.started.PID = uint32(e.pid)
	var err error
	if e.pidfd != noFile { // else its end is known already
		err = s.poll.add(e.pidfd, unix.EPOLLIN, e)
	}
	switch {
	case err != nil:
		e.owner.fail(head, proto.Fail("watch exec", e.id(), err))
		e.owner = nil
	case console == noFile:
		e.owner.reply(head, &s.started)
	default:
		e.owner.reply(head, &s.started, console)
	}
	closeFile(&console)
}

// traces says whether the process, or what it starts, may trace others.
func traces(p *plan.Process) bool { return p.Caps.Bounding&(1<<unix.CAP_SYS_PTRACE) != 0 }

// allBegun forgets, when no exec is being started, the exits that could have
// been those of one.
func (s *server) allBegun() {
	if s.starting--; s.starting == 0 {
		clear(s.strays)
	}
}

// over reports whether the process has exited.
func over(pidfd int) bool {
	fds := [1]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	n, _ := unix.Poll(fds[:], 0)
	return n > 0
}

// findExec finds an exec by its id.
func (s *server) findExec(id string) *exec {
	for _, e := range s.execs {
		if string(e.bytes()) == id {
			return e
		}
	}
	return nil
}

// admit says whether the exec may be.
func (s *server) admit(m *proto.Exec) error {
	switch {
	case s.phase != running:
		return errExited
	case !validID(m.ID):
		return proto.Refuse(proto.CodeInvalid, "exec id is not 1 to 64 letters, digits, '-' and '_'")
	case s.findExec(string(m.ID)) != nil:
		return proto.Refuse(proto.CodeInvalid, "exec id is in use")
	case len(s.execs) >= maxExecs, s.starting >= maxStarting:
		return proto.Refuse(proto.CodeInvalid, "too many execs")
	}
	return nil
}

// maxID is the length of the longest id of an exec.
const maxID = 64

func validID(id []byte) bool {
	for _, c := range id {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return len(id) > 0 && len(id) <= maxID
}

func (e *exec) runs() bool { return e.begun && !e.exited }

// kill kills all that the exec started, also after its own exit.
func (e *exec) kill() {
	e.killed = true
	if e.grouped {
		_ = group.Kill(e.groupDir())
	}
	if e.runs() {
		_ = unix.PidfdSendSignal(e.pidfd, unix.SIGKILL, nil, 0)
	}
}

func (s *server) serveKill(_ *conn, r *request) (proto.Body, error) {
	var m proto.Kill
	if err := r.decode(&m); err != nil {
		return nil, err
	}
	e := s.findExec(m.Exec)
	if e == nil {
		return nil, proto.Refuse(proto.CodeNotFound, "exec "+m.Exec+" not found")
	}
	e.kill()
	return nil, nil
}

// ended takes the exit of the exec's process.
func (e *exec) ended(ws unix.WaitStatus) {
	e.exited = true
	e.s.poll.remove(e.pidfd)
	closeFile(&e.pidfd)
	m := &e.s.over
	m.ID = e.bytes()
	m.Code, m.Signal = exitCode(ws)
	e.owner.send(proto.Head{Kind: proto.Event, Verb: proto.VerbExecExited}, m)
	e.forget()
}

// forget drops the exec when nothing of it is left.
func (e *exec) forget() {
	if !e.exited || !e.removed() {
		return
	}
	s := e.s
	s.execs = slices.DeleteFunc(s.execs, func(other *exec) bool { return other == e })
	s.unused = e
}

// removeGroups removes the groups of ended execs that are empty by now.
func (s *server) removeGroups() {
	for _, e := range slices.Clone(s.execs) {
		e.forget()
	}
}
