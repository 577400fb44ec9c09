package container

import "os"

// Stdio is what a process gets as descriptors 0, 1 and 2. A nil one is
// /dev/null. All are ignored when the process has a terminal. The files stay
// the caller's to close, which it may do as soon as Start or Exec returns.
type Stdio struct{ In, Out, Err *os.File }

func (s *Stdio) descriptors() [3]int {
	fds := [3]int{-1, -1, -1}
	for i, f := range []*os.File{s.In, s.Out, s.Err} {
		if f != nil {
			fds[i] = int(f.Fd())
		}
	}
	return fds
}

// Started is a process that has executed its program. The files belong to the
// caller.
type Started struct {
	PID     int      // as the caller sees it
	PIDFD   *os.File // becomes readable when the process exits; waitid(P_PIDFD) reaps it
	Console *os.File // master side of the terminal, nil without one; not in non-blocking mode
}

// ExecOptions are the parts of an exec that are not the process itself.
type ExecOptions struct {
	Stdio    Stdio
	CgroupV1 []string // host directories of existing cgroups that the process joins
	CgroupV2 string   // likewise; empty leaves it in the caller's

	// Private says that no process which the container's PID namespace shows
	// may have CAP_SYS_PTRACE: then the new one may be shown there from its
	// beginning, which saves a fork. Until its execve it has descriptors and
	// rights of the caller's (CVE-2016-9962).
	Private bool
}
