package shim

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/runtime/plan"
)

// rootDir is the root file tree of all test containers: the test binary as
// /bin/probe, which is the payload. shimBinary is the shim under test. Both are
// in builtDir.
var builtDir, rootDir, shimBinary string

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "probe" {
		os.Exit(probe(os.Args[1:]))
	}
	// What a killed shim leaves comes to this process and not to init.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		fmt.Fprintln(os.Stderr, "become a subreaper:", err)
		os.Exit(1)
	}
	// A test that is run again as another process has all of its first one's.
	dir, err := os.Getenv("SHIM_TEST_BUILT"), error(nil)
	if dir != "" {
		use(dir)
	} else if dir, err = os.MkdirTemp("", "shim-test-"); err == nil {
		err = prepare(dir)
	}
	inherited := descriptorsNow()
	code := 1
	if err != nil {
		fmt.Fprintln(os.Stderr, "prepare:", err)
	} else {
		code = m.Run()
	}
	if left := census(inherited); code == 0 && left != "" {
		fmt.Fprintln(os.Stderr, "left behind:", left)
		code = 99
	}
	if os.Getenv("SHIM_TEST_BUILT") == "" {
		os.RemoveAll(dir)
	}
	os.Exit(code)
}

// use takes what prepare has made in dir.
func use(dir string) {
	builtDir, rootDir, shimBinary = dir, filepath.Join(dir, "root"), filepath.Join(dir, "varve-shim")
}

func prepare(dir string) error {
	use(dir)
	for _, d := range []string{"bin", "tmp", "proc", "dev"} {
		if err := os.MkdirAll(filepath.Join(rootDir, d), 0o755); err != nil {
			return err
		}
	}
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(rootDir, "bin/probe"), self, 0o755); err != nil {
		return err
	}
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", shimBinary, "github.com/varve-cri/varve/cmd/varve-shim")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	build.Stderr = os.Stderr
	return build.Run()
}

// census names what the tests have left behind: children, goroutines of this
// package, descriptors of sockets and pidfds. It gives them a moment to end.
func census(inherited map[string]bool) string {
	var left string
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		left = ""
		if pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); err != unix.ECHILD {
			left = fmt.Sprintf("child %d, %v; ", pid, err)
		}
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		if n := strings.Count(string(stacks), "varve/shim.") - 3; n > 0 { // this function, TestMain, main
			left += fmt.Sprintf("goroutines:\n%s", stacks)
		}
		for fd := range descriptorsNow() {
			if !inherited[fd] {
				left += fd + "; "
			}
		}
		if left == "" {
			return ""
		}
	}
	return left
}

// descriptorsNow lists the descriptors but for those that the Go runtime keeps.
func descriptorsNow() map[string]bool {
	all := map[string]bool{}
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		link, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err == nil && !strings.HasPrefix(link, "anon_inode:[event") {
			all[e.Name()+" -> "+link] = true
		}
	}
	return all
}

func newLauncher(tb testing.TB, spares int) *Launcher {
	tb.Helper()
	log := filepath.Join(tb.TempDir(), "shims.log")
	adj := -5
	l, err := NewLauncher(LauncherConfig{Binary: shimBinary, Spares: spares, LogPath: log, OOMScoreAdj: &adj})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		l.Close()
		if text, _ := os.ReadFile(log); len(text) > 0 {
			tb.Errorf("shims said: %s", text)
		}
	})
	return l
}

// patience is how long a test waits for what must come: on a machine with too much
// to do anything may take seconds.
const patience = time.Minute

// deadline is a context that ends with the test, or when patience does.
func deadline(tb testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	tb.Cleanup(cancel)
	return ctx
}

func newRoot(tb testing.TB) *os.File {
	tb.Helper()
	fd, err := unix.OpenTree(unix.AT_FDCWD, rootDir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		tb.Fatal("open_tree:", err)
	}
	f := os.NewFile(uintptr(fd), "root")
	tb.Cleanup(func() { f.Close() })
	return f
}

const testCaps = 0xa80425fb

func newProcess(args ...string) plan.Process {
	return plan.Process{
		Args: append([]string{"/bin/probe"}, args...),
		Env:  []string{"PATH=/bin", "GOMAXPROCS=2"}, Cwd: "/", Umask: -1,
		Caps: plan.Caps{Bounding: testCaps, Effective: testCaps, Permitted: testCaps},
	}
}

