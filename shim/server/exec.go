package server

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/runtime/container"
	"github.com/varve-cri/varve/runtime/plan"
	"github.com/varve-cri/varve/shim/internal/group"
	"github.com/varve-cri/varve/shim/proto"
)

// exec is a process that joins the container. It stays in the server's table
// until its cgroup is gone, because its owner may still want to kill what it
// left behind.
type exec struct {
	s       *server
	id      string
	owner   *conn
	group   string // its own cgroup; empty when the container has none
	begun   bool   // it has a process, or will never have one
	killed  bool
	exited  bool
	process // once it has begun
}

// serveExec starts a process, on a thread of its own: the way into the
// container may lead to a file server that is dead, or into a cgroup that is
// frozen, and the shim has a log to write meanwhile. The reply is sent by
// begin.
func (s *server) serveExec(c *conn, r *request) (proto.Body, error) {
	var m proto.Exec
	if err := r.decode(&m); err != nil {
		return nil, err
	}
	if err := s.admit(&m); err != nil {
		return nil, err
	}
	p, io, err := execFiles(&m, r)
	defer closeStdio(&io)
	if err != nil {
		return nil, err
	}
	opt := container.ExecOptions{Stdio: io}
	e := &exec{s: s, id: m.ID, owner: c}
	if opt.CgroupV1, opt.CgroupV2, err = e.makeGroup(); err != nil {
		return nil, step("make exec cgroup", e.group, err)
	}
	s.execs[e.id] = e
	s.starting++
	init, pid, head := s.init.pidfd, s.init.pid, r.Head
	streams := io
	io = container.Stdio{} // the thread closes them
	go func() {
		started, err := container.Exec(init, pid, p, opt)
		closeStdio(&streams)
		s.later.post(func() { e.begin(head, started, err) })
	}()
	return replied{}, nil
}

// begin takes what has become of the start of an exec. The reply is on its way
// before the exit is told.
func (e *exec) begin(h proto.Head, started *container.Started, err error) {
	s := e.s
	e.begun = true
	if err != nil {
		e.exited = true
		e.forget()
		e.owner.fail(h, proto.Fail("", "", err))
		s.allBegun()
		return
	}
	e.process = process{pid: started.PID, pidfd: started.PIDFD}
	m, console := &proto.ExecStarted{PID: uint32(started.PID)}, []int(nil)
	if started.Console != nil {
		defer started.Console.Close()
		console = []int{int(started.Console.Fd())}
	}
	if err := s.poll.add(int(e.pidfd.Fd()), unix.EPOLLIN, e); err != nil {
		e.owner.fail(h, proto.Fail("watch exec", e.id, err))
		e.owner = nil
	} else {
		e.owner.reply(h, m, console...)
	}
	if e.owner == nil || e.killed {
		e.kill()
	}
	if ws, ok := s.strays[e.pid]; ok && over(e.pidfd) {
		e.ended(ws)
	}
	s.allBegun()
}

// allBegun forgets, when no exec is being started, the exits that could have
// been those of one.
func (s *server) allBegun() {
	if s.starting--; s.starting == 0 {
		clear(s.strays)
	}
}

// over reports whether the process has exited.
func over(pidfd *os.File) bool {
	fds := []unix.PollFd{{Fd: int32(pidfd.Fd()), Events: unix.POLLIN}}
	n, _ := unix.Poll(fds, 0)
	return n > 0
}

// admit says whether the exec may be.
func (s *server) admit(m *proto.Exec) error {
	switch {
	case s.phase != running:
		return errExited
	case !validID(m.ID):
		return proto.Refuse(proto.CodeInvalid, "exec id is not 1 to 64 letters, digits, '-' and '_'")
	case s.execs[m.ID] != nil:
		return proto.Refuse(proto.CodeInvalid, "exec id is in use")
	case len(s.execs) >= maxExecs, s.starting >= maxStarting:
		return proto.Refuse(proto.CodeInvalid, "too many execs")
	}
	return nil
}

func validID(id string) bool {
	const chars = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
	return id != "" && len(id) <= 64 && strings.Trim(id, chars) == ""
}

