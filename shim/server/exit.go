package server

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/shim/internal/group"
	"github.com/varve-cri/varve/shim/proto"
)

// reap takes every child that has exited: the first process, execs, and
// orphans that the kernel handed to the shim.
func (s *server) reap() {
	for s.phase == running || s.phase == draining {
		var ws unix.WaitStatus
		pid, err := unix.Wait4(-1, &ws, unix.WNOHANG|unix.WALL, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		s.reaped(pid, ws)
	}
}

func (s *server) reaped(pid int, ws unix.WaitStatus) {
	if pid == s.init.pid && s.phase == running {
		s.ended(ws)
		return
	}
	for _, e := range s.execs {
		if e.pid == pid && !e.exited {
			e.ended(ws)
			return
		}
	}
	if s.starting > 0 {
		s.strays[pid] = ws
	}
}

// exitCode is the shells' view of how a process ended.
func exitCode(ws unix.WaitStatus) (code, signal int32) {
	if ws.Signaled() {
		signal = int32(ws.Signal())
		return 128 + signal, signal
	}
	return int32(ws.ExitStatus()), 0
}

// ended takes the exit of the first process.
func (s *server) ended(ws unix.WaitStatus) {
	now := time.Now()
	s.exit = proto.Exit{At: now.UnixNano(), OOM: s.oom.grown()}
	s.exit.Code, s.exit.Signal = exitCode(ws)
	s.phase, s.deadline = draining, now.Add(drainTime)
	s.poll.remove(s.init.pidfd)
	if !s.ownPIDs {
		// With the first process the container is over, as it is in a
		// PID namespace of its own, where the kernel sees to it.
		s.killRest()
	}
	for _, p := range s.pumps {
		p.drain(lastRead)
	}
}

func (s *server) killRest() {
	if dir := s.groupDir(); dir != "" {
		_ = group.Kill(dir)
	}
	for _, e := range s.execs {
		e.kill()
	}
}

// settle ends a draining shim once everything has been read and reaped, or
// the time is up.
func (s *server) settle() {
	if s.phase != draining {
		return
	}
	late := !time.Now().Before(s.deadline)
	if !late && s.open() {
		return
	}
	s.closeStreams()
	if err := s.record(); err != nil {
		s.deadline = time.Now().Add(retryTime)
		return
	}
	s.announce(proto.VerbExited, &proto.Exited{Exit: s.exit})
	s.release()
}

// open reports whether an output or an exec has not ended, or a client has
// not been given all of an output yet.
func (s *server) open() bool {
	for _, p := range s.pumps {
		if p.fd != noFile {
			return true
		}
	}
	for _, e := range s.execs {
		if !e.exited {
			return true
		}
	}
	for _, a := range s.attachments {
		if len(a.outs[0].rest)+len(a.outs[1].rest) > 0 {
			return true
		}
	}
	return false
}

func (s *server) closeStreams() {
	for _, p := range s.pumps {
		p.drain(lastRead)
		p.end()
	}
	if s.log != nil {
		s.log.Close()
	}
	for _, a := range s.attachments {
		a.end(proto.ReasonExited)
	}
}

// record writes the exit record: whole or not at all, by rename. It is not
// synced, because no container outlives the machine's boot. A directory
// that is gone says that nobody wants to know.
func (s *server) record() error {
	const temp = proto.ExitFile + ".new"
	fd, err := unix.Openat(s.dir, temp, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600)
	if err == unix.ENOENT {
		return nil
	}
	if err != nil {
		return err
	}
	text := s.exit.Record()
	n, err := unix.Write(fd, text)
	_ = unix.Close(fd)
	if err != nil {
		return err
	}
	if n != len(text) {
		return unix.ENOSPC
	}
	return unix.Renameat(s.dir, temp, s.dir, proto.ExitFile)
}

// waitAll reaps until no child is left, for a second at most: what was killed
// and cannot die yet is left to the kernel and to init.
func (s *server) waitAll() {
	for end := time.Now().Add(drainTime); time.Now().Before(end); {
		_, err := unix.Wait4(-1, nil, unix.WNOHANG|unix.WALL, nil)
		if err == unix.ECHILD {
			return
		}
		fds := []unix.PollFd{{Fd: int32(s.init.pidfd), Events: unix.POLLIN}}
		_, _ = unix.Poll(fds, 1)
	}
}
