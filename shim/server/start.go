package server

import (
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/runtime/container"
	"github.com/varve-cri/varve/runtime/plan"
	"github.com/varve-cri/varve/shim/crilog"
	"github.com/varve-cri/varve/shim/proto"
)

// serveStart starts the container. A failure undoes everything and ends the
// shim: a spare serves one start.
func (s *server) serveStart(c *conn, r *request) (proto.Body, error) {
	if s.phase != waiting {
		return nil, proto.Refuse(proto.CodeState, "container has started already")
	}
	m := &proto.Start{}
	p, mounts, err := s.accept(m, r)
	defer mounts.close()
	if err == nil {
		err = s.launch(m, p, mounts, func(started *proto.Started) { c.reply(r.Head, started) })
	}
	if err != nil {
		c.fail(r.Head, proto.Fail("start", m.ID, err))
		s.release()
	}
	return replied{}, nil
}

// detached are the mounts that come with a request.
type detached struct {
	root   *os.File // nil without one
	images []*os.File
}

func (d detached) close() {
	if d.root != nil {
		d.root.Close()
	}
	for _, f := range d.images {
		f.Close()
	}
}

// accept takes the request and its files apart.
func (s *server) accept(m *proto.Start, r *request) (*plan.Plan, detached, error) {
	var d detached
	if err := r.decode(m); err != nil {
		return nil, d, err
	}
	need := 3
	if m.NoRoot {
		need = 2
	}
	if len(r.files) < need {
		return nil, d, proto.Refuse(proto.CodeInvalid, "wrong number of files")
	}
	s.dir = r.take()
	memfd := r.take()
	defer unix.Close(memfd)
	if !m.NoRoot {
		d.root = os.NewFile(uintptr(r.take()), "root")
	}
	for len(r.files) > 0 {
		d.images = append(d.images, os.NewFile(uintptr(r.take()), "image"))
	}
	b, err := readMemfd(memfd)
	if err != nil {
		return nil, d, step("read plan", m.ID, err)
	}
	p, err := plan.Decode(b)
	if err != nil {
		return nil, d, proto.Refuse(proto.CodeInvalid, "plan: "+err.Error())
	}
	if len(d.images) != p.Images() {
		return nil, d, proto.Refuse(proto.CodeInvalid, "wrong number of files")
	}
	return p, d, nil
}

// readMemfd reads all of a memfd, wherever its offset is.
func readMemfd(fd int) ([]byte, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, err
	}
	if st.Size <= 0 || st.Size > plan.MaxEncoded {
		return nil, unix.EMSGSIZE
	}
	b := make([]byte, st.Size)
	for at := 0; at < len(b); {
		n, err := unix.Pread(fd, b[at:], int64(at))
		switch {
		case err == unix.EINTR:
		case err != nil:
			return nil, err
		case n == 0:
			return nil, unix.ENODATA
		default:
			at += n
		}
	}
	return b, nil
}

// hold makes the directory the shim's: lock, socket, log.
func (s *server) hold(m *proto.Start) error {
	if err := s.takeLock(); err != nil {
		return step("lock state directory", proto.LockFile, err)
	}
	if err := unix.Faccessat(s.dir, proto.ExitFile, unix.F_OK, 0); err != unix.ENOENT {
		if err == nil {
			err = unix.EEXIST // the directory's container has run and exited
		}
		return step("check exit record", proto.ExitFile, err)
	}
	if err := s.bind(); err != nil {
		return step("listen", proto.SocketFile, err)
	}
	log, err := crilog.Open(m.LogPath, int(m.MaxLine))
	if err != nil {
		return step("open log", m.LogPath, err)
	}
	s.log = log
	s.oom.open(m.OOMEvents)
	return nil
}

// launch makes the container. Its success is told as soon as it is one: what
// is left over is closed after that.
func (s *server) launch(m *proto.Start, p *plan.Plan, mounts detached, tell func(*proto.Started)) error {
	s.id, s.cgroup, s.ownPIDs = m.ID, p.Cgroup, newPIDs(p)
	s.mayTrace = traces(&p.Process)
	var io container.Stdio
	defer func() { closeStdio(&io) }()
	defer s.space.Close()
	_, err := s.space.Run(p, mounts.root, container.Caller{
		Images: mounts.images,
		Ready: func() (container.Stdio, error) {
			err := s.hold(m)
			if err == nil && !p.Process.Terminal {
				err = step("make pipes", "", s.makeStreams(&io, m))
			}
			return io, err
		},
		Running: func(started *container.Started) error {
			if err := s.adopt(started, m); err != nil {
				return err
			}
			s.phase, s.startedAt = running, time.Now()
			tell(&proto.Started{PID: uint32(s.init.pid), StartedAt: s.startedAt.UnixNano()})
			return nil
		},
	})
	return err
}

// adopt makes the container's first process the shim's.
func (s *server) adopt(started *container.Started, m *proto.Start) error {
	s.handle, s.init = started.PIDFD, &process{pid: started.PID, pidfd: int(started.PIDFD.Fd())}
	if err := s.poll.add(s.init.pidfd, unix.EPOLLIN, s.init); err != nil {
		return s.abandon("watch container", err)
	}
	if started.Console != nil {
		if err := s.takeConsole(started.Console, m); err != nil {
			return s.abandon("take terminal", err)
		}
	}
	return nil
}

// abandon kills a container that has started and cannot be kept.
func (s *server) abandon(name string, err error) error {
	_ = s.killAll()
	s.waitAll()
	return step(name, s.id, err)
}

func newPIDs(p *plan.Plan) bool {
	for _, n := range p.Namespaces {
		if n.Type == unix.CLONE_NEWPID && n.Path == "" {
			return true
		}
	}
	return false
}

func closeStdio(io *container.Stdio) {
	for _, f := range []*os.File{io.In, io.Out, io.Err} {
		if f != nil {
			f.Close()
		}
	}
}

// release lets everything go without a record. It leaves the lock file, as a
// lock file that is removed can be locked twice.
func (s *server) release() {
	if s.space != nil {
		s.space.Close()
	}
	if s.listen != noFile {
		_ = unix.Unlinkat(s.dir, proto.SocketFile, 0)
		s.poll.remove(s.listen)
		closeFile(&s.listen)
	}
	s.removeGroups()
	s.phase = done
}
