package container

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/varve-cri/varve/runtime/idmap"
	"github.com/varve-cri/varve/runtime/internal/mount"
	"github.com/varve-cri/varve/runtime/plan"
	"golang.org/x/sys/unix"
)

// mapped gives a plan a user namespace whose root is user 100000 and group
// 200000 of the host, and a root mount that shows its files accordingly; plain
// shows what they are on the disk.
func mapped(tb testing.TB, p *plan.Plan) (root *os.File, plain disk) {
	tb.Helper()
	ns, err := idmap.Namespace([]idmap.Range{{Outside: 100000, Length: 65536}}, []idmap.Range{{Outside: 200000, Length: 65536}})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { ns.Close() })
	below := newRoot(tb, nil)
	plain.dir = fmt.Sprintf("/proc/self/fd/%d/", below.Fd())
	fd, err := mount.Clone(int(below.Fd()), "", false, false)
	if err == nil {
		root = os.NewFile(uintptr(fd), "root")
		tb.Cleanup(func() { root.Close() })
		err = idmap.Mount(root, ns, false)
	}
	if err != nil { // before Linux 6.15 no detached mount is cloned, before 6.3 no tmpfs mapped
		root, plain.shift = below, true
		for _, file := range []string{"", "bin", "etc", "tmp", "bin/probe", "bin/pause"} {
			if err := os.Chown(plain.dir+file, 100000, 200000); err != nil {
				tb.Fatal(err)
			}
		}
	}
	p.Namespaces = append(p.Namespaces, plan.Namespace{Type: unix.CLONE_NEWUSER, Path: fmt.Sprintf("/proc/self/fd/%d", ns.Fd())})
	p.Owner = plan.Owner{UID: 100000, GID: 200000}
	p.Process.UserNS, p.Process.HostUID = true, 100000+p.Process.UID
	for i := range p.Devices {
		p.Devices[i].UID, p.Devices[i].GID = p.Owner.UID, p.Owner.GID
	}
	return root, plain
}

// disk is a mapped root as it is on the disk. Where the kernel cannot map it, its
// files have the ids that they are to show.
type disk struct {
	dir   string
	shift bool
}

// owned compares the owner of a file on the disk.
func (d disk) owned(tb testing.TB, file string, uid, gid uint32) {
	tb.Helper()
	if d.shift {
		uid, gid = uid+100000, gid+200000
	}
	var st unix.Stat_t
	if err := unix.Lstat(d.dir+file, &st); err != nil {
		tb.Error(err)
	} else if st.Uid != uid || st.Gid != gid {
		tb.Errorf("%s belongs to %d:%d, want %d:%d", file, st.Uid, st.Gid, uid, gid)
	}
}

func TestUserNamespace(t *testing.T) {
	p := newPlan("/bin/probe", "do", "read:/proc/self/uid_map", "read:/proc/self/gid_map", "read:/proc/self/setgroups", "stat:/etc", "stat:/dev",
		"stat:/dev/null", "stat:/dev/mqueue", "stat:/dev/shm", "write:/etc/made", "mkdir:/dev/made", "chown:/etc/made", "write:/dev/mqueue/made",
		"append:/dev/stdout", "write:/proc/sys/kernel/panic", "append:/dev/null")
	p.Process.OOMScoreAdj, p.Process.SetOOMScoreAdj, p.Process.Cwd = 500, true, "/new/dir"
	root, plain := mapped(t, p)
	o := run(t, p, root)
	for _, file := range []string{"uid_map", "gid_map"} {
		first := map[string]string{"uid_map": "100000", "gid_map": "200000"}[file]
		equal(t, file, strings.Join(strings.Fields(o.Files["read:/proc/self/"+file]), " "), "0 "+first+" 65536")
	}
	equal(t, "setgroups", strings.TrimSpace(o.Files["read:/proc/self/setgroups"]), "allow")
	for path, want := range map[string]string{
		"/etc": "40755 0:0 0:0", "/dev": "40755 0:0 0:0", "/dev/null": "20666 1:3 0:0", "/dev/mqueue": "41777 0:0 0:0", "/dev/shm": "41777 0:0 0:0",
	} {
		equal(t, path, o.Files["stat:"+path], want)
	}
	for _, a := range []string{"write:/etc/made", "mkdir:/dev/made", "chown:/etc/made", "write:/dev/mqueue/made", "append:/dev/stdout", "append:/dev/null"} {
		equal(t, a, o.Files[a], "ok")
	}
	equal(t, "sysctl", o.Files["write:/proc/sys/kernel/panic"], "EACCES")
	for _, set := range []string{"CapEff", "CapPrm", "CapBnd"} {
		equal(t, set, o.Status[set], "00000000a80425fb")
	}
	equal(t, "user", o.UID, 0)
	equal(t, "oom_score_adj", o.OOMScoreAdj, "500")
	equal(t, "directory", o.Cwd, "/new/dir")
	for fd, to := range o.FDs {
		if fd > "2" && !strings.HasPrefix(to, "/proc/") {
			t.Errorf("descriptor %s: %s", fd, to)
		}
	}
	plain.owned(t, "etc/made", 5, 6)
	plain.owned(t, "new", 0, 0)
}