// execFiles takes the request's files and the process out.
func execFiles(m *proto.Exec, r *request) (*plan.Process, container.Stdio, error) {
	var io container.Stdio
	want := 0
	for _, w := range []bool{m.In, m.Out, m.Err, len(m.Process) == 0} {
		if w {
			want++
		}
	}
	if want != len(r.files) {
		return nil, io, proto.Refuse(proto.CodeInvalid, "wrong number of files")
	}
	for _, f := range []struct {
		want bool
		into **os.File
	}{{m.In, &io.In}, {m.Out, &io.Out}, {m.Err, &io.Err}} {
		if f.want {
			*f.into = inherited(r.take())
		}
	}
	b := m.Process
	if len(b) == 0 {
		var err error
		if b, err = readMemfd(r.files[0]); err != nil {
			return nil, io, step("read process", m.ID, err)
		}
	}
	p, err := plan.DecodeProcess(b)
	if err != nil {
		return nil, io, proto.Refuse(proto.CodeInvalid, "process: "+err.Error())
	}
	return p, io, nil
}

// makeGroup makes the exec's own cgroup, so that all that it starts can be
// killed: in the v2 hierarchy if the container is in one, else in one of v1.
func (e *exec) makeGroup() (v1 []string, v2 string, err error) {
	c := &e.s.cgroup
	parent := e.s.groupDir()
	if parent == "" {
		return c.V1, "", nil
	}
	e.group = parent + "/exec-" + e.id
	if err := group.Make(e.group); err != nil {
		return nil, "", err
	}
	if c.V2 != "" {
		return c.V1, e.group, nil
	}
	for _, dir := range c.V1 {
		if dir == parent {
			dir = e.group
		}
		v1 = append(v1, dir)
	}
	return v1, "", nil
}

// v1Group picks the hierarchy of v1 in which execs have groups of their own:
// one that neither accounts nor limits what a child group would take away.
func v1Group(dirs []string) string {
	for _, name := range []string{"/freezer/", "/pids/"} {
		for _, dir := range dirs {
			if strings.Contains(dir, name) {
				return dir
			}
		}
	}
	if len(dirs) > 0 {
		return dirs[0]
	}
	return ""
}

func (e *exec) runs() bool { return e.begun && !e.exited }

// kill kills all that the exec started, also after its own exit.
func (e *exec) kill() {
	e.killed = true
	if e.group != "" {
		_ = group.Kill(e.group)
	}
	if e.runs() {
		_ = unix.PidfdSendSignal(int(e.pidfd.Fd()), unix.SIGKILL, nil, 0)
	}
}

func (s *server) serveKill(_ *conn, r *request) (proto.Body, error) {
	var m proto.Kill
	if err := r.decode(&m); err != nil {
		return nil, err
	}
	e := s.execs[m.Exec]
	if e == nil {
		return nil, proto.Refuse(proto.CodeNotFound, "exec "+m.Exec+" not found")
	}
	e.kill()
	return nil, nil
}

// ended takes the exit of the exec's process.
func (e *exec) ended(ws unix.WaitStatus) {
	e.exited = true
	e.s.poll.remove(int(e.pidfd.Fd()))
	e.pidfd.Close()
	m := &proto.ExecExited{ID: e.id}
	m.Code, m.Signal = exitCode(ws)
	e.owner.send(proto.Head{Kind: proto.Event, Verb: proto.VerbExecExited}, m)
	e.forget()
}

// forget drops the exec when nothing of it is left.
func (e *exec) forget() {
	if e.exited && (e.group == "" || group.Remove(e.group) == nil) {
		delete(e.s.execs, e.id)
	}
}

// leave removes a group now or later.
func (s *server) leave(dir string) {
	if dir != "" && group.Remove(dir) != nil {
		s.leftGroups = append(s.leftGroups, dir)
	}
}

// removeGroups removes the groups of ended execs that are empty by now.
func (s *server) removeGroups() {
	for _, e := range s.execs {
		e.forget()
	}
	left := s.leftGroups[:0]
	for _, dir := range s.leftGroups {
		if group.Remove(dir) != nil {
			left = append(left, dir)
		}
	}
	s.leftGroups = left
}

// inherited makes a received file fit to be a standard stream: programs expect
// one that blocks, and Go's pipes do not.
func inherited(fd int) *os.File {
	_ = unix.SetNonblock(fd, false)
	return os.NewFile(uintptr(fd), "stdio")
}
