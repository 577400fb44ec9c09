package container

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/varve-cri/varve/runtime/plan"
	"golang.org/x/sys/unix"
)

// An image that has a link in the place of a special filesystem is refused
// (CVE-2019-19921, CVE-2023-27561, CVE-2023-28642, CVE-2026-41579).
func TestSpecialPlacesAreNoLinks(t *testing.T) {
	for _, place := range []string{"proc", "dev", "sys"} {
		for _, size := range []string{"size=65536k", "size=1m"} {
			p := newPlan("/bin/probe")
			p.Mounts[1].Data = []string{"mode=755", size}
			e := refused(t, p, newRoot(t, func(dir string) {
				if err := os.Symlink("/etc", dir+place); err != nil {
					t.Fatal(err)
				}
			}))
			equal(t, place, e.Errno, unix.ELOOP)
			if !strings.Contains(e.Object, "/"+place) {
				t.Errorf("the error does not name /%s: %v", place, e)
			}
		}
	}
}

// Links of the image lead to the image: nothing is made or mounted outside
// (CVE-2021-30465, CVE-2024-45310, CVE-2024-5154).
func TestLinksStayInside(t *testing.T) {
	host, vol := tempDir(t), tempDir(t)
	p := newPlan("/bin/probe", "do", "ls:"+host, "ls:/")
	p.Mounts = append(p.Mounts,
		plan.Mount{Target: "/up/made/dir", Type: "bind", Source: vol},
		plan.Mount{Target: "/abs/file", Type: "bind", Source: "/dev/null"})
	p.Process.Cwd = "/up/cwd"
	o := run(t, p, newRoot(t, func(dir string) {
		for name, to := range map[string]string{"up": "../../../../../.." + host, "abs": host} {
			if err := os.Symlink(to, dir+name); err != nil {
				t.Fatal(err)
			}
		}
	}))
	equal(t, "inside", o.Files["ls:"+host], "cwd file made")
	left, err := os.ReadDir(host)
	if err != nil || len(left) > 0 {
		t.Errorf("on the host: %v, %v", left, err)
	}
}

// A working directory cannot be a way out (CVE-2024-21626), at start and at
// exec, nor /proc/PID/root of a process that is not contained.
func TestWorkingDirectoryIsInside(t *testing.T) {
	leak, err := unix.Open("/etc", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(leak)
	init := launch(t, newPlan("/bin/probe", "sleep"), newRoot(t, nil), Stdio{})
	defer reap(t, init)
	for n := range 60 {
		dir := "/proc/self/fd/" + itoa(n)
		p := newPlan("/bin/probe")
		p.Process.Cwd = dir
		equal(t, "start in "+dir, refused(t, p, newRoot(t, nil)).Step, "enter working directory")
		q := newProcess("/bin/probe")
		q.Cwd = dir
		st, err := Exec(init.PIDFD, init.PID, &q, ExecOptions{})
		if err == nil {
			reap(t, st)
			t.Errorf("exec in %s works", dir)
		}
	}
	p := newPlan("/bin/probe")
	p.Namespaces = []plan.Namespace{{Type: unix.CLONE_NEWNS}} // PIDs of the host
	p.Process.Cwd = "/proc/" + itoa(os.Getpid()) + "/root"
	equal(t, "the host's root", refused(t, p, newRoot(t, nil)).Errno, unix.ELOOP)
	p.Process.Cwd = "/etc/file"
	e := refused(t, p, newRoot(t, func(dir string) { write(t, dir+"etc/file", nil, 0o644) }))
	equal(t, "a file", e.Error(), "make working directory /etc/file: not a directory")
}

// A null device or ptmx that the image brought is not used for anything
// (CVE-2025-31133, CVE-2025-52565).
func TestImageDeviceIsNotTrusted(t *testing.T) {
	p := newPlan("/bin/probe", "do", "read:/etc/secret", "read:/proc/keys")
	p.Mounts = p.Mounts[:1] // /dev is the image's own
	p.Devices, p.Links, p.Masked = nil, nil, []string{"/etc/secret", "/proc/keys"}
	image := func(dir string) {
		write(t, dir+"etc/secret", []byte("secret"), 0o644)
		if err := os.MkdirAll(dir+"dev/pts", 0o755); err != nil {
			t.Fatal(err)
		}
		for _, l := range []string{"dev/null", "dev/pts/ptmx"} {
			if err := os.Symlink("/etc/secret", dir+l); err != nil {
				t.Fatal(err)
			}
		}
	}
	o := run(t, p, newRoot(t, image))
	equal(t, "masked file", o.Files["read:/etc/secret"], "")
	equal(t, "masked file in /proc", o.Files["read:/proc/keys"], "")

	p.Process.Terminal = true
	equal(t, "terminal", refused(t, p, newRoot(t, image)).Errno, unix.ENOTTY)
}

// What a payload is given as /dev/null is no inode of the host's.
func TestNullIsNotTheHosts(t *testing.T) {
	var host, got unix.Stat_t
	if err := unix.Stat("/dev/null", &host); err != nil {
		t.Fatal(err)
	}
	self, err := ownSelf()
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Fstat(self.null, &got); err != nil {
		t.Fatal(err)
	}
	if got.Dev == host.Dev {
		t.Error("the null device is the host's file")
	}
	equal(t, "device", got.Rdev, host.Rdev)
}

// The caller's copy that lives until execve cannot be looked into
// (CVE-2016-9962).
func TestCallerIsNotDumpable(t *testing.T) {
	v, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	if err != nil || v != 0 {
		t.Errorf("dumpable is %d, %v", v, err)
	}
}

// A container cannot reach the host's mounts: its table has only its own.
func TestHostMountsAreGone(t *testing.T) {
	dir := filepath.Join(tempDir(t), "on-the-host")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	submount(t, dir)
	o := run(t, newPlan("/bin/probe"), newRoot(t, nil))
	for at := range o.Mounts {
		if strings.Contains(at, "on-the-host") {
			t.Errorf("a mount of the host: %s", at)
		}
	}
}