func TestUserNamespaceOfAUser(t *testing.T) {
	p := newPlan("/bin/probe", "do", "write:/etc/made", "write:/tmp/made", "append:/dev/stdout")
	p.Process.UID, p.Process.GID, p.Process.Groups, p.Process.Caps = 1000, 1001, []uint32{44}, plan.Caps{}
	root, plain := mapped(t, p)
	if err := os.Chmod(plain.dir+"tmp", 0o1777); err != nil {
		t.Fatal(err)
	}
	o := run(t, p, root)
	equal(t, "user", o.UID, 1000)
	equal(t, "group", o.GID, 1001)
	equal(t, "groups", fmt.Sprint(o.Groups), "[44]")
	equal(t, "effective", o.Status["CapEff"], "0000000000000000")
	equal(t, "bounding", o.Status["CapBnd"], "0000000000000000")
	equal(t, "etc", o.Files["write:/etc/made"], "EACCES")
	equal(t, "tmp", o.Files["write:/tmp/made"], "ok")
	equal(t, "stdout", o.Files["append:/dev/stdout"], "ok")
	plain.owned(t, "tmp/made", 1000, 1001)
}

// All capabilities there take no mask away, and make no mount writable.
func TestUserNamespaceLocksMounts(t *testing.T) {
	p := newPlan("/bin/probe", "do", "umount:/proc/keys", "umount:/proc/sys", "umount:/proc", "umount:/sys", "umount:/dev", "umount:/")
	all := allCaps(t)
	p.Process.Caps = plan.Caps{Bounding: all, Effective: all, Permitted: all}
	root, _ := mapped(t, p)
	o := run(t, p, root)
	equal(t, "capabilities", o.Status["CapEff"], fmt.Sprintf("%016x", all))
	for a, got := range o.Files {
		if strings.HasPrefix(a, "umount:") {
			equal(t, a, got, "EINVAL")
		}
	}
}

