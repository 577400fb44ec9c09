package program

import (
	"strconv"

	"github.com/varve-cri/varve/runtime/plan"
	"golang.org/x/sys/unix"
)

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
		tty := fd(f.Terminal, "terminal")
		in, out, errs = tty, tty, tty
	}
	b.on("set up stdio", "")
	b.dup(in, 0, true)
	b.dup(out, 1, true)
	b.dup(errs, 2, true)
	first := uint64(exeFD)
	if f.Exe >= 0 {
		b.dup(fd(f.Exe, "exe"), exeFD, false)
		first++
	}
	b.dup(from(errPipe), errPipeFD, false).to(errPipe)
	b.on("close descriptors", "")
	b.call(unix.SYS_CLOSE_RANGE, "close_range", num(first), name(1<<32-1, "~0"))
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

func (b *builder) rlimits(list []plan.Rlimit) {
	for _, l := range list {
		b.on("set limit", RlimitName(l.Type))
		b.call(unix.SYS_PRLIMIT64, "prlimit64", num(0), name(uint64(l.Type), RlimitName(l.Type)),
			b.words(limits, 16, l.Soft, l.Hard))
	}
}

// resetSignals undoes what the caller ignores, which would survive execve as
// its mask would; its handlers are gone by themselves. The pause program ignores SIGCHLD, and so
// has its orphans reaped by the kernel.
func (b *builder) resetSignals(pause bool) {
	b.on("reset signals", "")
	fallback := opaque(b.bytes(32), "DEFAULT")
	for _, sig := range mayBeIgnored {
		action := fallback
		if sig.nr == unix.SIGCHLD && pause {
			action = b.words(named, 32, 1)
			action.text = "IGNORE"
		}
		b.call(unix.SYS_RT_SIGACTION, "rt_sigaction", name(uint64(sig.nr), sig.name), action, num(0), num(8))
	}
	b.call(unix.SYS_RT_SIGPROCMASK, "rt_sigprocmask", name(unix.SIG_SETMASK, "SETMASK"), opaque(b.bytes(8), "NONE"), num(0), num(8))
}

var mayBeIgnored = []struct {
	nr   unix.Signal
	name string
}{
	{unix.SIGHUP, "HUP"}, {unix.SIGINT, "INT"}, {unix.SIGQUIT, "QUIT"}, {unix.SIGPIPE, "PIPE"},
	{unix.SIGTERM, "TERM"}, {unix.SIGCHLD, "CHLD"}, {unix.SIGUSR1, "USR1"}, {unix.SIGUSR2, "USR2"},
	{unix.SIGALRM, "ALRM"}, {unix.SIGTSTP, "TSTP"}, {unix.SIGTTIN, "TTIN"}, {unix.SIGTTOU, "TTOU"},
	{unix.SIGXFSZ, "XFSZ"},
	// glibc's posix_spawn leaves its two internal signals ignored in what it
	// starts: make does so with a daemon that it runs.
	{32, "32"}, {33, "33"},
}

func (b *builder) seccomp(p *plan.Process) {
	if len(p.Seccomp) == 0 {
		return
	}
	b.on("load seccomp filter", "")
	b.call(unix.SYS_SECCOMP, "seccomp", name(unix.SECCOMP_SET_MODE_FILTER, "SET_MODE_FILTER"),
		as(uint64(p.SeccompFlags), hex), bpf(p.Seccomp))
}
