package container

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/varve-cri/varve/runtime/plan"
	"golang.org/x/sys/unix"
)

func TestErrorsNameStepAndObject(t *testing.T) {
	for want, edit := range map[string]func(*plan.Plan){
		"open mount source /no/such: no such file or directory": func(p *plan.Plan) {
			p.Mounts = append(p.Mounts, plan.Mount{Target: "/x", Type: "bind", Source: "/no/such"})
		},
		"open namespace /no/ns: no such file or directory": func(p *plan.Plan) {
			p.Namespaces = append(p.Namespaces, plan.Namespace{Type: unix.CLONE_NEWNET, Path: "/no/ns"})
		},
		"join namespace /etc/passwd: invalid argument": func(p *plan.Plan) {
			p.Namespaces = append(p.Namespaces, plan.Namespace{Type: unix.CLONE_NEWNET, Path: "/etc/passwd"})
		},
		"open cgroup /no/cgroup: no such file or directory":  func(p *plan.Plan) { p.Cgroup.V1 = []string{"/no/cgroup"} },
		"open cgroup /no/unified: no such file or directory": func(p *plan.Plan) { p.Cgroup.V2 = "/no/unified" },
		"mount nosuchfs on /x: no such device": func(p *plan.Plan) {
			p.Mounts = append(p.Mounts, plan.Mount{Target: "/x", Type: "nosuchfs"})
		},
		"mount tmpfs on /x: tmpfs: Bad value for 'size': invalid argument": func(p *plan.Plan) {
			p.Mounts = append(p.Mounts, plan.Mount{Target: "/x", Type: "tmpfs", Data: []string{"size=lots"}})
		},
		"mount /etc on /bin/probe: not a directory": func(p *plan.Plan) {
			p.Mounts = append(p.Mounts, plan.Mount{Target: "/bin/probe", Type: "bind", Source: "/etc"})
		},
		"make device /bin/probe: file exists": func(p *plan.Plan) {
			p.Devices = append(p.Devices, plan.Device{Path: "/bin/probe", Kind: plan.CharDevice, Major: 1, Minor: 3})
		},
		"set limit RLIMIT_NOFILE: operation not permitted": func(p *plan.Plan) {
			p.Process.Caps.Bounding = 0
			p.Process.Rlimits = []plan.Rlimit{{Type: unix.RLIMIT_NOFILE, Soft: 1 << 40, Hard: 1 << 40}}
		},
		"set capabilities: operation not permitted":               func(p *plan.Plan) { p.Process.Caps.Permitted &^= 1 },
		"load seccomp filter: invalid argument":                   func(p *plan.Plan) { p.Process.Seccomp = make([]byte, 8) },
		"set AppArmor profile nothing: no such file or directory": func(p *plan.Plan) { p.Process.AppArmor = "nothing" },
	} {
		p := newPlan("/bin/probe")
		edit(p)
		equal(t, "error", refused(t, p, newRoot(t, nil)).Error(), want)
	}
}

func TestCommandErrors(t *testing.T) {
	image := func(dir string) {
		write(t, dir+"bin/data", []byte("data"), 0o644)
		write(t, dir+"bin/text", []byte("data"), 0o755)
		write(t, dir+"bin/script", []byte("#!/no/shell\n"), 0o755)
	}
	for _, c := range []struct {
		command, text string
		code          int32
	}{
		{"nothing", "find command nothing: not in PATH: no such file or directory", 127},
		{"", `find command "": no command: no such file or directory`, 127},
		{"data", "find command data: in PATH but not executable: permission denied", 126},
		{"/bin/nothing", "execute /bin/nothing: no such file or directory", 127},
		{"/bin/data", "execute /bin/data: permission denied", 126},
		{"/bin", "execute /bin: is a directory: permission denied", 126},
		{"text", "execute /bin/text: neither a program of this machine nor a script with #!: exec format error", 126},
		{"script", "execute /bin/script: the file exists, but not the interpreter it names: no such file or directory", 127},
	} {
		check := func(where string, err error) {
			t.Helper()
			var e *StepError
			if !errors.As(err, &e) {
				t.Fatalf("%s: %T %v", where, err, err)
			}
			equal(t, where, e.Error(), c.text)
			equal(t, where+" exit code", e.ExitCode(), c.code)
			equal(t, where+" not found", errors.Is(e, ErrNotFound), c.code == 127)
			equal(t, where+" not executable", errors.Is(e, ErrNotExecutable), c.code == 126)
		}
		check("start", refused(t, newPlan(c.command), newRoot(t, image)))
		init := launch(t, newPlan("/bin/pause"), newRoot(t, image), Stdio{})
		p := newProcess(c.command)
		_, err := Exec(init.PIDFD, init.PID, &p, ExecOptions{})
		check("exec", err)
		reap(t, init)
	}
	e := StepError{Step: "mount", Object: "x", Errno: unix.EPERM}
	if errors.Is(&e, ErrNotFound) || errors.Is(&e, ErrNotExecutable) || e.ExitCode() != 128 {
		t.Error("another step's error is taken for the command's")
	}
}

func TestSpaceServesOneStart(t *testing.T) {
	space, err := NewSpace()
	if err != nil {
		t.Fatal(err)
	}
	st, err := space.Start(newPlan("/bin/pause"), newRoot(t, nil), Stdio{})
	if err != nil {
		t.Fatal(err)
	}
	reap(t, st)
	if _, err := space.Start(newPlan("/bin/pause"), newRoot(t, nil), Stdio{}); err == nil || !strings.Contains(err.Error(), "used before") {
		t.Errorf("the second start: %v", err)
	}
	space.Close()
	space.Close()

	space, err = NewSpace()
	if err != nil {
		t.Fatal(err)
	}
	e := &StepError{}
	if _, err := space.Start(newPlan("/bin/pause"), nil, Stdio{}); !errors.As(err, &e) || e.Step != "attach root" {
		t.Errorf("a start without a root: %v", err)
	}
}

// A failed start holds on to nothing: the root's filesystem goes away with
// the caller's descriptor.
func TestFailedStartLetsGo(t *testing.T) {
	// Those of starts that worked end when they come to it.
	until(t, "the threads of earlier starts end", func() bool { return len(foreign(t)) == 0 })
	for range 20 {
		root := newRoot(t, nil)
		p := newPlan("/no/such")
		refused(t, p, root)
		if left := foreign(t); len(left) > 0 {
			t.Fatalf("threads are still in other mount namespaces: %v", left)
		}
	}
}

// foreign lists the threads that are not in the process's mount namespace.
func foreign(t *testing.T) (list []string) {
	t.Helper()
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	host, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		t.Fatal(err)
	}
	for _, th := range threads {
		ns, err := os.Readlink("/proc/self/task/" + th.Name() + "/ns/mnt")
		if err == nil && ns != host {
			list = append(list, th.Name()+" in "+ns)
		}
	}
	return list
}
