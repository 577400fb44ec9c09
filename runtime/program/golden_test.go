package program

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/varve-cri/varve/runtime/plan"
	"golang.org/x/sys/unix"
)

var update = flag.Bool("update", false, "write the golden files anew")

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; got:\n%s", file, got)
	}
}

const attrs = unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC

func samplePlan() *plan.Plan {
	return &plan.Plan{
		ID:         "sample",
		Namespaces: []plan.Namespace{{Type: unix.CLONE_NEWNS}, {Type: unix.CLONE_NEWPID}, {Type: unix.CLONE_NEWCGROUP}},
		Mounts:     []plan.Mount{{Target: "/proc", Type: "proc", AttrSet: attrs, Data: []string{"hidepid=2"}}},
		Masked:     []string{"/proc/keys", "/proc/acpi", "/proc/scsi", "/sys/firmware"},
		Readonly:   []string{"/proc/sys", "/opt"},
		Cgroup:     plan.Cgroup{V1: []string{"/sys/fs/cgroup/memory/pod/x"}},
		Process: plan.Process{
			Args: []string{"sh", "-c", "true"}, Env: []string{"PATH=/bin"}, Cwd: "/work", Umask: -1,
			Caps:    plan.Caps{Bounding: 0x400, Effective: 0x400, Permitted: 0x400},
			Seccomp: make([]byte, 80),
			Rlimits: []plan.Rlimit{{Type: unix.RLIMIT_NOFILE, Soft: 1024, Hard: unix.RLIM_INFINITY}},
		},
	}
}

func sampleFiles() Files {
	f := None()
	f.Proc, f.Null, f.Empty, f.ProcTarget, f.Init, f.In, f.Out, f.Err = 10, 11, 12, 13, 14, 15, 16, 17
	f.Cgroups = []int{18}
	f.Known = map[string]Kind{"/proc/keys": Other, "/proc/acpi": Directory}
	return f
}

var sampleHost = Host{Bounding: 0xc00}

func TestProgramOfContainer(t *testing.T) {
	p, f := samplePlan(), sampleFiles()
	f.BelowProc = []BelowProc{{Target: "uptime", Source: 19}}
	cmd := Command{Path: "/bin/sh", Process: &p.Process}
	golden(t, "root", Container(p, cmd, f, sampleHost).String())

	p.Process.UID, p.Process.GID, p.Process.Groups = 1000, 1000, []uint32{1, 2}
	p.Process.Caps = plan.Caps{Bounding: 0x400, Effective: 0x400, Permitted: 0x400, Inheritable: 0xffff, Ambient: 0x400}
	p.Process.NoNewPrivs = true
	p.Process.OOMScoreAdj, p.Process.SetOOMScoreAdj = -5, true
	p.Process.AppArmor, p.Process.SELinux = "profile", "u:r:t:s0"
	p.Process.Terminal, f.Terminal = true, 20
	golden(t, "user", Container(p, cmd, f, sampleHost).String())
}

func TestProgramOfExec(t *testing.T) {
	p := samplePlan()
	cmd := Command{Path: "/bin/sh", Process: &p.Process}
	golden(t, "exec", Exec(p.Cgroup.V1, cmd, sampleFiles(), sampleHost).String())
	cmd.Outside, p.Process.NoNewPrivs = true, true
	f := sampleFiles()
	f.Terminal = 9
	golden(t, "outside", Exec(p.Cgroup.V1, cmd, f, sampleHost).String())
}

// Among others, the second process begins in their PID namespace when all that they
// must not see is over.
func TestProgramOfContainerAmongOthers(t *testing.T) {
	p, f := samplePlan(), sampleFiles()
	f.PIDs, f.ProcMount, f.Terminal, p.Process.Terminal, p.Process.NoNewPrivs = 22, 23, 20, true, true
	cmd := Command{Path: "/bin/sh", Process: &p.Process, Outside: true}
	golden(t, "among-others", Container(p, cmd, f, sampleHost).String())

	// Who joins a user namespace has no rights over a PID namespace of the host's any more.
	p.Process.UserNS, f.User = true, 21
	ops := Container(p, cmd, f, sampleHost).Ops()
	at := func(step, object string) int {
		return slices.IndexFunc(ops, func(o Op) bool { return o.Step == step && o.Object == object })
	}
	if pid, user := at("join namespace", "pid"), at("join namespace", "user"); pid < 0 || pid > user {
		t.Errorf("the PID namespace is joined by call %d, the user namespace by call %d", pid, user)
	}
}

