package cgroup

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// A daemon that ends in the middle of an update leaves what it has saved in a
// file; the next one writes it back.
func TestSavedLimitsOutliveTheProcess(t *testing.T) {
	g, err := Create(name(t), resources())
	must(t, err)
	before, err := g.Limits()
	must(t, err)
	res := &specs.LinuxResources{
		CPU:    &specs.LinuxCPU{Shares: ptr(uint64(64)), Quota: ptr(int64(-1)), Period: ptr(uint64(50000))},
		Memory: &specs.LinuxMemory{Limit: ptr(int64(256 << 20)), Swap: ptr(int64(512 << 20))},
	}
	if has("hugetlb") {
		res.HugepageLimits = []specs.LinuxHugepageLimit{{Pagesize: "2MB", Limit: 8 << 20}}
	}
	saved, err := g.Save(res)
	must(t, err)
	must(t, g.Set(res))
	text, err := json.Marshal(saved)
	must(t, err)
	var read Saved
	must(t, json.Unmarshal(text, &read))
	must(t, Open(g.Path()).Restore(read))
	after, err := g.Limits()
	must(t, err)
	if fmt.Sprint(*before) != fmt.Sprint(*after) {
		t.Errorf("before %+v\nafter %+v", before, after)
	}
	if v, err := readFile(g.v2, "hugetlb.2MB.max"); slices.Contains(UnifiedControllers(), "hugetlb") && (v != "0" || err != nil) {
		t.Errorf("hugetlb.2MB.max: %q, %v", v, err)
	}
	must(t, g.Remove())
	must(t, g.Restore(read)) // nothing is there any more
}

func TestMemoryBelowUse(t *testing.T) {
	g, err := Create(name(t), resources())
	must(t, err)
	p := join(t, g, nil)
	p.say("busy") // with 24 MiB
	p.line(t)
	err = g.Set(&specs.LinuxResources{
		CPU:    &specs.LinuxCPU{Shares: ptr(uint64(64))},
		Memory: &specs.LinuxMemory{Limit: ptr(int64(8 << 20)), Swap: ptr(int64(8 << 20))},
	})
	var low *InUseError
	if !errors.As(err, &low) || low.Limit != 8<<20 || low.Usage < 20<<20 || !errors.Is(err, unix.EBUSY) {
		t.Fatalf("a limit of 8 MiB for 24: %v", err)
	}
	if !strings.Contains(err.Error(), "the limit 8388608 is below the ") || !strings.Contains(err.Error(), g.Path()) {
		t.Error(err)
	}
	if l, err := g.Limits(); err != nil || l.Memory != 64<<20 || l.MemorySwap != 64<<20 || l.CPUShares != told(512) {
		t.Errorf("%+v, %v", l, err)
	}
	if n, err := g.OOMKills(); n != 0 || err != nil || p.Process.Signal(unix.Signal(0)) != nil {
		t.Errorf("%d processes were killed, %v", n, err)
	}
	// What can be freed is no obstacle: page cache of a file that was read.
	must(t, g.Set(&specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr(int64(48 << 20)), Swap: ptr(int64(48 << 20))}}))
}

// On v2 the kernel would kill; the limit must not even be written.
func TestMemoryBelowUseOnV2(t *testing.T) {
	g := fake(t, V2, map[string]string{"memory.current": "9000000\n", "memory.max": "max\n", "memory.reclaim": "", "cgroup.controllers": "memory\n"})
	err := g.Set(&specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr(int64(8000000))}})
	var low *InUseError
	if !errors.As(err, &low) || *low != (InUseError{Limit: 8000000, Usage: 9000000}) {
		t.Errorf("got %v", err)
	}
	for file, want := range map[string]string{"memory.max": "max", "memory.reclaim": "1000000"} {
		if got, err := readFile(g.v2, file); err != nil || got != want {
			t.Errorf("%s is %q, %v", file, got, err)
		}
	}
	// Nor when old limits are put back.
	err = g.Restore(Saved{{File: "memory.max", Value: "7000000"}})
	if !errors.As(err, &low) || low.Limit != 7000000 {
		t.Errorf("restore: %v", err)
	}
}

func TestUnifiedKeysOfThisHost(t *testing.T) {
	have := UnifiedControllers()
	limit := "hugetlb.2MB.max"
	if !slices.Contains(have, "hugetlb") {
		limit = "memory.max" // a v2 host
	}
	set := func(key, value string) *specs.LinuxResources {
		return &specs.LinuxResources{Unified: map[string]string{key: value}}
	}
	g, err := Create(name(t)+"/pod/ctr", set(limit, "6291456"))
	must(t, err)
	check := func(want string) {
		t.Helper()
		if v, err := readFile(g.v2, limit); v != want || err != nil {
			t.Errorf("%s is %q, want %q; %v", limit, v, want, err)
		}
	}
	check("6291456")
	must(t, g.Set(set(limit, "max")))
	check("max")
	both := set(limit, "0")
	nonsense := strings.TrimSuffix(limit, "max") + "nonsense"
	both.Unified[nonsense] = "1"
	if err := g.Set(both); err == nil || !strings.Contains(err.Error(), nonsense) {
		t.Errorf("a file that is not there: %v", err)
	}
	check("max")
	for key, words := range map[string]string{
		"memory.reclaim": "is not a limit", "nosuch.max": "nosuch is not in the v2 hierarchy",
	} {
		if err := g.Set(set(key, "1")); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v", key, err)
		}
	}
	if slices.Contains(have, "memory") {
		must(t, g.Set(set("memory.high", "104857600")))
		return
	}
	if err := g.Set(set("memory.high", "104857600")); !errors.Is(err, ErrNoController) || !strings.Contains(err.Error(), `"memory.high": this host's cgroups are hybrid`) {
		t.Errorf("memory.high: %v", err)
	}
}

func TestSetOOMScoreAdj(t *testing.T) {
	g, err := Create(name(t), nil)
	must(t, err)
	below, err := Create(g.Path()+"/exec", nil)
	must(t, err)
	other, err := Create(g.Path()+"/other", nil) // on v2 a group with groups below has no processes itself
	must(t, err)
	a, b := join(t, other, nil), join(t, below, nil)
	own, err := os.ReadFile("/proc/self/oom_score_adj")
	must(t, err)
	var was int
	if _, err := fmt.Sscan(string(own), &was); err != nil {
		t.Fatal(err)
	}
	willful := join(t, below, nil)
	must(t, os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", willful.Process.Pid), []byte("999"), 0))
	must(t, g.SetOOMScoreAdj(was, 700))
	if text, err := os.ReadFile(fmt.Sprintf("/proc/%d/oom_score_adj", willful.Process.Pid)); err != nil || strings.TrimSpace(string(text)) != "999" {
		t.Errorf("one that had chosen its own: %q, %v", text, err)
	}
	for _, p := range []*process{a, b} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/oom_score_adj", p.Process.Pid))
		if err != nil || strings.TrimSpace(string(text)) != "700" {
			t.Errorf("%q, %v", text, err)
		}
	}
	if text, _ := os.ReadFile("/proc/self/oom_score_adj"); strings.TrimSpace(string(text)) == "700" {
		t.Error("a process of another group was changed")
	}
	if err := g.SetOOMScoreAdj(700, 2000); err == nil || !strings.Contains(err.Error(), "oom_score_adj of process") {
		t.Errorf("2000: %v", err)
	}
	must(t, Open(name(t)).SetOOMScoreAdj(0, 1)) // no such group, no process
}
