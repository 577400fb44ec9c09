package namespace

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/varve-cri/varve/runtime/idmap"
	"golang.org/x/sys/unix"
)

func mapped(from, length uint32) *User {
	return &User{UIDs: []idmap.Range{{Outside: from, Length: length}}, GIDs: []idmap.Range{{Outside: 2 * from, Length: length}}}
}

// identity is what two descriptors of one namespace have in common.
func identity(t *testing.T, fd int) string {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(st.Dev, st.Ino)
}

func open(t *testing.T, file string) int {
	t.Helper()
	fd, err := unix.Open(file, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// The other namespaces belong to the user namespace, and are set up as those of
// any pod.
func TestPinUser(t *testing.T) {
	s := all()
	s.User, s.Hostname = mapped(100000, 65536), "mapped"
	s.Sysctls = map[string]string{"net.ipv4.ip_local_port_range": "2000 3000", "kernel.shmmni": "77", "fs.mqueue.msg_max": "5", "kernel.domainname": "example.org"}
	p := pin(t, s)
	if names, err := list(p.Dir); err != nil || fmt.Sprint(names) != "[net ipc uts user]" {
		t.Errorf("list: %v, %v", names, err)
	}
	want := identity(t, open(t, p.Dir+"/user"))
	for _, name := range []string{"net", "ipc", "uts"} {
		owner, err := unix.IoctlRetInt(open(t, p.Dir+"/"+name), unix.NS_GET_USERNS)
		if err != nil {
			t.Fatal(err)
		}
		if identity(t, owner) != want {
			t.Errorf("%s is not the user namespace's", name)
		}
		unix.Close(owner)
	}
	inside(t, p, func() error {
		for file, want := range map[string]string{
			"kernel/hostname": "mapped", "net/ipv4/ip_local_port_range": "2000 3000", "kernel/shmmni": "77", "fs/mqueue/msg_max": "5",
		} {
			if got := read("/proc/sys/" + file); got != want {
				t.Errorf("%s is %q, want %q", file, got, want)
			}
		}
		return dialLoopback()
	})
	if pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); err != unix.ECHILD {
		t.Errorf("a child is left: %d, %v", pid, err)
	}
}

// With the host's network, and with nothing else at all.
func TestPinUserAlone(t *testing.T) {
	p := pin(t, Spec{User: mapped(100000, 1)})
	if names, err := list(p.Dir); err != nil || fmt.Sprint(names) != "[user]" {
		t.Errorf("list: %v, %v", names, err)
	}
}

func TestPinUserErrors(t *testing.T) {
	for want, s := range map[string]Spec{
		"user ids: no ids are mapped":         {Net: true, User: &User{}},
		"user ids: range 0":                   {User: mapped(1<<32-10, 100)},
		`sysctl "net.ipv4.no_such_thing"`:     {Net: true, User: mapped(1, 1), Sysctls: map[string]string{"net.ipv4.no_such_thing": "1"}},
		`"kernel.shmmni": the pod has no IPC`: {User: mapped(1, 1), Sysctls: map[string]string{"kernel.shmmni": "1"}},
	} {
		dir := filepath.Join(t.TempDir(), "ns")
		if err := Pin(dir, s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
		clean(t, dir)
	}
	if pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); err != unix.ECHILD {
		t.Errorf("a child is left: %d, %v", pid, err)
	}
}

// A pool's namespaces are the host's, and so not for such a pod.
func TestPoolHasNoneForUsers(t *testing.T) {
	pool := NewPool(1)
	defer pool.Close()
	f, err := newNetwork()
	if err != nil {
		t.Fatal(err)
	}
	pool.ready = []*os.File{f}
	dir := filepath.Join(t.TempDir(), "ns")
	if err := pool.Pin(dir, Spec{Net: true, User: mapped(1, 1)}); err != nil {
		t.Fatal(err)
	}
	if pool.Waiting() != 1 {
		t.Error("it took one that waited")
	}
	if err := Unpin(dir); err != nil {
		t.Error(err)
	}
}
