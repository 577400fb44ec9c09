package container

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/runtime/internal/fd"
	"github.com/varve-cri/varve/runtime/internal/thread"
	"github.com/varve-cri/varve/runtime/plan"
	"github.com/varve-cri/varve/runtime/program"
)

// Joining is an exec by bare descriptors. It has the caller's goroutine do
// everything, so that a shim, which does one after the other for as long as its
// container runs, gets by without garbage.
type Joining struct {
	Init    int           // pidfd of the container's first process
	InitPID int           // and its process id
	Process *plan.Process // what to run
	Stdio   [3]int        // -1 is /dev/null; not used with a terminal
	Private bool          // as in ExecOptions

	CgroupV1 []string // what Tasks belong to, for messages
	Tasks    []int    // files "tasks" of v1 groups to join, open for writing
	Cgroup   int      // a v2 group's directory to begin in; -1 is the caller's
}

// Joined is a process that has executed its program. The descriptors are the
// caller's.
type Joined struct {
	PID     int
	PIDFD   int // -1 when it has exited and was waited for by another thread
	Console int // master side of the terminal, -1 without one
}

// execution is one Joining under way.
type execution struct {
	self  *self
	ask   *Joining
	bag   fd.Bag
	root  int
	files program.Files
	clone program.Clone

	child   program.Child
	console int
}

// Exec starts another process in the container whose first process is init
// (its pidfd) with the process id initPID: in all of its namespaces, with the
// root of its mount namespace. The error is a *StepError.
func Exec(init *os.File, initPID int, p *plan.Process, opt ExecOptions) (*Started, error) {
	var bag fd.Bag
	defer bag.Close()
	tasks, cgroup, err := cgroupFiles(&bag, opt.CgroupV1, opt.CgroupV2)
	if err != nil {
		return nil, err
	}
	ask := Joining{
		Init: int(init.Fd()), InitPID: initPID, Process: p, Stdio: opt.Stdio.descriptors(),
		CgroupV1: opt.CgroupV1, Tasks: tasks, Cgroup: cgroup, Private: opt.Private,
	}
	var joined Joined
	done := make(chan struct{})
	thread.Go(func() {
		joined, err = Join(&ask)
		close(done)
	})
	<-done
	runtime.KeepAlive(init)
	runtime.KeepAlive(opt)
	if err != nil {
		return nil, err
	}
	return newStarted(program.Child{PID: joined.PID, PIDFD: joined.PIDFD}, joined.Console), nil
}

// Join carries a Joining out on the calling thread, to which the goroutine
// must be locked, because the children that the thread makes from now on begin
// in the container's PID namespace. The error is a *StepError.
func Join(ask *Joining) (Joined, error) {
	self, err := ownSelf()
	if err != nil {
		return Joined{}, err
	}
	e := execution{self: self, ask: ask, console: -1}
	defer e.bag.Close()
	if err := e.open(); err != nil {
		return Joined{}, fail("exec", "", err)
	}
	if err := e.run(); err != nil {
		return Joined{}, fail("exec", "", err)
	}
	return Joined{PID: e.child.PID, PIDFD: e.child.PIDFD, Console: e.bag.Take(e.console)}, nil
}

// open opens the container's root and all that the program needs.
func (e *execution) open() error {
	root, err := unix.Openat(e.self.proc, itoa(e.ask.InitPID)+"/root", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fail("open root of process", itoa(e.ask.InitPID), err)
	}
	e.root = e.bag.Add(root)
	// If init is still there now, the number was its own when the root was
	// opened.
	if err := unix.PidfdSendSignal(e.ask.Init, 0, nil, 0); err != nil {
		return fail("find process", itoa(e.ask.InitPID), err)
	}
	e.clone.Copy = e.self.copy
	e.files = program.None()
	e.files.Proc, e.files.Init = e.self.proc, e.ask.Init
	e.files.Cgroups, e.clone.Cgroup = e.ask.Tasks, e.ask.Cgroup
	streams, err := openStreams(&e.bag, e.ask.Stdio, e.ask.Process, e.self.null)
	streams.put(&e.files)
	if err != nil || !e.ask.Process.Terminal {
		return err
	}
	master, slave, err := terminal(root, e.self.proc, e.ask.Process)
	if err != nil {
		return fail("open terminal", "", err)
	}
	e.console, e.files.Terminal = e.bag.Add(master), e.bag.Add(slave)
	return nil
}

// run forks. In a Private container the PID namespace of children is the
// calling thread's, from now on.
func (e *execution) run() error {
	path, err := find(e.root, e.ask.Process)
	if err != nil {
		return err
	}
	if e.ask.Private {
		if err := unix.Setns(e.ask.Init, unix.CLONE_NEWPID); err != nil {
			return fail("join namespace", "pid of the container", err)
		}
	}
	cmd := program.Command{Path: path, Process: e.ask.Process, Outside: !e.ask.Private}
	e.child, err = program.Exec(e.ask.CgroupV1, cmd, e.files, e.self.host).Run(e.clone)
	if err != nil {
		return explain(e.root, cmd, fail("exec", path, err))
	}
	return nil
}
