package container

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/varve-cri/varve/runtime/plan"
	"golang.org/x/sys/unix"
)

func TestStartNamespaces(t *testing.T) {
	o := run(t, newPlan("/bin/probe"), newRoot(t, nil))
	equal(t, "pid", o.PID, 1)
	equal(t, "host name", o.Hostname, "varve-test")
	for ns, got := range o.Namespaces {
		host, err := os.Readlink("/proc/self/ns/" + ns)
		if err != nil {
			t.Fatal(err)
		}
		if same := got == host; same != (ns == "net") {
			t.Errorf("%s namespace: %s, host %s", ns, got, host)
		}
	}
	own, err := os.Hostname()
	if err != nil || own == "varve-test" {
		t.Errorf("the host's name is %q, %v", own, err)
	}
}

func TestStartProcess(t *testing.T) {
	p := newPlan("probe")
	p.Process.UID, p.Process.GID, p.Process.Groups = 1000, 1001, []uint32{7, 1001, 5000}
	p.Process.Caps = plan.Caps{Bounding: defaultCaps}
	p.Process.NoNewPrivs = true
	p.Process.Umask = 0o77
	p.Process.Env = []string{"PATH=/nowhere:/bin", "A=b"}
	p.Process.Rlimits = []plan.Rlimit{{Type: unix.RLIMIT_NOFILE, Soft: 100, Hard: 200}}
	p.Process.OOMScoreAdj, p.Process.SetOOMScoreAdj = 500, true
	p.Process.Cwd = "/made/on/demand"
	o := run(t, p, newRoot(t, nil))
	equal(t, "uid", o.Status["Uid"], "1000\t1000\t1000\t1000")
	equal(t, "gid", o.Status["Gid"], "1001\t1001\t1001\t1001")
	equal(t, "groups", o.Status["Groups"], "7 1001 5000")
	equal(t, "no_new_privs", o.Status["NoNewPrivs"], "1")
	equal(t, "umask", o.Umask, 0o77)
	equal(t, "limit", o.Nofile.Max, 200) // the soft one is raised by Go's own start
	equal(t, "oom_score_adj", o.OOMScoreAdj, "500")
	equal(t, "directory", o.Cwd, "/made/on/demand")
	equal(t, "session", o.SID, 1)
	equal(t, "effective", o.Status["CapEff"], "0000000000000000")
	equal(t, "permitted", o.Status["CapPrm"], "0000000000000000")
	equal(t, "bounding", o.Status["CapBnd"], "00000000a80425fb")
	if want := []string{"PATH=/nowhere:/bin", "A=b"}; !slices.Equal(o.Env, want) {
		t.Errorf("environment %q", o.Env)
	}
}

func TestStartCapabilities(t *testing.T) {
	root := newRoot(t, nil)
	o := run(t, newPlan("/bin/probe"), root)
	for set, want := range map[string]string{
		"CapEff": "00000000a80425fb", "CapPrm": "00000000a80425fb", "CapBnd": "00000000a80425fb",
		"CapInh": "0000000000000000", "CapAmb": "0000000000000000",
	} {
		equal(t, set, o.Status[set], want)
	}

	p := newPlan("/bin/probe")
	const bind = 1 << unix.CAP_NET_BIND_SERVICE
	p.Process.UID = 1000
	p.Process.Caps = plan.Caps{Bounding: defaultCaps, Effective: bind, Permitted: bind, Inheritable: bind, Ambient: bind}
	o = run(t, p, newRoot(t, nil))
	for set, want := range map[string]string{
		"CapEff": "0000000000000400", "CapPrm": "0000000000000400", "CapInh": "0000000000000400",
		"CapAmb": "0000000000000400", "CapBnd": "00000000a80425fb",
	} {
		equal(t, "ambient "+set, o.Status[set], want)
	}
}

