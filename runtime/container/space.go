package container

import (
	"os"

	"github.com/varve-cri/varve/runtime/plan"
	"golang.org/x/sys/unix"
)

// Space is a waiting empty mount namespace on a thread of its own. It serves
// one Start. A Space that is not wanted any more is given up with Close.
type Space struct{}

// NewSpace does all that can be done before there is work. The caller must be
// in the host's mount namespace.
func NewSpace() (*Space, error) {
	return nil, &StepError{Step: "prepare space", Errno: unix.ENOSYS}
}

// Start makes the container that p describes and runs its first process. root
// is a detached mount (fsmount, open_tree) of the container's root file tree;
// it may be nil when p.Process.Pause is set. The caller keeps root and may
// close it when Start returns. When Start returns an error, which is always a
// *StepError, nothing is left: no process, no mount. Either way the Space is
// used up.
func (s *Space) Start(p *plan.Plan, root *os.File, stdio Stdio) (*Started, error) {
	return nil, &StepError{Step: "start", Object: p.ID, Errno: unix.ENOSYS}
}

// Close gives up a Space that was not started. It is safe to call after
// Start, and twice.
func (s *Space) Close() {}

// Exec starts another process in the container whose first process is init
// (its pidfd) with the process id initPID: in all of its namespaces, with the
// root of its mount namespace. The error is a *StepError.
func Exec(init *os.File, initPID int, p *plan.Process, opt ExecOptions) (*Started, error) {
	return nil, &StepError{Step: "exec", Errno: unix.ENOSYS}
}
