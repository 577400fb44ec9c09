package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/runtime/internal/flat"
)

// fake is a group of a host of another mode, with plain files.
func fake(t *testing.T, mode Mode, files map[string]string) *Group {
	t.Helper()
	root := t.TempDir()
	h := &host{mode: mode, v1Index: map[string]int{}}
	if mode == V2 {
		h.v2 = root
	} else {
		for i, c := range []string{"cpu", "cpuacct", "cpuset", "memory", "pids", "blkio"} {
			h.v1 = append(h.v1, hierarchy{filepath.Join(root, c), []string{c}})
			h.v1Index[c] = i
		}
	}
	g := h.open("/g")
	for name, text := range files {
		dir := g.v2
		if mode != V2 {
			dir = g.v1Dir(strings.SplitN(name, ".", 2)[0])
		}
		if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(dir+"/"+name, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	return g
}

func TestLimitsV2(t *testing.T) {
	g := fake(t, V2, map[string]string{
		"cpu.weight": "39\n", "cpu.max": "50000 100000\n", "cpuset.cpus": "0-3\n", "cpuset.mems": "\n", "memory.max": "1000\n", "memory.swap.max": "500\n",
		"pids.max": "7\n", "memory.high": "900\n", "memory.low": "0\n", "memory.min": "0\n",
	})
	l, err := g.Limits()
	must(t, err)
	want := Limits{CPUShares: l.CPUShares, CPUQuota: 50000, CPUPeriod: 100000, CpusetCpus: "0-3", Memory: 1000, MemorySwap: 1500, Pids: 7, Unified: map[string]string{"memory.high": "900"}}
	if fmt.Sprint(*l) != fmt.Sprint(want) {
		t.Errorf("%+v", l)
	}
	for _, weight := range []uint64{1, 39, 59, 100, 170, 10000} {
		r, err := g.convert(&specs.LinuxResources{CPU: &specs.LinuxCPU{Shares: ptr(sharesOf(weight))}})
		if err != nil || r.CpuWeight < weight || r.CpuWeight > weight+weight/50 {
			t.Errorf("weight %d became shares %d and weight %d, %v", weight, sharesOf(weight), r.CpuWeight, err)
		}
	}
	g = fake(t, V2, map[string]string{"cpu.max": "max 100000\n", "memory.max": "max\n"})
	if l, err = g.Limits(); err != nil || l.CPUQuota != -1 || l.Memory != Unlimited || l.MemorySwap != Unlimited || l.CPUShares != 0 {
		t.Errorf("%+v, %v", l, err)
	}
}

func TestConvertErrors(t *testing.T) {
	g := fake(t, V2, nil)
	for want, res := range map[string]*specs.LinuxResources{
		`unified: "cgroup.kill" is not a limit`:          {Unified: map[string]string{"cgroup.kill": "1"}},
		`unified: "../memory.max" is not of the form`:    {Unified: map[string]string{"../memory.max": "max"}},
		`unified: "memory" is not of the form`:           {Unified: map[string]string{"memory": "max"}},
		"memory.limit: -2 is not a size":                 {Memory: &specs.LinuxMemory{Limit: ptr(int64(-2))}},
		"memory.swap: memory and swap together are less": {Memory: &specs.LinuxMemory{Limit: ptr(int64(2)), Swap: ptr(int64(1))}},
		`hugepageLimits[0].pageSize: "../x" is not`:      {HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "../x"}}},
	} {
		if _, err := g.convert(res); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// unified is a group of this host's v2 hierarchy alone, handled as on a v2
// host: nearly everything but the controllers' limits is there on a hybrid
// host too.
func unified(t *testing.T) *host {
	t.Helper()
	real := theHost()
	if real.v2 == "" {
		t.Fatal("this host has no v2 hierarchy")
	}
	return &host{mode: V2, v1Index: map[string]int{}, v2: real.v2, v2Controllers: real.v2Controllers}
}

func TestUnifiedOnTheKernel(t *testing.T) {
	n := name(t)
	g := unified(t).open(n + "/ctr")
	var m made
	must(t, m.group(g))
	must(t, g.restrict(deviceRules([]specs.LinuxDeviceCgroup{{Allow: false}}), m))
	allowed, refused, killed := join(t, g, nil), join(t, g, nil), join(t, g, nil)
	if allowed.say("open /dev/null"); allowed.Wait() != nil {
		t.Error("/dev/null is refused")
	}
	if refused.say("open /dev/kmsg"); refused.Wait() == nil {
		t.Error("/dev/kmsg is allowed")
	}
	must(t, g.Freeze(true))
	must(t, g.Kill())
	if err := killed.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Error(err)
	}
	must(t, g.Remove())
}

func TestUnifiedLimits(t *testing.T) {
	g := unified(t).open(name(t) + "/pod/ctr")
	var m made
	must(t, m.group(g))
	if !has("hugetlb") {
		if err := g.Set(&specs.LinuxResources{HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "2MB", Limit: 2 << 20}}}); !errors.Is(err, ErrNoController) {
			t.Errorf("without the controller: %v", err)
		}
		return
	}
	if err := g.Set(&specs.LinuxResources{HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "2MB", Limit: 2 << 20}}}); err != nil {
		t.Error(err)
	}
	if v, err := readFile(g.v2, "hugetlb.2MB.max"); v != fmt.Sprint(2<<20) || err != nil {
		t.Errorf("%q, %v", v, err)
	}
	if unix.Access(g.v2+"/memory.max", unix.F_OK) == nil {
		return // a host with the controllers has no error to show
	}
	err := g.Set(&specs.LinuxResources{
		Memory:         &specs.LinuxMemory{Limit: ptr(int64(1 << 30))},
		HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "2MB", Limit: 4 << 20}},
	})
	if !errors.Is(err, ErrNoController) || !strings.Contains(err.Error(), "memory.max") {
		t.Errorf("memory: %v", err)
	}
	err = g.Set(&specs.LinuxResources{
		HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "2MB", Limit: 4 << 20}},
		Unified:        map[string]string{"memory.high": "1"},
	})
	if !errors.Is(err, ErrNoController) && (err == nil || !strings.Contains(err.Error(), "not available")) {
		t.Errorf("unified: %v", err)
	}
	if v, err := readFile(g.v2, "hugetlb.2MB.max"); v != fmt.Sprint(2<<20) || err != nil {
		t.Errorf("the update was not taken back: %q, %v", v, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("nr_periods 0\nthrottled_time 8\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		flat.Fields(text, func(string, uint64) {})
		quota(text)
	})
}
