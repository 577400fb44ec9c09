package container

import (
	"os"

	"github.com/varve-cri/varve/runtime/internal/fd"
	"github.com/varve-cri/varve/runtime/internal/thread"
	"github.com/varve-cri/varve/runtime/plan"
	"github.com/varve-cri/varve/runtime/program"
	"golang.org/x/sys/unix"
)

// execution is one Exec under way.
type execution struct {
	self    *self
	init    int
	process *plan.Process
	opt     ExecOptions
	bag     fd.Bag
	root    int
	files   program.Files
	clone   program.Clone
	child   program.Child
	console int
}

// Exec starts another process in the container whose first process is init
// (its pidfd) with the process id initPID: in all of its namespaces, with the
// root of its mount namespace. The error is a *StepError.
func Exec(init *os.File, initPID int, p *plan.Process, opt ExecOptions) (*Started, error) {
	self, err := ownSelf()
	if err != nil {
		return nil, err
	}
	e := &execution{self: self, init: int(init.Fd()), process: p, opt: opt, console: -1}
	defer e.bag.Close()
	if err := e.open(initPID); err != nil {
		return nil, fail("exec", "", err)
	}
	done := make(chan error)
	thread.Go(func() { done <- e.run() })
	if err := <-done; err != nil {
		return nil, fail("exec", "", err)
	}
	e.bag.Take(e.console)
	return newStarted(e.child, e.console), nil
}

// open opens the container's root and all that the program needs.
func (e *execution) open(pid int) error {
	root, err := unix.Openat(e.self.proc, itoa(pid)+"/root", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fail("open root of process", itoa(pid), err)
	}
	e.root = e.bag.Add(root)
	// If init is still there now, the number was its own when the root was
	// opened.
	if err := unix.PidfdSendSignal(e.init, 0, nil, 0); err != nil {
		return fail("find process", itoa(pid), err)
	}
	e.clone.Copy = e.self.copy
	e.files = program.None()
	e.files.Proc, e.files.Init = e.self.proc, e.init
	e.files.Cgroups, e.clone.Cgroup, err = cgroupFiles(&e.bag, e.opt.CgroupV1, e.opt.CgroupV2)
	if err != nil {
		return err
	}
	streams, err := openStreams(&e.bag, e.opt.Stdio, e.process, e.self.null)
	streams.put(&e.files)
	if err != nil || !e.process.Terminal {
		return err
	}
	master, slave, err := terminal(root, e.self.proc, e.process)
	if err != nil {
		return fail("open terminal", "", err)
	}
	e.console, e.files.Terminal = e.bag.Add(master), e.bag.Add(slave)
	return nil
}

// run forks on a thread of its own, because the PID namespace of children is
// a thread's.
func (e *execution) run() error {
	path, err := find(e.root, e.process)
	if err != nil {
		return err
	}
	if err := unix.Setns(e.init, unix.CLONE_NEWPID); err != nil {
		return fail("join namespace", "pid of the container", err)
	}
	cmd := program.Command{Path: path, Process: e.process}
	e.child, err = program.Exec(e.opt.CgroupV1, cmd, e.files, e.self.host).Run(e.clone)
	if err != nil {
		return explain(e.root, cmd, fail("exec", path, err))
	}
	return nil
}
