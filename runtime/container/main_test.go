package container

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/varve-cri/varve/runtime/internal/mount"
	"github.com/varve-cri/varve/runtime/plan"
	"golang.org/x/sys/unix"
)

// TestMain is also the payload of the tests: the test binary lies in the
// containers' roots as /bin/probe and answers by its first argument.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "probe" {
		code := probe(os.Args[1:])
		unix.Exit(code) // not os.Exit, where a binary built for coverage has something to say
	}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		fmt.Fprintln(os.Stderr, "become a subreaper:", err)
		os.Exit(1)
	}
	signal.Ignore(syscall.SIGPIPE) // what the payload must not inherit
	// What the package makes once for the process is not a leak.
	if _, err := ownSelf(); err != nil {
		fmt.Fprintln(os.Stderr, "make own files:", err)
		os.Exit(1)
	}
	before := census()
	code := m.Run()
	after := census()
	for end := time.Now().Add(time.Minute); code == 0 && after != before; after = census() {
		if time.Now().After(end) {
			fmt.Fprintf(os.Stderr, "left behind: before %s, after %s\n", before, after)
			code = 99
		}
		time.Sleep(10 * time.Millisecond)
	}
	os.Exit(code)
}

// census counts what a test could leave behind: mounts, children and
// descriptors. The runtime's own epoll descriptors may come at any time.
func census() string {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err.Error()
	}
	ours := 0 // others may mount meanwhile
	for _, dir := range tempDirs {
		ours += strings.Count(string(mounts), " "+dir)
	}
	_, waitErr := unix.Wait4(-1, nil, unix.WNOHANG, nil)
	fds := 0
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err.Error()
	}
	for _, e := range entries {
		link, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err == nil && !strings.HasPrefix(link, "anon_inode:[event") {
			fds++
		}
	}
	return fmt.Sprintf("%d mounts, children: %v, %d descriptors", ours, waitErr, fds)
}

var tempDirs []string

// tempDir is t.TempDir, remembered for the census.
func tempDir(t *testing.T) string {
	dir := t.TempDir()
	tempDirs = append(tempDirs, dir)
	return dir
}

// newRoot makes a container root on a tmpfs: a detached mount, as the image
// store gives one. edit may change it by its descriptor's path.
func newRoot(tb testing.TB, edit func(dir string)) *os.File {
	tb.Helper()
	fd, err := mount.New("tmpfs", "root", []string{"mode=755"}, 0)
	if err != nil {
		tb.Fatal("make root:", err)
	}
	root := os.NewFile(uintptr(fd), "root")
	tb.Cleanup(func() { root.Close() })
	dir := fmt.Sprintf("/proc/self/fd/%d/", fd)
	for _, d := range []string{"bin", "etc", "tmp"} {
		if err := os.Mkdir(dir+d, 0o755); err != nil {
			tb.Fatal(err)
		}
	}
	write(tb, dir+"bin/probe", selfImage(tb), 0o755)
	write(tb, dir+"bin/pause", pauseELF(), 0o755)
	if edit != nil {
		edit(dir)
	}
	return root
}

var ownImage []byte

func selfImage(tb testing.TB) []byte {
	if ownImage == nil {
		b, err := os.ReadFile("/proc/self/exe")
		if err != nil {
			tb.Fatal(err)
		}
		ownImage = b
	}
	return ownImage
}

func write(tb testing.TB, path string, data []byte, mode os.FileMode) {
	tb.Helper()
	if err := os.WriteFile(path, data, mode); err != nil {
		tb.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		tb.Fatal(err)
	}
}

const (
	attrRO      = unix.MOUNT_ATTR_RDONLY
	attrUsual   = unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC
	defaultCaps = 0xa80425fb // what Kubernetes leaves a container by default
)

// newPlan is a plan as Kubernetes has it, with all namespaces new but that
// of the network.
func newPlan(args ...string) *plan.Plan {
	return &plan.Plan{
		ID: "test",
		Namespaces: []plan.Namespace{
			{Type: unix.CLONE_NEWNS}, {Type: unix.CLONE_NEWPID}, {Type: unix.CLONE_NEWIPC},
			{Type: unix.CLONE_NEWUTS}, {Type: unix.CLONE_NEWCGROUP},
		},
		Hostname: "varve-test",
		Mounts: []plan.Mount{
			{Target: "/proc", Type: "proc", Source: "proc", AttrSet: attrUsual},
			{Target: "/dev", Type: "tmpfs", Source: "tmpfs", AttrSet: devAttr, Data: plan.StandardDevData()},
			{Target: "/dev/pts", Type: "devpts", Source: "devpts", AttrSet: ptsAttr, Data: plan.StandardPtsData()},
			{Target: "/dev/mqueue", Type: "mqueue", Source: "mqueue", AttrSet: attrUsual},
			{Target: "/sys", Type: "sysfs", Source: "sysfs", AttrSet: attrUsual | attrRO},
			{Target: "/dev/shm", Type: "tmpfs", Source: "shm", AttrSet: attrUsual, Data: []string{"mode=1777", "size=65536k"}},
		},
		Devices: plan.StandardDevices(),
		Links:   plan.StandardLinks(),
		Masked: []string{
			"/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
			"/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware",
			"/sys/devices/virtual/powercap",
		},
		Readonly: []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"},
		Process:  newProcess(args...),
	}
}

func newProcess(args ...string) plan.Process {
	return plan.Process{
		Args:  args,
		Env:   []string{"PATH=/usr/bin:/bin", "HOME=/root"},
		Cwd:   "/",
		Umask: -1,
		Caps:  plan.Caps{Bounding: defaultCaps, Effective: defaultCaps, Permitted: defaultCaps},
	}
}

// reap kills what is started and waits for it.
func reap(tb testing.TB, st *Started) {
	tb.Helper()
	_ = unix.PidfdSendSignal(int(st.PIDFD.Fd()), unix.SIGKILL, nil, 0)
	wait(tb, st)
}

// waited holds what has been waited for.
var waited = map[*Started]bool{}

// wait waits for the process and returns its exit code, or minus its signal.
func wait(tb testing.TB, st *Started) int {
	tb.Helper()
	var status unix.WaitStatus
	for {
		_, err := unix.Wait4(st.PID, &status, 0, nil)
		if err == nil {
			break
		}
		if err != unix.EINTR {
			tb.Fatal("wait:", err)
		}
	}
	waited[st] = true
	st.PIDFD.Close()
	if st.Console != nil {
		st.Console.Close()
	}
	if status.Signaled() {
		return -int(status.Signal())
	}
	return status.ExitStatus()
}
