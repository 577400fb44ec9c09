package program

import (
	"github.com/varve-cri/varve/runtime/plan"
	"golang.org/x/sys/unix"
)

// Container builds the program of a container's first process. The thread
// that runs it has already joined or made every namespace but the cgroup
// one, mounted all but procfs, and has the container's root as its own. With
// cmd.Outside the PID namespace is joined here, for the second process.
func Container(p *plan.Plan, cmd Command, f Files, h Host) *Program {
	b := newBuilder(roomy)
	b.cgroups(p.Cgroup.V1, f.Cgroups)
	// Only now: its root is the cgroup of the caller.
	group := p.Makes(unix.CLONE_NEWCGROUP)
	if group && !p.Process.UserNS {
		b.on("make namespace", "cgroup")
		b.call(unix.SYS_UNSHARE, "unshare", as(unix.CLONE_NEWCGROUP, namespaceBits))
	}
	for i := range p.Mounts {
		if p.Mounts[i].Type == "proc" {
			b.proc(&p.Mounts[i], f)
		}
	}
	for _, path := range p.Readonly {
		b.readonly(path, f)
	}
	for _, path := range p.Masked {
		b.mask(path, f)
	}
	if cmd.Outside {
		b.on("join namespace", "pid")
		b.call(unix.SYS_SETNS, "setns", fd(f.PIDs, "pids"), as(unix.CLONE_NEWPID, namespaceBits))
	}
	b.process(cmd, f, h, func() { b.enterUser(group, f) })
	return b.program()
}

// enterUser joins the container's user namespace, when all that needs the
// host's rights is done, and takes a copy of the mount namespace that belongs to
// it. In a copy for less rights the kernel locks every mount where it is
// (mount_namespaces(7)): not even CAP_SYS_ADMIN in the container takes a mask
// away. The PID namespace stays the host's to own: procfs can be mounted by its
// owner alone, and where a mount namespace is not the host's only if another procfs
// is in sight there.
func (b *builder) enterUser(group bool, f Files) {
	b.on("join namespace", "user")
	b.call(unix.SYS_SETNS, "setns", fd(f.User, "user"), as(unix.CLONE_NEWUSER, namespaceBits))
	fresh := uint64(unix.CLONE_NEWNS)
	if group {
		fresh |= unix.CLONE_NEWCGROUP
	}
	b.on("make namespaces", "of the user namespace")
	b.call(unix.SYS_UNSHARE, "unshare", as(fresh, namespaceBits))
}

// Exec builds the program of a further process of a container.
func Exec(cgroups []string, cmd Command, f Files, h Host) *Program {
	b := newBuilder(roomy)
	b.cgroups(cgroups, f.Cgroups)
	all := uint64(unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP)
	if cmd.Outside {
		all |= unix.CLONE_NEWPID
	} // else it is the one that the thread set for its children
	join := func() {
		b.on("join namespaces", "of the container")
		b.call(unix.SYS_SETNS, "setns", fd(f.Init, "init"), as(all, namespaceBits))
	}
	if cmd.Process.UserNS {
		all |= unix.CLONE_NEWUSER
	} else {
		join()
	}
	b.process(cmd, f, h, join)
	return b.program()
}

// cgroups moves the child into its cgroups: "0" is the writer itself.
func (b *builder) cgroups(dirs []string, fds []int) {
	for i, dir := range dirs {
		b.on("join cgroup", dir)
		b.write(fd(fds[i], "cgroup"), "0")
	}
}

// process is what a container's first process and an exec'd one have in
// common. The order is bound: the session before its terminal; descriptors
// closed before the working directory is entered (CVE-2024-21626); limits
// while CAP_SYS_RESOURCE may still be there; a filter without no_new_privs
// while CAP_SYS_ADMIN is; with it, as the very last. With a user namespace, what
// only the host's rights can do comes before join, which goes there.
func (b *builder) process(cmd Command, f Files, h Host, join func()) {
	p := cmd.Process
	if !cmd.Outside {
		b.session(f.Terminal)
	}
	b.selfFiles(p, f)
	if p.UserNS {
		b.rlimits(p.Rlimits)
		join()
		h.Bounding = h.All
	}
	b.stdio(f)
	b.on("set umask", "")
	umask := uint64(0o22)
	if p.Umask >= 0 {
		umask = uint64(p.Umask)
	}
	b.call(unix.SYS_UMASK, "umask", as(umask, octal))
	if p.Cwd != "" {
		b.enter(p.Cwd, p.UID != 0)
	}
	if !p.UserNS {
		b.rlimits(p.Rlimits)
	}
	b.resetSignals(p.Pause)
	if !p.NoNewPrivs {
		b.seccomp(p)
	}
	b.identity(p, h)
	if p.Cwd != "" && p.UID != 0 {
		b.enterAsUser(p.Cwd)
	}
	if p.NoNewPrivs {
		b.on("set no_new_privs", "")
		b.prctl(name(unix.PR_SET_NO_NEW_PRIVS, "SET_NO_NEW_PRIVS"), num(1))
	}
	if cmd.Outside {
		b.split(f)
	}
	if p.NoNewPrivs {
		b.seccomp(p)
	}
	b.execute(cmd, f)
}

// split begins the second process. What can be traced from here on has what
// the container has, and no more.
func (b *builder) split(f Files) {
	b.second = len(b.ops)
	terminal := -1
	if f.Terminal >= 0 {
		terminal = 0 // by now
	}
	b.session(terminal)
}

func (b *builder) session(terminal int) {
	b.on("start session", "")
	b.call(unix.SYS_SETSID, "setsid")
	if terminal >= 0 {
		b.on("take terminal", "")
		b.call(unix.SYS_IOCTL, "ioctl", fd(terminal, "terminal"), name(unix.TIOCSCTTY, "TIOCSCTTY"))
	}
}

func (b *builder) execute(cmd Command, f Files) {
	p := cmd.Process
	if f.Exe >= 0 {
		b.on("execute", "the pause program")
		args := p.Args
		if len(args) == 0 {
			args = []string{"pause"} // what process lists show
		}
		b.call(unix.SYS_EXECVEAT, "execveat", fd(exeFD, "exe"), noPath, b.strs(args), b.strs(p.Env),
			as(unix.AT_EMPTY_PATH, atBits))
		return
	}
	b.on("execute", cmd.Path)
	b.call(unix.SYS_EXECVE, "execve", b.str(cmd.Path), b.strs(p.Args), b.strs(p.Env))
}
