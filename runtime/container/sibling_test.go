package container

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/runtime/plan"
)

// family is containers that share a PID namespace, whose first process is the pause
// program, and a file tree.
type family struct {
	t     *testing.T
	pause *Started
	dir   string
}

func newFamily(t *testing.T) *family {
	t.Helper()
	f := &family{t: t, dir: tempDir(t)}
	for _, d := range []string{"bin", "proc", "sys", "dev"} {
		if err := os.Mkdir(filepath.Join(f.dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(f.dir, "bin/probe"), selfImage(t), 0o755)
	write(t, filepath.Join(f.dir, "bin/pause"), pauseELF(), 0o755)
	f.pause = launch(t, &plan.Plan{
		ID:         "pause",
		Namespaces: []plan.Namespace{{Type: unix.CLONE_NEWNS}, {Type: unix.CLONE_NEWPID}},
		Process:    plan.Process{Pause: true, Cwd: "/", Umask: -1, NoNewPrivs: true},
	}, nil, Stdio{})
	t.Cleanup(func() { reap(t, f.pause) })
	return f
}

func (f *family) root() *os.File {
	f.t.Helper()
	fd, err := unix.OpenTree(unix.AT_FDCWD, f.dir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		f.t.Fatal(err)
	}
	root := os.NewFile(uintptr(fd), "root")
	f.t.Cleanup(func() { root.Close() })
	return root
}

func (f *family) plan(args ...string) *plan.Plan {
	p := newPlan(args...)
	p.Namespaces[1].Path = "/proc/" + itoa(f.pause.PID) + "/ns/pid"
	return p
}

// start starts a sibling with the rights of the spy, which ends at once.
func (f *family) start(group string) (*Started, error) {
	p := mayTrace(f.plan("/bin/probe", "exit", "0"))
	p.Cgroup.V2 = group
	space, err := NewSpace()
	if err != nil {
		return nil, err
	}
	return space.Start(p, f.root(), Stdio{})
}

// everyWay runs a test with procfs opened from outside, where the kernel can, and from
// inside.
func everyWay(t *testing.T, test func(*testing.T, *family)) {
	t.Helper()
	self, err := ownSelf()
	if err != nil {
		t.Fatal(err)
	}
	for name, inside := range map[string]bool{"as the kernel can": false, "from inside": true} {
		t.Run(name, func(t *testing.T) {
			defer self.inside.Store(self.inside.Swap(inside))
			test(t, newFamily(t))
		})
	}
}

// A container that starts among others, of which one may trace, is not seen by that
// while it has anything of the host's (the class of CVE-2016-9962).
func TestTracingSiblingDoesNotSeeWhoStarts(t *testing.T) {
	everyWay(t, func(t *testing.T, f *family) {
		s := startSpy(t, f.plan(), f.root())
		s.doesNotSee(f.start)
	})
}

// Whatever is seen of it by looking all the time is what it has in the end: file tree,
// directory, rights.
func TestTracingSiblingSeesNothingOfTheHost(t *testing.T) {
	everyWay(t, func(t *testing.T, f *family) {
		s := startSpy(t, f.plan(), f.root())
		s.look("seen 0", func() {
			st, err := f.start("")
			if err != nil {
				t.Fatal(err)
			}
			equal(t, "exit", wait(t, st), 0)
		})
	})
}

// It is as any other container otherwise: its process is the caller's child, has its
// terminal and its session, and shows the namespace's processes in its procfs.
func TestStartAmongOthers(t *testing.T) {
	everyWay(t, func(t *testing.T, f *family) {
		p := f.plan("/bin/probe", "do", "read:/proc/1/comm", "write:/proc/keys", "write:/proc/sys/kernel/panic", "link:/proc/1/ns/pid")
		mayTrace(p)
		p.Process.OOMScoreAdj, p.Process.SetOOMScoreAdj = 500, true
		o := run(t, p, f.root())
		if o.PID == 1 || o.SID != o.PID || o.Files["read:/proc/1/comm"] == "ENOENT" {
			t.Errorf("pid %d, session %d, %v", o.PID, o.SID, o.Files)
		}
		equal(t, "pid namespace", o.Namespaces["pid"], o.Files["link:/proc/1/ns/pid"])
		equal(t, "a mask", o.Files["write:/proc/keys"], "ok")
		equal(t, "a sysctl", o.Files["write:/proc/sys/kernel/panic"], "EROFS")
		equal(t, "oom_score_adj", o.OOMScoreAdj, "500")
		for fd, to := range o.FDs {
			if fd > "2" && to != "/proc/"+itoa(o.PID)+"/fd" {
				t.Errorf("descriptor %s: %s", fd, to)
			}
		}
		equal(t, "no such program", refused(t, f.plan("/no/such"), f.root()).Error(), "execute /no/such: no such file or directory")

		p = f.plan("/bin/probe", "tty")
		p.Process.Terminal = true
		st := launch(t, p, f.root(), Stdio{})
		equal(t, "output", says(t, st, "\r\n"), "terminal: true true true\r\n")
		equal(t, "exit", wait(t, st), 0)
	})
}

// The process is forked a second time, which a filter that is in force by then must
// allow; one that is loaded at the very end, with no_new_privs, need not.
func TestFilterAmongOthers(t *testing.T) {
	everyWay(t, func(t *testing.T, f *family) {
		var filter bytes.Buffer
		for _, i := range []unix.SockFilter{
			{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS}, // the call's number
			{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_CLONE, Jf: 1},
			{Code: unix.BPF_RET, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
			{Code: unix.BPF_RET, K: unix.SECCOMP_RET_ALLOW},
		} {
			if err := binary.Write(&filter, binary.NativeEndian, i); err != nil {
				t.Fatal(err)
			}
		}
		p := f.plan("/bin/pause")
		p.Process.Seccomp = filter.Bytes()
		equal(t, "error", refused(t, p, f.root()).Error(), "fork in the PID namespace: operation not permitted")
		p.Process.NoNewPrivs = true
		reap(t, launch(t, p, f.root(), Stdio{}))
	})
}
