package cgroup

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/cgroups"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

const childEnv = "VARVE_CGROUP_TEST"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		child()
	}
	os.Exit(m.Run())
}

// child obeys one line of its input: it takes memory, forks, opens a device, or waits.
func child() {
	fmt.Println("ready")
	line, _ := bufio.NewReader(os.Stdin).ReadString('\n')
	switch verb, arg, _ := strings.Cut(strings.TrimSpace(line), " "); verb {
	case "eat":
		b := make([]byte, 64<<20)
		for i := range b {
			b[i] = 1
		}
	case "open":
		f, err := os.OpenFile(arg, os.O_RDONLY|unix.O_NONBLOCK, 0)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		f.Close()
		os.Exit(0)
	case "busy": // and large enough for the kernel to bring its statistics up to date
		if _, err := unix.Mmap(-1, 0, 24<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_POPULATE); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		var used unix.Rusage
		for used.Utime.Nano() < 50e6 {
			_ = unix.Getrusage(unix.RUSAGE_SELF, &used)
		}
		fmt.Println("done")
	}
	_, _ = io.Copy(io.Discard, os.Stdin) // until it is killed, or the test has died
	os.Exit(0)
}

// process is a child in a group.
type process struct {
	*exec.Cmd
	in  *os.File
	out *bufio.Reader
}

// join starts a child and puts it into g, as a shim would; only into those
// hierarchies that keep admits.
func join(t testing.TB, g *Group, keep func(dir string) bool) *process {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), childEnv+"=1", "GOMAXPROCS=1")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd.Stdin = r
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{cmd, w, bufio.NewReader(out)}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait(); w.Close() })
	p.line(t)
	for _, dir := range g.dirs() {
		if keep == nil || keep(dir) {
			if err := writeFile(dir, "cgroup.procs", fmt.Sprint(cmd.Process.Pid)); err != nil {
				t.Fatal(err)
			}
		}
	}
	return p
}

func (p *process) line(t testing.TB) string {
	t.Helper()
	line, err := p.out.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return line
}

func (p *process) say(line string) { fmt.Fprintln(p.in, line) }

var counter atomic.Int32

// name gives a fresh group name, whose groups are gone after the test.
func name(t testing.TB) string {
	n := fmt.Sprintf("/varve-test-%d-%d", os.Getpid(), counter.Add(1))
	t.Cleanup(func() {
		g := Open(n)
		if err := errors.Join(g.Kill(), g.Remove()); err != nil {
			t.Error(err)
		}
		if g.Exists() {
			t.Errorf("%s is left", n)
		}
	})
	return n
}

func ptr[T any](v T) *T { return &v }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// has says whether this host has a controller, in whichever hierarchy.
func has(controller string) bool {
	_, v1 := theHost().v1Index[controller]
	return v1 || slices.Contains(theHost().v2Controllers, controller)
}

// told is what Limits makes of shares: a weight of v2 stands for several.
func told(shares uint64) uint64 {
	if Detect() == V2 {
		return sharesOf(cgroups.ConvertCPUSharesToCgroupV2Value(shares))
	}
	return shares
}

func resources() *specs.LinuxResources {
	r := allResources()
	if !has("cpuset") {
		r.CPU.Cpus = ""
	}
	return r
}

func allResources() *specs.LinuxResources {
	return &specs.LinuxResources{
		CPU:            &specs.LinuxCPU{Shares: ptr(uint64(512)), Quota: ptr(int64(50000)), Period: ptr(uint64(100000)), Cpus: "0"},
		Memory:         &specs.LinuxMemory{Limit: ptr(int64(64 << 20)), Swap: ptr(int64(64 << 20))},
		Pids:           &specs.LinuxPids{Limit: ptr(int64(100))},
		HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "2MB", Limit: 0}},
	}
}