func TestExecJoinsUserNamespace(t *testing.T) {
	for _, private := range []bool{false, true} {
		p := newPlan("/bin/probe", "sleep")
		root, plain := mapped(t, p)
		init := launch(t, p, root, Stdio{})
		equal(t, "user to the host", status(itoa(init.PID))["Uid"], "100000\t100000\t100000\t100000")
		q := newProcess("probe", "do", "read:/proc/self/uid_map", "write:/etc/made", "append:/dev/stdout", "link:/proc/self/ns/user", "link:/proc/1/ns/user",
			"link:/proc/1/ns/mnt", "link:/proc/1/ns/pid", "link:/proc/1/ns/cgroup")
		q.UserNS, q.HostUID, q.OOMScoreAdj, q.SetOOMScoreAdj = true, 100000, 500, true
		o := collect(t, func(s Stdio) (*Started, error) {
			return Exec(init.PIDFD, init.PID, &q, ExecOptions{Stdio: s, Private: private})
		})
		for _, ns := range []string{"mnt", "pid", "cgroup"} {
			equal(t, ns, o.Namespaces[ns], o.Files["link:/proc/1/ns/"+ns])
		}
		equal(t, "user", o.Files["link:/proc/self/ns/user"], o.Files["link:/proc/1/ns/user"])
		equal(t, "uid_map", strings.Join(strings.Fields(o.Files["read:/proc/self/uid_map"]), " "), "0 100000 65536")
		equal(t, "etc", o.Files["write:/etc/made"], "ok")
		equal(t, "stdout", o.Files["append:/dev/stdout"], "ok")
		equal(t, "bounding", o.Status["CapBnd"], "00000000a80425fb")
		plain.owned(t, "etc/made", 0, 0)

		user, err := os.Readlink("/proc/" + itoa(init.PID) + "/ns/user")
		if err != nil {
			t.Fatal(err)
		}
		for _, ns := range []string{"mnt", "cgroup"} {
			equal(t, "owner of "+ns, ownerOf(t, "/proc/"+itoa(init.PID)+"/ns/"+ns), user)
		}
		tty := newProcess("/bin/probe", "do", "stat:/dev/pts/0")
		tty.UserNS, tty.HostUID, tty.UID, tty.Terminal, tty.Caps = true, 101000, 1000, true, plan.Caps{}
		st, err := Exec(init.PIDFD, init.PID, &tty, ExecOptions{Private: private})
		if err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 64<<10)
		text := ""
		for !strings.Contains(text, "\n") {
			n, err := st.Console.Read(buf)
			if err != nil {
				break
			}
			text += string(buf[:n])
		}
		if !strings.Contains(text, "136:0 1000:") {
			t.Errorf("the terminal is not the user's: %s", text)
		}
		reap(t, st)
		reap(t, init)
	}
}

// The init of a shared PID namespace, and a container that joins that.
func TestPauseInUserNamespace(t *testing.T) {
	pause := &plan.Plan{
		ID: "pause", Namespaces: []plan.Namespace{{Type: unix.CLONE_NEWNS}, {Type: unix.CLONE_NEWPID}, {Type: unix.CLONE_NEWCGROUP}},
		Process: plan.Process{Pause: true, Cwd: "/", Umask: -1, NoNewPrivs: true},
	}
	mapped(t, pause)
	init := launch(t, pause, nil, Stdio{})
	defer reap(t, init)
	s := status(itoa(init.PID))
	equal(t, "user to the host", s["Uid"], "100000\t100000\t100000\t100000")
	equal(t, "capabilities", s["CapEff"]+s["CapBnd"], strings.Repeat("0", 32))
	p := newPlan("/bin/probe", "do", "read:/proc/1/comm")
	p.Namespaces[1].Path = "/proc/" + itoa(init.PID) + "/ns/pid"
	root, _ := mapped(t, p)
	if o := run(t, p, root); o.PID == 1 || o.Files["read:/proc/1/comm"] == "ENOENT" {
		t.Errorf("pid %d, %v", o.PID, o.Files)
	}
}

// BenchmarkStartMapped is BenchmarkStart in a user namespace.
func BenchmarkStartMapped(b *testing.B) {
	b.StopTimer()
	for range b.N {
		p := newPlan("/bin/pause")
		root, _ := mapped(b, p)
		space, err := NewSpace()
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		st, err := space.Start(p, root, Stdio{})
		b.StopTimer()
		if err != nil {
			b.Fatal(err)
		}
		reap(b, st)
		root.Close()
	}
}

// ownerOf names the user namespace that a namespace belongs to.
func ownerOf(tb testing.TB, ns string) string {
	tb.Helper()
	f, err := os.Open(ns)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	fd, err := unix.IoctlRetInt(int(f.Fd()), unix.NS_GET_USERNS)
	if err != nil {
		tb.Fatal(err)
	}
	defer unix.Close(fd)
	link, err := os.Readlink("/proc/self/fd/" + itoa(fd))
	if err != nil {
		tb.Fatal(err)
	}
	return link
}
