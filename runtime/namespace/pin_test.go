package namespace

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func all() Spec { return Spec{Net: true, IPC: true, UTS: true} }

// pin pins s in a fresh directory that is empty of mounts after the test.
func pin(t testing.TB, s Spec) Pins {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "ns")
	if err := Pin(dir, s); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := Unpin(dir); err != nil {
			t.Error(err)
		}
		clean(t, dir)
	})
	return Pins{dir}
}

// clean fails the test when anything of dir is left.
func clean(t testing.TB, dir string) {
	t.Helper()
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is left (%v)", dir, err)
	}
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(table), dir) {
		t.Errorf("mounts below %s are left", dir)
	}
}

// inside runs f on a thread that has joined the pinned namespaces.
func inside(t testing.TB, p Pins, f func() error) {
	t.Helper()
	err := onThread(func() error {
		for _, k := range kinds {
			if k.flag == unix.CLONE_NEWUSER {
				continue // no thread can
			}
			fd, err := unix.Open(p.Dir+"/"+k.name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				return err
			}
			err = unix.Setns(fd, k.flag)
			unix.Close(fd)
			if err != nil {
				return err
			}
		}
		return f()
	})
	if err != nil {
		t.Error(err)
	}
}

// own returns the namespaces of the test process's first thread.
func own(t testing.TB) string {
	t.Helper()
	var out string
	for _, k := range kinds {
		link, err := os.Readlink("/proc/self/ns/" + k.name)
		if err != nil {
			t.Fatal(err)
		}
		out += link
	}
	return out
}

func read(file string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	return strings.Join(strings.Fields(string(b)), " ")
}

func TestPin(t *testing.T) {
	before, hostname := own(t), read("/proc/sys/kernel/hostname")
	shm, forward := read("/proc/sys/kernel/shmmni"), read("/proc/sys/net/ipv4/ip_forward")
	s := all()
	s.Hostname = "pod-a"
	s.Sysctls = map[string]string{
		"net.ipv4.ip_local_port_range": "2000 3000", "net/ipv4/conf/lo/forwarding": "1", "kernel.shmmni": "77", "kernel.sem": "100 200 30 40",
		"kernel.msgmax": "9000", "fs.mqueue.msg_max": "5", "net.ipv4.ip_unprivileged_port_start": "0",
	}
	p := pin(t, s)
	if names, err := list(p.Dir); err != nil || fmt.Sprint(names) != "[net ipc uts]" {
		t.Errorf("list: %v, %v", names, err)
	}
	inside(t, p, func() error {
		for file, want := range map[string]string{
			"kernel/hostname": "pod-a", "net/ipv4/ip_local_port_range": "2000 3000", "net/ipv4/conf/lo/forwarding": "1", "kernel/shmmni": "77",
			"kernel/sem": "100 200 30 40", "kernel/msgmax": "9000", "fs/mqueue/msg_max": "5", "net/ipv4/ip_unprivileged_port_start": "0",
		} {
			if got := read("/proc/sys/" + file); got != want {
				t.Errorf("%s is %q, want %q", file, got, want)
			}
		}
		return dialLoopback()
	})
	if own(t) != before || read("/proc/sys/kernel/hostname") != hostname || read("/proc/sys/kernel/shmmni") != shm || read("/proc/sys/net/ipv4/ip_forward") != forward {
		t.Error("the host was changed")
	}
	for file, want := range map[string]os.FileMode{p.Dir: fs.ModeDir | 0o700} {
		if st, err := os.Stat(file); err != nil || st.Mode() != want {
			t.Errorf("%s: %v, %v", file, st.Mode(), err)
		}
	}
}

// dialLoopback sends a datagram to oneself over 127.0.0.1.
func dialLoopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return err
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return err
	}
	return unix.Sendto(fd, []byte("x"), 0, name)
}

func TestPinSome(t *testing.T) {
	p := pin(t, Spec{IPC: true, UTS: true})
	if names, err := list(p.Dir); err != nil || fmt.Sprint(names) != "[ipc uts]" {
		t.Errorf("%v, %v", names, err)
	}
	if err := Check(p.Net()); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if err := Pin(p.Dir, Spec{IPC: true}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second pin: %v", err)
	}
	if err := Check(p.Dir + "/ipc"); err != nil {
		t.Errorf("the second pin harmed the first: %v", err)
	}
	none := pin(t, Spec{})
	if names, err := list(none.Dir); len(names) != 0 || err != nil {
		t.Errorf("%v, %v", names, err)
	}
}