// A caller that ignores SIGPIPE (as these tests do) must not have its payload
// ignore it, and all that a payload has open are 0, 1 and 2.
func TestStartInheritsNothing(t *testing.T) {
	// Descriptors of the host without O_CLOEXEC, as a careless caller has.
	leak, err := unix.Open("/etc", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(leak)
	o := run(t, newPlan("/bin/probe"), newRoot(t, nil))
	equal(t, "ignored signals", o.Status["SigIgn"], "0000000000000000")
	equal(t, "blocked signals", o.Status["SigBlk"], "0000000000000000")
	for fd, to := range o.FDs {
		if fd != "0" && fd != "1" && fd != "2" && !strings.HasPrefix(to, "/proc/1/fd") {
			t.Errorf("descriptor %s: %s", fd, to)
		}
	}
	equal(t, "stdin", o.FDs["0"], "/null")
}

func TestStartSeccomp(t *testing.T) {
	// Allow everything: mode and order are what this is about.
	filter := []byte{0x06, 0, 0, 0, 0, 0, 0xff, 0x7f}
	for _, nnp := range []bool{false, true} {
		p := newPlan("/bin/probe")
		p.Process.Seccomp, p.Process.NoNewPrivs = filter, nnp
		o := run(t, p, newRoot(t, nil))
		equal(t, "seccomp mode", o.Status["Seccomp"], "2")
		equal(t, "no_new_privs", o.Status["NoNewPrivs"] == "1", nnp)
	}
}

func TestStartTerminal(t *testing.T) {
	p := newPlan("/bin/probe", "tty")
	p.Process.Terminal, p.Process.Rows, p.Process.Cols = true, 40, 100
	st := launch(t, p, newRoot(t, nil), Stdio{})
	equal(t, "output", says(t, st, "\r\n"), "terminal: true true true\r\n")
	size, err := unix.IoctlGetWinsize(int(st.Console.Fd()), unix.TIOCGWINSZ)
	if err != nil || size.Row != 40 || size.Col != 100 {
		t.Errorf("size %v, %v", size, err)
	}
	equal(t, "exit", wait(t, st), 0)

	p = newPlan("/bin/probe", "do", "stat:/dev/console")
	p.Process.Terminal = true
	st = launch(t, p, newRoot(t, nil), Stdio{})
	if out := says(t, st, "}\r\n"); !strings.Contains(out, "/dev/console") || !strings.Contains(out, "136:0") {
		t.Errorf("no terminal on /dev/console: %s", out)
	}
	equal(t, "exit", wait(t, st), 0)
}

func TestStartCgroups(t *testing.T) {
	v1, v2 := testCgroup(t)
	p := newPlan("/bin/probe", "do", "read:/proc/self/cgroup")
	p.Cgroup = plan.Cgroup{V1: v1, V2: v2}
	st := launch(t, newSleeper(p), newRoot(t, nil), Stdio{})
	for _, dir := range append(slices.Clone(v1), v2) {
		b, err := os.ReadFile(dir + "/cgroup.procs")
		if err != nil || strings.TrimSpace(string(b)) != itoa(st.PID) {
			t.Errorf("%s holds %q, %v", dir, b, err)
		}
	}
	o := runIn(t, st, newProcess("/bin/probe", "do", "read:/proc/1/cgroup"))
	for line := range strings.Lines(o.Files["read:/proc/1/cgroup"]) {
		_, dir, _ := strings.Cut(strings.TrimSpace(line), ":/")
		if strings.Contains(dir, "varve") {
			t.Errorf("the cgroup namespace shows the host's path: %s", line)
		}
	}
	reap(t, st)
}

func newSleeper(p *plan.Plan) *plan.Plan {
	q := *p
	q.Process.Args = []string{"/bin/probe", "sleep"}
	return &q
}

// testCgroup makes one group in two v1 hierarchies and in the v2 one,
// wherever they are mounted.
func testCgroup(t *testing.T) (v1 []string, v2 string) {
	t.Helper()
	dirs := []string{"/sys/fs/cgroup/unified", "/sys/fs/cgroup/pids", "/sys/fs/cgroup/memory"}
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		dirs = []string{"/sys/fs/cgroup"}
	}
	for i, d := range dirs {
		dir := d + "/varve-container-test-" + itoa(os.Getpid())
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			// The kernel may take a process out of its group after it was waited for (Linux 6.19).
			until(t, dir+" is empty", func() bool { return os.Remove(dir) == nil })
		})
		if i == 0 {
			v2 = dir
			continue
		}
		v1 = append(v1, dir)
	}
	return v1, v2
}
