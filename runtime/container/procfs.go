package container

import (
	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/runtime/internal/mount"
	"github.com/varve-cri/varve/runtime/plan"
	"github.com/varve-cri/varve/runtime/program"
)

// procfs mounts procfs of a PID namespace in which others are, detached.
func (s *start) procfs(m *plan.Mount) (int, error) {
	ctx, err := s.procContext()
	if err != nil {
		return -1, err
	}
	defer unix.Close(ctx)
	fd, err := mount.Make(ctx, "proc", m.Data, int(m.AttrSet))
	if err != nil {
		return -1, err
	}
	s.bag.Add(fd)
	// Who may trace in there can have sent another context than that of procfs.
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err != nil || fs.Type == unix.PROC_SUPER_MAGIC {
		return fd, err
	}
	return -1, &StepError{Step: "mount", Object: label(m), Errno: unix.EPERM, Detail: "the PID namespace gave another file system"}
}

// procContext opens the context for it: from outside, since Linux 6.17.
func (s *start) procContext() (int, error) {
	if s.self.inside.Load() {
		return s.contextFromInside()
	}
	ctx, err := unix.Fsopen("proc", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, err
	}
	if err = unix.FsconfigSetFd(ctx, "pidns", s.files.PIDs); err == nil {
		return ctx, nil
	}
	unix.Close(ctx)
	if err != unix.EINVAL {
		return -1, err
	}
	ctx, err = s.contextFromInside()
	s.self.inside.Store(err == nil)
	return ctx, err
}

// contextFromInside has a process of the PID namespace open it.
func (s *start) contextFromInside() (int, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	theirs, err := s.bag.Above(pair[1], program.FirstFree)
	if err != nil {
		return -1, err
	}
	child, err := program.Procfs(s.files.PIDs, theirs).Run(program.Clone{Cgroup: program.NoCgroup, Copy: s.self.copy})
	if err != nil {
		return -1, err
	}
	child.Reap()
	return receive(pair[0])
}

// receive takes one descriptor from a socket.
func receive(socket int) (int, error) {
	control := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(socket, make([]byte, 1), control, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return -1, err
	}
	messages, err := unix.ParseSocketControlMessage(control[:n])
	if err != nil || len(messages) != 1 {
		return -1, unix.EBADMSG
	}
	files, err := unix.ParseUnixRights(&messages[0])
	if err == nil && len(files) == 1 {
		return files[0], nil
	}
	for _, fd := range files { // the room for one has room for two
		unix.Close(fd)
	}
	return -1, unix.EBADMSG
}