func TestCreateSetRemove(t *testing.T) {
	g, err := Create(name(t), resources())
	must(t, err)
	for _, dir := range g.dirs() {
		if _, err := os.Stat(dir); err != nil {
			t.Error(err)
		}
	}
	l, err := g.Limits()
	must(t, err)
	if l.CPUShares != told(512) || l.CPUQuota != 50000 || l.CPUPeriod != 100000 || has("cpuset") && l.CpusetCpus != "0" || l.Memory != 64<<20 || l.MemorySwap != 64<<20 || l.Pids != 100 {
		t.Errorf("%+v", l)
	}
	must(t, g.Set(&specs.LinuxResources{
		CPU:    &specs.LinuxCPU{Quota: ptr(int64(-1))},
		Memory: &specs.LinuxMemory{Limit: ptr(int64(128 << 20)), Swap: ptr(int64(256 << 20))},
		Pids:   &specs.LinuxPids{Limit: ptr(int64(-1))},
	}))
	must(t, g.Set(&specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr(int64(32 << 20)), Swap: ptr(int64(32 << 20))}}))
	if l, err = g.Limits(); err != nil || l.CPUShares != told(512) || l.CPUQuota != -1 || l.Memory != 32<<20 || l.MemorySwap != 32<<20 || l.Pids != Unlimited {
		t.Errorf("%+v, %v", l, err)
	}
	_, err = Create(g.Path(), resources())
	must(t, err)
	must(t, g.Remove())
	must(t, g.Remove())
	if g.Exists() {
		t.Error("it is still there")
	}
	if _, err := g.Limits(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("limits of a group that is gone: %v", err)
	}
	if err := g.Kill(); err != nil {
		t.Errorf("kill a group that is gone: %v", err)
	}
}

func TestHugetlbLimit(t *testing.T) {
	g, err := Create(name(t)+"/pod/ctr", &specs.LinuxResources{HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "2MB", Limit: 4 << 20}}})
	if !has("hugetlb") {
		if !errors.Is(err, ErrNoController) || !strings.Contains(err.Error(), "hugetlb.2MB") {
			t.Errorf("without the controller: %v", err)
		}
		return
	}
	must(t, err)
	dir, file := g.v1Dir("hugetlb"), "hugetlb.2MB.limit_in_bytes"
	if dir == "" {
		dir, file = g.V2Path(), "hugetlb.2MB.max"
	}
	if v, err := readFile(dir, file); err != nil || v != fmt.Sprint(4<<20) {
		t.Errorf("limit %q, %v", v, err)
	}
}

func TestSetRollsBack(t *testing.T) {
	g, err := Create(name(t), resources())
	must(t, err)
	before, err := g.Limits()
	must(t, err)
	err = g.Set(&specs.LinuxResources{
		CPU:    &specs.LinuxCPU{Shares: ptr(uint64(2048)), Quota: ptr(int64(1)), Cpus: resources().CPU.Cpus}, // the kernel's least quota is 1000
		Memory: &specs.LinuxMemory{Limit: ptr(int64(512 << 20)), Swap: ptr(int64(1 << 30))},
	})
	if err == nil || !errors.Is(err, unix.EINVAL) || !strings.Contains(err.Error(), g.Path()) {
		t.Fatalf("a quota of 1: %v", err)
	}
	after, err := g.Limits()
	must(t, err)
	if fmt.Sprint(*before) != fmt.Sprint(*after) {
		t.Errorf("before %+v\nafter %+v", before, after)
	}
}

func TestCreateUndoesItself(t *testing.T) {
	n := name(t)
	_, err := Create(n+"/pod/ctr", &specs.LinuxResources{CPU: &specs.LinuxCPU{Cpus: "4000"}})
	if err == nil || !strings.Contains(err.Error(), "cpuset") {
		t.Errorf("processor 4000: %v", err)
	}
	if Open(n).Exists() {
		t.Error("a parent is left behind")
	}
}

func TestMissingControllers(t *testing.T) {
	if Detect() == V2 {
		t.Log("a v2 host; the v1 errors are tested on fakes")
		return
	}
	_, err := Create(name(t), &specs.LinuxResources{Unified: map[string]string{"memory.high": "1"}})
	if !errors.Is(err, ErrNoController) {
		t.Errorf("unified: %v", err)
	}
	g, err := Create(name(t), nil)
	must(t, err)
	g.host = &host{mode: V1, v1Index: map[string]int{}}
	if err := g.Set(resources()); !errors.Is(err, ErrNoController) || !strings.Contains(err.Error(), "set cpuset") {
		t.Errorf("no cpuset: %v", err)
	}
	hugepages := func(limit uint64) *specs.LinuxResources {
		return &specs.LinuxResources{HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "2MB", Limit: limit}}}
	}
	if err := g.Set(hugepages(0)); err != nil {
		t.Errorf("hugetlb 0 without the controller: %v", err)
	}
	if err := g.Set(hugepages(1)); !errors.Is(err, ErrNoController) {
		t.Errorf("hugetlb 1 without the controller: %v", err)
	}
}