func TestProgramOfProcfs(t *testing.T) {
	golden(t, "procfs", Procfs(22, 23).String())
}

func TestProgramOfPause(t *testing.T) {
	p := &plan.Plan{
		ID: "pause", Namespaces: []plan.Namespace{{Type: unix.CLONE_NEWPID}},
		Process: plan.Process{Pause: true, Cwd: "/", Umask: -1, NoNewPrivs: true},
	}
	f := sampleFiles()
	f.Exe, f.ProcTarget = 21, -1
	golden(t, "pause", Container(p, Command{Process: &p.Process}, f, sampleHost).String())
}

// With a user namespace, what needs the host's rights comes before it is joined,
// and every capability that the container may not have is dropped inside, where
// all are there at first.
func TestProgramsInUserNamespace(t *testing.T) {
	p, f := samplePlan(), sampleFiles()
	p.Namespaces = append(p.Namespaces, plan.Namespace{Type: unix.CLONE_NEWUSER, Path: "/run/ns/user"})
	p.Process.UserNS, p.Process.OOMScoreAdj, p.Process.SetOOMScoreAdj = true, -5, true
	p.Process.Terminal, f.Terminal, f.User = true, 20, 21
	h := Host{Bounding: 0x400, All: 0xfff}
	cmd := Command{Path: "/bin/sh", Process: &p.Process}
	golden(t, "mapped", Container(p, cmd, f, h).String())
	golden(t, "mapped-exec", Exec(p.Cgroup.V1, cmd, f, h).String())
	cmd.Outside = true
	golden(t, "mapped-outside", Exec(p.Cgroup.V1, cmd, f, h).String())
	cmd.Outside = false

	at, dropped := map[string]int{}, 0
	for i, o := range Container(p, cmd, f, h).Ops() {
		if _, ok := at[o.Call.Name]; !ok || o.Call.Name == "move_mount" {
			at[o.Call.Name] = i
		}
		if o.Step == "drop capability" {
			dropped++
		}
	}
	for _, pair := range [][2]string{
		{"move_mount", "setns"}, {"prlimit64", "setns"}, {"setns", "unshare"}, {"unshare", "close_range"}, {"unshare", "setgroups"},
	} {
		if at[pair[0]] >= at[pair[1]] {
			t.Errorf("%s comes after %s", pair[0], pair[1])
		}
	}
	if dropped != 11 {
		t.Errorf("%d capabilities are dropped", dropped)
	}
}

// What must hold of the order in every program.
func TestOrder(t *testing.T) {
	for _, nnp := range []bool{false, true} {
		p := samplePlan()
		p.Process.UID, p.Process.NoNewPrivs = 1000, nnp
		at := map[string]int{}
		ops := Container(p, Command{Path: "/bin/sh", Process: &p.Process}, sampleFiles(), sampleHost).Ops()
		for i, o := range ops {
			at[o.Call.Name] = i // the last of each
			if o.Call.Name == "close_range" {
				at["first close"] = i
			}
		}
		for _, pair := range [][2]string{
			{"setsid", "dup3"}, {"dup3", "close_range"}, {"close_range", "rt_sigaction"}, {"prlimit64", "capset"},
			{"setgroups", "setresgid"}, {"setresgid", "setresuid"}, {"setresuid", "capset"}, {"move_mount", "setsid"},
		} {
			if at[pair[0]] >= at[pair[1]] {
				t.Errorf("no_new_privs %t: %s comes after %s", nnp, pair[0], pair[1])
			}
		}
		if last := at["seccomp"] == len(ops)-2; last != nnp {
			t.Errorf("no_new_privs %t: the filter is call %d of %d", nnp, at["seccomp"], len(ops))
		}
		for i, o := range ops {
			if o.Step == "enter working directory" && i < at["close_range"] {
				t.Errorf("the working directory is entered with descriptors open, by call %d", i)
			}
		}
	}
}