func TestPinUndoesItself(t *testing.T) {
	before := own(t)
	for what, s := range map[string]Spec{
		"no such file": {Net: true, IPC: true, Sysctls: map[string]string{"net.ipv4.no_such_thing": "1"}},
		"write \"x\"":  {Net: true, IPC: true, UTS: true, Sysctls: map[string]string{"net.ipv4.ip_forward": "x"}},
		"no UTS":       {Net: true, Hostname: "a"},
		"longer than":  {UTS: true, Hostname: strings.Repeat("a", 65)},
		"not allowed":  {Net: true, Sysctls: map[string]string{"kernel.core_pattern": "|/bin/sh"}},
	} {
		dir := filepath.Join(t.TempDir(), "ns")
		if err := Pin(dir, s); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("got %v, want %q", err, what)
		}
		clean(t, dir)
	}
	if err := Pin("/no/such/place/ns", all()); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if own(t) != before {
		t.Error("the process is in other namespaces")
	}
}

func TestUnpin(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ns")
	if err := Unpin(dir); err != nil {
		t.Errorf("nothing there: %v", err)
	}
	if err := Pin(dir, all()); err != nil {
		t.Fatal(err)
	}
	held, err := os.Open(dir + "/net") // busy: needs the lazy way
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if err := unix.Mount(dir+"/ipc", dir+"/ipc", "", unix.MS_BIND, ""); err != nil { // mounted twice
		t.Fatal(err)
	}
	for range 2 {
		if err := Unpin(dir); err != nil {
			t.Error(err)
		}
		clean(t, dir)
	}
}

func TestUnpinAfterACrash(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ns")
	if err := errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(dir+"/net", nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := Check(dir + "/net"); !errors.Is(err, ErrNotPinned) {
		t.Errorf("a bare file: %v", err)
	}
	if err := os.WriteFile(dir+"/stranger", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Unpin(dir); !errors.Is(err, unix.ENOTEMPTY) {
		t.Errorf("with a stranger's file: %v", err)
	}
	if err := os.Remove(dir + "/stranger"); err != nil {
		t.Fatal(err)
	}
	if err := Unpin(dir); err != nil {
		t.Error(err)
	}
	clean(t, dir)
}

func TestCheckType(t *testing.T) {
	p := pin(t, Spec{IPC: true})
	file := p.Dir + "/uts"
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(p.Dir+"/ipc", file, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	if err := Check(file); !errors.Is(err, ErrNotPinned) {
		t.Errorf("an IPC namespace named uts: %v", err)
	}
}

func TestManyAtOnce(t *testing.T) {
	before := own(t)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			dir := filepath.Join(t.TempDir(), "ns")
			if err := errors.Join(Pin(dir, all()), Unpin(dir)); err != nil {
				t.Error(err)
			}
			clean(t, dir)
		})
	}
	wg.Wait()
	if own(t) != before {
		t.Error("the process is in other namespaces")
	}
	// Every thread that is left is where the process is. The others end on their own
	// time, after the calls that were made on them.
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		left := foreign(t)
		if len(left) == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("threads are in other namespaces: %v", left)
		}
	}
}

// foreign lists the threads that are not in the process's UTS namespace.
func foreign(t *testing.T) (list []string) {
	t.Helper()
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	uts, err := os.Readlink("/proc/self/ns/uts")
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		link, err := os.Readlink("/proc/self/task/" + task.Name() + "/ns/uts")
		if err == nil && link != uts {
			list = append(list, task.Name()+" in "+link)
		}
	}
	return list
}

// TestNeverTheFirstThread calls onThread from the first thread itself.
func TestNeverTheFirstThread(t *testing.T) {
	for range 50 {
		if err := onThread(func() error {
			if unix.Gettid() == unix.Getpid() {
				return errors.New("on the first thread")
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		runtime.Gosched()
	}
}

func BenchmarkPin(b *testing.B) {
	user := all()
	user.User = mapped(100000, 65536)
	for what, s := range map[string]Spec{
		"ipc+uts": {IPC: true, UTS: true, Hostname: "pod"}, "net+ipc+uts": all(), "net+ipc+uts+user": user,
		"ipc+uts+user": {IPC: true, UTS: true, User: user.User},
	} {
		b.Run(what, func(b *testing.B) {
			dir := filepath.Join(b.TempDir(), "ns")
			for b.Loop() {
				if err := Pin(dir, s); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				if err := Unpin(dir); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
}

// list returns the names ("net", "ipc", "uts") of the namespaces that are
// pinned in dir. A directory that is not there has none.
func list(dir string) ([]string, error) {
	var names []string
	for _, k := range kinds {
		err := Check(dir + "/" + k.name)
		switch {
		case err == nil:
			names = append(names, k.name)
		case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, ErrNotPinned):
			return nil, err
		}
	}
	return names, nil
}