func TestDevices(t *testing.T) {
	open := func(t *testing.T, rules []specs.LinuxDeviceCgroup, path string) bool {
		g, err := Create(name(t), &specs.LinuxResources{Devices: rules})
		must(t, err)
		p := join(t, g, nil)
		p.say("open " + path)
		return p.Wait() == nil
	}
	deny := []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}}
	mem := specs.LinuxDeviceCgroup{Allow: true, Type: "c", Major: ptr(int64(1)), Minor: ptr(int64(1)), Access: "r"}
	null, kmem := "/dev/null", "/dev/kmsg" // c 1:3 is allowed by default, c 1:11 is not
	kmsg := mem
	kmsg.Minor = ptr(int64(11))
	for i, tc := range []struct {
		rules []specs.LinuxDeviceCgroup
		path  string
		want  bool
	}{
		{nil, null, true}, {nil, kmem, false}, {deny, null, true}, {deny, kmem, false},
		{append(deny, kmsg), kmem, true}, {[]specs.LinuxDeviceCgroup{mem}, kmem, false},
		{[]specs.LinuxDeviceCgroup{{Allow: true}}, kmem, true},
	} {
		if got := open(t, tc.rules, tc.path); got != tc.want {
			t.Errorf("%d: open %s: %v", i, tc.path, got)
		}
	}
	g, err := Create(name(t), &specs.LinuxResources{})
	must(t, err)
	if dir := g.v1Dir("devices"); dir != "" {
		list, err := readFile(dir, "devices.list")
		must(t, err)
		if strings.Contains(list, "c 1:1 ") || strings.HasPrefix(list, "a") {
			t.Errorf("devices.list: %s", list)
		}
	}
}

// The rules of nearly every container go into a fresh group the short way, and
// say the same there.
func TestUsualDevicesAreOnlyAllowed(t *testing.T) {
	rules := deviceRules(usualDevices())
	if !onlyAllows(rules) {
		t.Errorf("not only allowed: %+v", rules)
	}
	forbidden := append(usualDevices(), specs.LinuxDeviceCgroup{Allow: false, Type: "c", Major: ptr(int64(1)), Minor: ptr(int64(3)), Access: "rwm"})
	if onlyAllows(deviceRules(forbidden)) {
		t.Error("one that denies passes as one that only allows")
	}
	g, err := Create(name(t), &specs.LinuxResources{Devices: usualDevices()})
	must(t, err)
	dir := g.v1Dir("devices")
	if dir == "" {
		return // cgroup v2 has a program, which TestDevices tries
	}
	list, err := readFile(dir, "devices.list")
	must(t, err)
	got := strings.Split(list, "\n")
	slices.Sort(got)
	want := []string{
		"b *:* m", "c *:* m", "c 136:* rwm", "c 1:3 rwm", "c 1:5 rwm", "c 1:7 rwm", "c 1:8 rwm", "c 1:9 rwm", "c 5:0 rwm", "c 5:1 rwm", "c 5:2 rwm",
	}
	if !slices.Equal(got, want) {
		t.Errorf("devices.list: %q", got)
	}
}

func TestOOM(t *testing.T) {
	g, err := Create(name(t), &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr(int64(20 << 20)), Swap: ptr(int64(20 << 20))}})
	must(t, err)
	if n, err := g.OOMKills(); n != 0 || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
	p := join(t, g, nil)
	p.say("eat")
	err = p.Wait()
	if ws, ok := p.ProcessState.Sys().(interface{ Signal() unix.Signal }); !ok || ws.Signal() != unix.SIGKILL {
		t.Errorf("the process: %v", err)
	}
	if n, err := g.OOMKills(); n == 0 || err != nil {
		t.Errorf("%d kills, %v", n, err)
	}
	if limit, own, err := g.OOMLimit(); limit != 20<<20 || !own || err != nil {
		t.Errorf("limit %d, its own: %v, %v", limit, own, err)
	}
	above, err := Create(name(t), &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr(int64(20 << 20)), Swap: ptr(int64(20 << 20))}})
	must(t, err)
	below, err := Create(above.Path()+"/ctr", &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr(int64(40 << 20)), Swap: ptr(int64(40 << 20))}})
	must(t, err)
	p = join(t, below, nil)
	p.say("eat")
	_ = p.Wait()
	if n, err := below.OOMKills(); n == 0 || err != nil {
		t.Errorf("%d kills, %v", n, err)
	}
	if limit, own, err := below.OOMLimit(); limit != 40<<20 || own || err != nil {
		t.Errorf("limit %d, its own: %v, %v", limit, own, err)
	}
	if text, err := os.ReadFile(g.OOMEventsPath()); err != nil || !strings.Contains(string(text), "oom_kill ") {
		t.Errorf("%s: %q, %v", g.OOMEventsPath(), text, err)
	}
}

