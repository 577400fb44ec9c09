package container

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/varve-cri/varve/runtime/plan"
	"golang.org/x/sys/unix"
)

func TestMountsOfKubernetes(t *testing.T) {
	p := newPlan("/bin/probe", "do", "ls:/dev", "ls:/dev/pts", "ls:/dev/mqueue", "stat:/dev/null", "link:/dev/fd", "ls:/")
	want := map[string]string{
		"/": "rw,relatime", "/proc": "rw,nosuid,nodev,noexec,relatime", "/dev": "rw,nosuid",
		"/dev/pts": "rw,nosuid,noexec,relatime", "/dev/mqueue": "rw,nosuid,nodev,noexec,relatime",
		"/sys": "ro,nosuid,nodev,noexec,relatime", "/dev/shm": "rw,nosuid,nodev,noexec,relatime",
	}
	check := func(t *testing.T, o outcome) {
		for at, attr := range want {
			if !strings.HasPrefix(o.Mounts[at], attr+" ") {
				t.Errorf("%s: %q, want %s", at, o.Mounts[at], attr)
			}
		}
		for at := range o.Mounts {
			if _, ok := want[at]; !ok && !strings.HasPrefix(at, "/proc/") && !strings.HasPrefix(at, "/sys/") {
				t.Errorf("a mount that nobody asked for: %s %s", at, o.Mounts[at])
			}
		}
		equal(t, "/dev", o.Files["ls:/dev"], "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero")
		equal(t, "/dev/pts", o.Files["ls:/dev/pts"], "ptmx")
		equal(t, "/dev/mqueue", o.Files["ls:/dev/mqueue"], "")
		equal(t, "/dev/null", o.Files["stat:/dev/null"], "20666 1:3 0:0")
		equal(t, "/dev/fd", o.Files["link:/dev/fd"], "/proc/self/fd")
		equal(t, "/", o.Files["ls:/"], "bin dev etc proc sys tmp")
	}
	t.Run("ready /dev", func(t *testing.T) { check(t, run(t, p, newRoot(t, nil))) })

	// The same with a /dev that the waiting space does not have ready.
	t.Run("own /dev", func(t *testing.T) {
		p.Mounts[1].Data = []string{"mode=755", "size=1m"}
		o := run(t, p, newRoot(t, nil))
		if !strings.Contains(o.Mounts["/dev"], "size=1024k") {
			t.Errorf("/dev: %s", o.Mounts["/dev"])
		}
		check(t, o)
	})
}

