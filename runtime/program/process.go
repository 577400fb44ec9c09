package program

import (
	"strconv"

	"github.com/varve-cri/varve/runtime/plan"
	"golang.org/x/sys/unix"
)

func octal(v uint64) string { return "0" + strconv.FormatUint(v, 8) }

// selfFiles writes what is set through procfs. The mount is the caller's
// own, so that nothing can be mounted over the files (CVE-2025-52881).
func (b *builder) selfFiles(p *plan.Process, f Files) {
	put := func(path, text string) {
		b.openAt(fd(f.Proc, "own proc"), path, unix.O_WRONLY, unix.RESOLVE_NO_XDEV).to(file)
		b.write(from(file), text)
	}
	if p.SetOOMScoreAdj {
		adj := strconv.Itoa(int(p.OOMScoreAdj))
		b.on("set oom_score_adj", adj)
		put("self/oom_score_adj", adj)
	}
	if p.AppArmor != "" {
		b.on("set AppArmor profile", p.AppArmor)
		put("self/attr/apparmor/exec", "exec "+p.AppArmor)
	}
	if p.SELinux != "" {
		b.on("set SELinux label", p.SELinux)
		put("self/attr/exec", p.SELinux)
	}
}

// stdio fills 0 to 2 and closes all else but what execve needs, all before
// the working directory is entered.
func (b *builder) stdio(f Files) {
	in, out, errs := fd(f.In, "stdin"), fd(f.Out, "stdout"), fd(f.Err, "stderr")
	if f.Terminal >= 0 {
		b.on("take terminal", "")
		tty := fd(f.Terminal, "terminal")
		b.call(unix.SYS_IOCTL, "ioctl", tty, num(unix.TIOCSCTTY, "TIOCSCTTY"), zero)
		in, out, errs = tty, tty, tty
	}
	b.on("set up stdio", "")
	b.dup(in, 0, true)
	b.dup(out, 1, true)
	b.dup(errs, 2, true)
	first := exeFD
	if f.Exe >= 0 {
		b.dup(fd(f.Exe, "exe"), exeFD, false)
		first++
	}
	b.dup(from(errPipe), errPipeFD, false).to(errPipe)
	b.on("close descriptors", "")
	b.call(unix.SYS_CLOSE_RANGE, "close_range", num(uint64(first), itoa(first)), num(1<<32-1, "~0"), zero)
}

// enter goes to the working directory, before the user changes: root's own
// directories are a usual place. NO_MAGICLINKS: the way may not lead through
// a descriptor or another process's root.
func (b *builder) enter(dir string, retry bool) {
	b.on("enter working directory", dir)
	op := b.openAt(cwd, dir, unix.O_PATH|unix.O_DIRECTORY, unix.RESOLVE_NO_MAGICLINKS).to(directory)
	if retry {
		op.skip(1, unix.EACCES)
	}
	b.call(unix.SYS_FCHDIR, "fchdir", from(directory))
}

// enterAsUser tries again with the user's rights where root had none: a
// network filesystem that squashes root.
func (b *builder) enterAsUser(dir string) {
	b.on("enter working directory", dir)
	b.openAt(cwd, dir, unix.O_PATH|unix.O_DIRECTORY, unix.RESOLVE_NO_MAGICLINKS).to(target).Unless = directory
	b.call(unix.SYS_FCHDIR, "fchdir", from(target)).Unless = directory
}

func (b *builder) rlimits(limits []plan.Rlimit) {
	for _, l := range limits {
		name := RlimitName(l.Type)
		b.on("set limit", name)
		b.call(unix.SYS_PRLIMIT64, "prlimit64", zero, num(uint64(l.Type), name),
			raw(append64(append64(nil, l.Soft), l.Hard), "{"+limit(l.Soft)+" "+limit(l.Hard)+"}"), zero)
	}
}

func limit(v uint64) string {
	if v == unix.RLIM_INFINITY {
		return "unlimited"
	}
	return strconv.FormatUint(v, 10)
}

// resetSignals undoes what the caller ignores, which would survive execve as
// its mask would; its handlers are gone by themselves. The pause program ignores SIGCHLD, and so
// has its orphans reaped by the kernel.
func (b *builder) resetSignals(pause bool) {
	b.on("reset signals", "")
	ignore := append64(make([]byte, 0, 32), 1)[:32]
	for _, s := range []unix.Signal{
		unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGPIPE, unix.SIGTERM, unix.SIGCHLD,
		unix.SIGUSR1, unix.SIGUSR2, unix.SIGALRM, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU, unix.SIGXFSZ,
	} {
		action, text := make([]byte, 32), "DEFAULT"
		if s == unix.SIGCHLD && pause {
			action, text = ignore, "IGNORE"
		}
		b.call(unix.SYS_RT_SIGACTION, "rt_sigaction", num(uint64(s), unix.SignalName(s)), raw(action, text), zero, num(8, "8"))
	}
	b.call(unix.SYS_RT_SIGPROCMASK, "rt_sigprocmask", num(unix.SIG_SETMASK, "SETMASK"), raw(make([]byte, 8), "NONE"), zero, num(8, "8"))
}

func (b *builder) seccomp(p *plan.Process) {
	if len(p.Seccomp) == 0 {
		return
	}
	b.on("load seccomp filter", "")
	b.call(unix.SYS_SECCOMP, "seccomp", num(unix.SECCOMP_SET_MODE_FILTER, "SET_MODE_FILTER"),
		num(uint64(p.SeccompFlags), "0x"+strconv.FormatUint(uint64(p.SeccompFlags), 16)), bpf(p.Seccomp))
}