func TestKillFreezePids(t *testing.T) {
	v1Only := func(dir string) bool { return !strings.Contains(dir, "/unified/") }
	for how, keep := range map[string]func(string) bool{"all": nil, "v1 only": v1Only} {
		if Detect() == V2 && keep != nil {
			continue
		}
		g, err := Create(name(t), nil)
		must(t, err)
		a := join(t, g, keep)
		below, err := Create(g.Path()+"/exec", nil)
		must(t, err)
		b := join(t, below, keep)
		pids, err := g.Pids()
		must(t, err)
		if len(pids) != 2 {
			t.Errorf("%s: pids %v", how, pids)
		}
		if keep == nil {
			must(t, g.Freeze(true))
			must(t, g.Freeze(false))
			must(t, g.Freeze(true)) // a frozen group can be killed too
		}
		must(t, g.Kill())
		for _, p := range []*process{a, b} {
			if err := p.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
				t.Errorf("%s: %v", how, err)
			}
		}
		must(t, g.Remove())
	}
}

func TestRemoveWithProcesses(t *testing.T) {
	g, err := Create(name(t), nil)
	must(t, err)
	p := join(t, g, nil)
	err = g.Remove()
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("(1 processes, first %d)", p.Process.Pid)) {
		t.Errorf("remove a group in use: %v", err)
	}
	// One that is on its way out is waited for, however long it is not run.
	must(t, p.Process.Kill())
	must(t, g.removeBy(time.Now().Add(time.Minute)))
}

func TestRootIsRefused(t *testing.T) {
	for _, n := range []string{"", "/", "..", "/../..", "."} {
		g := Open(n)
		_, create := Create(n, nil)
		_, pids := g.Pids()
		for what, err := range map[string]error{"create": create, "pids": pids, "kill": g.Kill(), "remove": g.Remove(), "freeze": g.Freeze(true), "set": g.Set(nil), "ensure": ensureParents(n)} {
			if !errors.Is(err, errRoot) {
				t.Errorf("%s %q: %v", what, n, err)
			}
		}
	}
	if g := Open("/../../etc"); g.Path() != "/etc" || !strings.HasPrefix(g.dirs()[0], defaultRoot) {
		t.Errorf("%s %v", g.Path(), g.dirs())
	}
}

func TestParents(t *testing.T) {
	top := name(t)
	stranger := Open(top)
	for _, dir := range stranger.dirs() {
		must(t, os.Mkdir(dir, 0o755)) // as a kubelet would
	}
	must(t, ensureParents(top+"/a/b"))
	must(t, ensureParents(top+"/a/b"))
	g, err := Create(top+"/a/b/ctr", resources())
	must(t, err)
	must(t, RemoveParents(top+"/a/b")) // in use: nothing happens
	if !Open(top+"/a/b").Exists() || !g.Exists() {
		t.Fatal("a parent in use was removed")
	}
	must(t, g.Remove())
	if !Open(top + "/a/b").Exists() {
		t.Fatal("Remove took the parent along")
	}
	must(t, RemoveParents(top+"/a/b"))
	if Open(top+"/a").Exists() || !stranger.Exists() {
		t.Errorf("varve's own left: %v; the stranger's left: %v", Open(top+"/a").Exists(), stranger.Exists())
	}
}

// TestParentsRace makes and removes pods under one parent at the same time.
func TestParentsRace(t *testing.T) {
	top := name(t)
	errs := make(chan error)
	for i := range 4 {
		go func() {
			for j := range 20 {
				pod := fmt.Sprintf("%s/shared/%d-%d", top, i, j)
				err := ensureParents(pod)
				if err == nil {
					err = RemoveParents(pod)
				}
				if err != nil {
					errs <- err
					return
				}
			}
			errs <- nil
		}()
	}
	for range 4 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}
