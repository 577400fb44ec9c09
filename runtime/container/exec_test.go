package container

import (
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/varve-cri/varve/runtime/plan"
	"golang.org/x/sys/unix"
)

func TestExecJoinsEverything(t *testing.T) {
	p := newPlan("/bin/probe", "sleep")
	p.Namespaces = append(p.Namespaces, plan.Namespace{Type: unix.CLONE_NEWNET})
	root := newRoot(t, nil)
	init := launch(t, p, root, Stdio{})
	defer reap(t, init)
	q := newProcess("probe", "do", "link:/proc/1/ns/mnt", "link:/proc/1/ns/pid", "link:/proc/1/ns/ipc",
		"link:/proc/1/ns/uts", "link:/proc/1/ns/net", "link:/proc/1/ns/cgroup")
	q.UID, q.GID, q.Cwd = 0, 0, "/tmp"
	q.Caps = plan.Caps{Bounding: ^uint64(0), Effective: allCaps(t), Permitted: allCaps(t)} // to read /proc/1
	o := runIn(t, init, q)
	for ns, got := range o.Namespaces {
		equal(t, ns, got, o.Files["link:/proc/1/ns/"+ns])
	}
	if o.PID == 1 || o.PID > 100 {
		t.Errorf("pid %d", o.PID)
	}
	equal(t, "host name", o.Hostname, "varve-test")
	equal(t, "directory", o.Cwd, "/tmp")
	equal(t, "inheritable", o.Status["CapInh"], "0000000000000000")
	for fd, to := range o.FDs {
		if fd > "2" && !strings.HasPrefix(to, "/proc/") {
			t.Errorf("descriptor %s: %s", fd, to)
		}
	}
}

func allCaps(t *testing.T) uint64 {
	t.Helper()
	self, err := ownSelf()
	if err != nil {
		t.Fatal(err)
	}
	return self.host.Bounding
}

func TestExecIdentityAndCgroup(t *testing.T) {
	init := launch(t, newPlan("/bin/probe", "sleep"), newRoot(t, nil), Stdio{})
	defer reap(t, init)
	v1, v2 := testCgroup(t)
	q := newProcess("/bin/probe", "sleep")
	q.UID, q.GID, q.Groups, q.NoNewPrivs = 1000, 1000, []uint32{44}, true
	q.Caps = plan.Caps{}
	st, err := Exec(init.PIDFD, init.PID, &q, ExecOptions{CgroupV1: v1, CgroupV2: v2})
	if err != nil {
		t.Fatal(err)
	}
	defer reap(t, st)
	s := status(itoa(st.PID))
	equal(t, "uid", s["Uid"], "1000\t1000\t1000\t1000")
	equal(t, "groups", s["Groups"], "44")
	equal(t, "capabilities", s["CapBnd"], "0000000000000000")
	for _, dir := range append(v1, v2) {
		b, err := os.ReadFile(dir + "/cgroup.procs")
		if err != nil || strings.TrimSpace(string(b)) != itoa(st.PID) {
			t.Errorf("%s holds %q, %v", dir, b, err)
		}
	}
}

func TestExecTerminal(t *testing.T) {
	init := launch(t, newPlan("/bin/probe", "sleep"), newRoot(t, nil), Stdio{})
	defer reap(t, init)
	q := newProcess("/bin/probe", "tty")
	q.Terminal, q.UID = true, 1000
	q.Caps = plan.Caps{}
	st, err := Exec(init.PIDFD, init.PID, &q, ExecOptions{})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "output", says(t, st, "\r\n"), "terminal: true true true\r\n")
	equal(t, "exit", wait(t, st), 0)
}

func TestExecStdioOfAnyOrder(t *testing.T) {
	init := launch(t, newPlan("/bin/probe", "sleep"), newRoot(t, nil), Stdio{})
	defer reap(t, init)
	// The write end at a number below the reserved ones, as a caller without
	// stdio of its own has it.
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	low, err := unix.FcntlInt(w.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
	out := os.NewFile(uintptr(low), "out")
	q := newProcess("/bin/probe", "do")
	st, err := Exec(init.PIDFD, init.PID, &q, ExecOptions{Stdio: Stdio{Out: out}})
	out.Close()
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	r.Close()
	if err != nil || len(b) == 0 || b[0] != '{' {
		t.Errorf("output %q, %v", b, err)
	}
	equal(t, "exit", wait(t, st), 0)
}

func TestExecAfterExit(t *testing.T) {
	init := launch(t, newPlan("/bin/probe", "sleep"), newRoot(t, nil), Stdio{})
	_ = unix.Kill(init.PID, unix.SIGKILL)
	fds := []unix.PollFd{{Fd: int32(init.PIDFD.Fd()), Events: unix.POLLIN}}
	for n := 0; n == 0; { // the Go runtime's own signals interrupt it
		var err error
		if n, err = unix.Poll(fds, 60_000); err != nil && err != unix.EINTR || n == 0 && err == nil {
			t.Fatalf("the container still runs: %v", err)
		}
		n = max(n, 0)
	}
	q := newProcess("/bin/probe")
	if st, err := Exec(init.PIDFD, init.PID, &q, ExecOptions{}); err == nil {
		reap(t, st)
		t.Error("an exec in a dead container works")
	}
	equal(t, "signal", wait(t, init), -int(unix.SIGKILL))
}

func TestPauseHoldsAndReaps(t *testing.T) {
	p := &plan.Plan{
		ID:         "pause",
		Namespaces: []plan.Namespace{{Type: unix.CLONE_NEWNS}, {Type: unix.CLONE_NEWPID}},
		Process:    plan.Process{Pause: true, Cwd: "/", Umask: -1, NoNewPrivs: true},
	}
	pause := launch(t, p, nil, Stdio{})
	defer reap(t, pause)
	s := status(itoa(pause.PID))
	equal(t, "capabilities", s["CapEff"], "0000000000000000")
	until(t, "the pause program sleeps", func() bool { return status(itoa(pause.PID))["State"] == "S (sleeping)" })

	shared := newPlan("/bin/probe", "orphan")
	shared.Namespaces = []plan.Namespace{
		{Type: unix.CLONE_NEWNS}, {Type: unix.CLONE_NEWPID, Path: "/proc/" + itoa(pause.PID) + "/ns/pid"},
	}
	st := launch(t, shared, newRoot(t, nil), Stdio{})
	equal(t, "exit", wait(t, st), 0)
	until(t, "the orphans are reaped", func() bool { return children(t, pause.PID) == "" })

	// A container that shares the namespace sees the pause program as 1.
	shared.Process.Args = []string{"/bin/probe", "do", "read:/proc/1/comm"}
	o := run(t, shared, newRoot(t, nil))
	if o.PID == 1 || o.Files["read:/proc/1/comm"] == "" {
		t.Errorf("pid %d, 1 is %q", o.PID, o.Files["read:/proc/1/comm"])
	}
}

// says reads from the terminal until something ends in end: the kernel hands a line
// and its end on one after the other.
func says(t *testing.T, st *Started, end string) string {
	t.Helper()
	var out strings.Builder
	buf := make([]byte, 4096)
	for !strings.HasSuffix(out.String(), end) {
		n, err := st.Console.Read(buf)
		if err != nil {
			t.Fatalf("after %q: %v", out.String(), err)
		}
		out.Write(buf[:n])
	}
	return out.String()
}

// until waits for what happens without a message.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("in a minute it does not come about that %s", what)
		}
	}
}

func children(t *testing.T, pid int) string {
	t.Helper()
	b, err := os.ReadFile("/proc/" + itoa(pid) + "/task/" + itoa(pid) + "/children")
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}