func TestMaskedAndReadonlyPaths(t *testing.T) {
	for _, size := range []string{"size=65536k", "size=1m"} { // both ways to /dev
		p := newPlan("/bin/probe", "do", "read:/proc/keys", "ls:/proc/acpi", "ls:/sys/firmware", "write:/proc/sys/kernel/hostname",
			"write:/proc/keys", "mkdir:/etc/hidden/x", "ls:/etc/hidden", "read:/etc/secret", "write:/etc/fixed/f", "read:/etc/fixed/f",
			"write:/etc/missing-is-fine")
		p.Mounts[1].Data = []string{"mode=755", size}
		p.Masked = append(p.Masked, "/etc/hidden", "/etc/secret", "/etc/nothing/here")
		p.Readonly = append(p.Readonly, "/etc/fixed", "/etc/nothing/here")
		o := run(t, p, newRoot(t, func(dir string) {
			for _, d := range []string{"etc/hidden", "etc/fixed"} {
				if err := os.Mkdir(dir+d, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			write(t, dir+"etc/hidden/file", nil, 0o644)
			write(t, dir+"etc/secret", []byte("secret"), 0o644)
			write(t, dir+"etc/fixed/f", []byte("fixed"), 0o644)
		}))
		for action, want := range map[string]string{
			"read:/proc/keys": "", "write:/proc/keys": "ok", "ls:/proc/acpi": "", "ls:/sys/firmware": "",
			"write:/proc/sys/kernel/hostname": "EROFS", "mkdir:/etc/hidden/x": "EROFS", "ls:/etc/hidden": "",
			"read:/etc/secret": "", "write:/etc/fixed/f": "EROFS", "read:/etc/fixed/f": "fixed", "write:/etc/missing-is-fine": "ok",
		} {
			equal(t, size+" "+action, o.Files[action], want)
		}
	}
}

func TestReadonlyRoot(t *testing.T) {
	p := newPlan("/bin/probe", "do", "write:/etc/x", "write:/tmp/x", "write:/dev/x", "write:/vol/x")
	p.Root.Readonly = true
	p.Mounts = append(p.Mounts,
		plan.Mount{Target: "/vol", Type: "tmpfs", Source: "vol", Data: []string{"mode=755"}},
		plan.Mount{Target: "/tmp", Type: "bind", Source: tempDir(t)})
	o := run(t, p, newRoot(t, nil))
	equal(t, "/etc", o.Files["write:/etc/x"], "EROFS")
	equal(t, "a bind mount", o.Files["write:/tmp/x"], "ok")
	equal(t, "/dev", o.Files["write:/dev/x"], "ok")
	equal(t, "a tmpfs on a made directory", o.Files["write:/vol/x"], "ok")
}

func TestBindMounts(t *testing.T) {
	dir := tempDir(t)
	write(t, filepath.Join(dir, "file"), []byte("content"), 0o644)
	bind := func(target string, m plan.Mount) plan.Mount {
		m.Target, m.Type, m.Source = target, "bind", dir
		return m
	}
	p := newPlan("/bin/probe", "do", "read:/etc/hosts", "read:/run/deep/file", "write:/ro/file", "write:/rro/file", "write:/rw/new")
	p.Mounts = append(p.Mounts,
		plan.Mount{Target: "/etc/hosts", Type: "bind", Source: dir + "/file"},
		bind("/var/run/deep", plan.Mount{}), // through an absolute link of the image whose target is missing
		bind("/ro", plan.Mount{AttrSet: attrRO}),
		bind("/rro", plan.Mount{Recursive: true, RecAttrSet: attrRO | unix.MOUNT_ATTR_NOEXEC}),
		bind("/rw", plan.Mount{Recursive: true}))
	o := run(t, p, newRoot(t, func(root string) {
		if err := os.Mkdir(root+"var", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("/run", root+"var/run"); err != nil {
			t.Fatal(err)
		}
	}))
	equal(t, "a file", o.Files["read:/etc/hosts"], "content")
	equal(t, "through a link", o.Files["read:/run/deep/file"], "content")
	equal(t, "read-only", o.Files["write:/ro/file"], "EROFS")
	equal(t, "recursively read-only", o.Files["write:/rro/file"], "EROFS")
	equal(t, "writable", o.Files["write:/rw/new"], "ok")
	if !strings.HasPrefix(o.Mounts["/rro"], "ro,noexec") {
		t.Errorf("/rro: %s", o.Mounts["/rro"])
	}
}

// The tests' own mount namespace has a private root; so this one makes a
// shared tmpfs and sees what of it a container sees, in each direction.
func TestPropagation(t *testing.T) {
	dir := tempDir(t)
	if err := unix.Mount("shared", dir, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	if err := unix.Mount("", dir, "", unix.MS_SHARED, ""); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{"before", "after"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	submount(t, filepath.Join(dir, "before"))
	p := newPlan("/bin/probe", "sleep")
	for target, prop := range map[string]uint64{
		"/private": unix.MS_PRIVATE | unix.MS_REC, "/default": 0, "/slave": unix.MS_SLAVE | unix.MS_REC,
		"/shared": unix.MS_SHARED | unix.MS_REC,
	} {
		p.Mounts = append(p.Mounts, plan.Mount{
			Target: target, Type: "bind", Source: dir, Recursive: true, Propagation: prop,
		})
	}
	p.Mounts = append(p.Mounts, plan.Mount{Target: "/flat", Type: "bind", Source: dir})
	st := launch(t, p, newRoot(t, nil), Stdio{})
	defer reap(t, st)
	submount(t, filepath.Join(dir, "after"))
	o := runIn(t, st, newProcess("/bin/probe"))
	for at, want := range map[string]bool{
		"/private/before": true, "/default/before": true, "/slave/before": true, "/shared/before": true, "/flat/before": false,
		"/private/after": false, "/default/after": false, "/slave/after": true, "/shared/after": true, "/flat/after": false,
	} {
		_, got := o.Mounts[at]
		equal(t, at, got, want)
	}
	equal(t, "shared", strings.Contains(o.Mounts["/shared"], "shared:"), true)
	equal(t, "slave", strings.Contains(o.Mounts["/slave"], "master:"), true)
	equal(t, "private", strings.ContainsAny(strings.SplitN(o.Mounts["/private"], " - ", 2)[0], ":"), false)
}

// To share what is private is refused, and the mount is named.
func TestSharedNeedsASharedSource(t *testing.T) {
	dir := tempDir(t)
	submount(t, dir)
	if err := unix.Mount("", dir, "", unix.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	p := newPlan("/bin/probe")
	p.Mounts = append(p.Mounts, plan.Mount{Target: "/x", Type: "bind", Source: dir, Propagation: unix.MS_SHARED | unix.MS_REC})
	e := refused(t, p, newRoot(t, nil))
	equal(t, "error", e.Error(),
		"check propagation of mount source "+dir+": it is on the mount "+dir+", which is not shared: invalid argument")
}

func submount(t *testing.T, dir string) {
	t.Helper()
	if err := unix.Mount("sub", dir, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
}

func TestMountsBelowProc(t *testing.T) {
	file := filepath.Join(tempDir(t), "uptime")
	write(t, file, []byte("1 2"), 0o644)
	p := newPlan("/bin/probe", "do", "read:/proc/uptime")
	p.Mounts = append(p.Mounts, plan.Mount{Target: "/proc/uptime", Type: "bind", Source: file})
	equal(t, "/proc/uptime", run(t, p, newRoot(t, nil)).Files["read:/proc/uptime"], "1 2")
}

func TestDevices(t *testing.T) {
	p := newPlan("/bin/probe", "do", "stat:/dev/fuse", "stat:/dev/x/fifo", "stat:/dev/null")
	p.Devices = append(p.Devices,
		plan.Device{Path: "/dev/fuse", Kind: plan.CharDevice, Major: 10, Minor: 229, Mode: 0o600, UID: 5, GID: 6},
		plan.Device{Path: "/dev/x/fifo", Kind: plan.FIFO, Mode: 0o640})
	p.Devices[0].Mode = 0o600 // another than that of the node that is ready
	o := run(t, p, newRoot(t, nil))
	equal(t, "/dev/fuse", o.Files["stat:/dev/fuse"], "20600 10:229 5:6")
	equal(t, "/dev/x/fifo", o.Files["stat:/dev/x/fifo"], "10640 0:0 0:0")
	equal(t, "/dev/null", o.Files["stat:/dev/null"], "20600 1:3 0:0")
}