func newPlan(args ...string) *plan.Plan {
	return &plan.Plan{
		ID: "0123456789abcdef",
		Namespaces: []plan.Namespace{
			{Type: unix.CLONE_NEWNS}, {Type: unix.CLONE_NEWPID}, {Type: unix.CLONE_NEWIPC}, {Type: unix.CLONE_NEWUTS},
		},
		Mounts: []plan.Mount{
			{Target: "/proc", Type: "proc", Source: "proc"},
			{Target: "/dev", Type: "tmpfs", Source: "tmpfs", AttrSet: unix.MOUNT_ATTR_NOSUID, Data: plan.StandardDevData()},
			{Target: "/dev/pts", Type: "devpts", Source: "devpts", AttrSet: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NOEXEC, Data: plan.StandardPtsData()},
		},
		Devices: plan.StandardDevices(),
		Links:   plan.StandardLinks(),
		Process: newProcess(args...),
	}
}

// box is one container of a test.
type box struct {
	*Client
	tb  testing.TB
	dir string
	log string
	pid int
}

func newDir(tb testing.TB) string {
	tb.Helper()
	dir := filepath.Join(tb.TempDir(), strings.Repeat("deep", 32)) // longer than a socket's path may be
	if err := os.MkdirAll(dir, 0o700); err != nil {
		tb.Fatal(err)
	}
	return dir
}

// run starts a container; edit may change the request.
func run(tb testing.TB, l *Launcher, p *plan.Plan, edit func(*StartRequest)) *box {
	tb.Helper()
	b := &box{tb: tb, dir: newDir(tb)}
	b.log = filepath.Join(b.dir, "0.log")
	r := StartRequest{Dir: b.dir, Plan: p, Root: newRoot(tb), LogPath: b.log}
	if edit != nil {
		edit(&r)
	}
	var err error
	if b.Client, b.pid, err = l.Start(deadline(tb), r); err != nil {
		tb.Fatal("start:", err)
	}
	tb.Cleanup(func() {
		if c, err := Dial(deadline(tb), b.dir); err == nil {
			_ = c.Shutdown(deadline(tb))
			c.Close()
		}
		b.Close()
	})
	return b
}

// exited waits for the exit.
func (b *box) exited() Exit {
	b.tb.Helper()
	select {
	case <-b.Done():
	case <-time.After(patience):
		b.tb.Fatal("no exit")
	}
	e, ok := b.Exit()
	if !ok {
		b.tb.Fatal("exit unknown:", b.Err())
	}
	return e
}

// record is one record of a log file.
type record struct{ stream, tag, text string }

// readLog reads a log that nobody writes any more.
func readLog(tb testing.TB, path string) []record {
	tb.Helper()
	return parseLog(tb, string(logText(tb, path)))
}

// readSoFar reads the whole records of a log that is being written: of the last one
// there may be a part, because a write over the end of a page is seen in two.
func readSoFar(tb testing.TB, path string) []record {
	tb.Helper()
	text := logText(tb, path)
	return parseLog(tb, string(text[:bytes.LastIndexByte(text, '\n')+1]))
}

func logText(tb testing.TB, path string) []byte {
	tb.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	return text
}

func parseLog(tb testing.TB, text string) []record {
	tb.Helper()
	var all []record
	for line := range strings.Lines(text) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), " ", 4)
		if len(f) != 4 || !strings.HasSuffix(line, "\n") {
			tb.Fatalf("bad record %q", line)
		}
		if _, err := time.Parse(time.RFC3339Nano, f[0]); err != nil {
			tb.Fatal(err)
		}
		all = append(all, record{f[1], f[2], f[3]})
	}
	return all
}

// joined is what a stream wrote, by its records.
func joined(all []record, stream string) string {
	var b strings.Builder
	for _, r := range all {
		if r.stream != stream {
			continue
		}
		b.WriteString(r.text)
		if r.tag == "F" {
			b.WriteByte('\n')
		}
	}
	return b.String()
}

func until(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if ok() {
			return
		}
	}
	tb.Fatal("did not happen:", what)
}

var groups atomic.Int32

// newGroup makes a cgroup in the named hierarchy; "" is v2.
func newGroup(tb testing.TB, hierarchy string) string {
	tb.Helper()
	parent := "/sys/fs/cgroup/" + hierarchy
	if hierarchy == "" {
		parent = "/sys/fs/cgroup"
		if _, err := os.Stat(parent + "/unified/cgroup.procs"); err == nil {
			parent += "/unified"
		}
	}
	dir := fmt.Sprintf("%s/varve-shim-test-%d-%d", parent, os.Getpid(), groups.Add(1))
	if err := os.Mkdir(dir, 0o755); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		until(tb, "the removal of "+dir, func() bool {
			below, _ := filepath.Glob(dir + "/exec-*")
			for _, d := range below {
				_ = os.Remove(d)
			}
			return os.Remove(dir) == nil
		})
	})
	return dir
}
