package usage

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
)

// fake is a Meter of plain files.
func fake(t *testing.T, all []source, files map[string]string) *Meter {
	t.Helper()
	dir := t.TempDir()
	m := &Meter{layout: &layout{sources: all, dirs: func(string) func(string) string { return func(string) string { return dir } }}}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

const stalls = "some avg10=1.50 avg60=0.25 avg300=0.01 total=2000\nfull avg10=0.50 avg60=0.00 avg300=0.00 total=1000\n"

var parsed = PSI{Known: true, Some: Stall{1.5, 0.25, 0.01, 2000000}, Full: Stall{0.5, 0, 0, 1000000}}

func check(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\n got %+v\nwant %+v", what, got, want)
	}
}

func TestV2(t *testing.T) {
	m := fake(t, append(slices.Clone(v2Sources), pressure...), map[string]string{
		"cpu.stat":       "usage_usec 1234\nuser_usec 1\nsystem_usec 2\nnr_periods 9\nnr_throttled 2\nthrottled_usec 7\nnr_bursts 1\nburst_usec 3\n",
		"memory.current": "1000000\n", "memory.max": "2000000\n", "memory.peak": "1500000\n",
		"memory.stat": "anon 300\nfile 400\nkernel 5\nfile_mapped 6\nfile_dirty 7\nfile_writeback 8\ninactive_file 100000\nactive_file 9\n" +
			"workingset_refault_anon 1\nworkingset_refault_file 2\npgscan 3\npgsteal 4\npgfault 11\npgmajfault 3\n",
		"memory.events":       "low 0\nhigh 5\nmax 6\noom 1\noom_kill 2\n",
		"memory.swap.current": "4096\n", "memory.swap.max": "max\n",
		"pids.current": "3\n", "pids.max": "max\n",
		"io.stat":      "8:0 rbytes=100 wbytes=200 rios=1 wios=2 dbytes=50 dios=0\n8:16 rbytes=1 wbytes=2 rios=3 wios=4\n253:0 \n",
		"cpu.pressure": stalls,
	})
	u, err := m.Read("/g", Detail)
	if err != nil {
		t.Fatal(err)
	}
	check(t, "cpu", u.CPU, CPU{Total: 1234000, User: 1000, System: 2000, Periods: 9, ThrottledPeriods: 2, Throttled: 7000, BurstPeriods: 1, Burst: 3000, PSI: parsed})
	check(t, "memory", u.Memory, Memory{
		Usage: 1000000, WorkingSet: 900000, RSS: 300, Cache: 400, PageFaults: 11, MajorFaults: 3, Limit: 2000000, Swap: 4096, SwapLimit: Unlimited, SwapAccounts: true,
		Mapped: 6, Dirty: 7, Writeback: 8, ActiveFile: 9, InactiveFile: 100000, OwnFaults: 11, OwnMajorFaults: 3, RefaultAnon: 1, RefaultFile: 2,
		Scanned: 3, Reclaimed: 4, Kernel: 5, Peak: 1500000, HighEvents: 5, MaxEvents: 6, OOMs: 2,
	})
	check(t, "tasks", u.Tasks, Tasks{Current: 3, Limit: Unlimited})
	check(t, "io", u.IO.Devices, []Device{{8, 0, 100, 200, 50, 1, 2}, {8, 16, 1, 2, 0, 3, 4}})
}

func TestV1(t *testing.T) {
	m := fake(t, v1Sources, map[string]string{
		"cpuacct.usage": "99\n", "cpuacct.usage_user": "60\n", "cpuacct.usage_sys": "39\n",
		"cpu.stat":              "nr_periods 4\nnr_throttled 3\nthrottled_time 8\nnr_bursts 2\nburst_time 1\n",
		"memory.usage_in_bytes": "50\n", "memory.max_usage_in_bytes": "70\n", "memory.failcnt": "4\n", "memory.kmem.usage_in_bytes": "5\n",
		"memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
		"memory.stat": "rss 1\npgfault 7\npgmajfault 1\ntotal_mapped_file 3\ntotal_dirty 4\ntotal_writeback 5\ntotal_active_file 6\ntotal_pgfault 9\n" +
			"total_inactive_file 60\nhierarchical_memory_limit 100\nhierarchical_memsw_limit 150\n",
		"blkio.throttle.io_service_bytes_recursive": "8:0 Read 10\n8:0 Write 20\n8:0 Sync 1\n8:0 Discard 2\n8:0 Total 30\n8:16 Read 1\nTotal 31\n",
		"blkio.throttle.io_serviced_recursive":      "8:0 Read 3\n8:0 Write 4\nTotal 7\n",
		"pids.current":                              "2\n", "pids.max": "100\n",
	})
	u, err := m.Read("/g", Detail)
	if err != nil {
		t.Fatal(err)
	}
	check(t, "cpu", u.CPU, CPU{Total: 99, User: 60, System: 39, Periods: 4, ThrottledPeriods: 3, Throttled: 8, BurstPeriods: 2, Burst: 1})
	// More inactive pages than usage: the two are read at different times.
	check(t, "memory", u.Memory, Memory{
		Usage: 50, Limit: 100, SwapLimit: 50, Mapped: 3, Dirty: 4, Writeback: 5, ActiveFile: 6, InactiveFile: 60, PageFaults: 9, OwnFaults: 7, OwnMajorFaults: 1,
		Kernel: 5, Peak: 70, MaxEvents: 4, OOMs: 2,
	})
	check(t, "tasks", u.Tasks, Tasks{2, 100})
	check(t, "io", u.IO.Devices, []Device{{8, 0, 10, 20, 2, 3, 4}, {8, 16, 1, 0, 0, 0, 0}})
	if u, err = m.Read("/g", 0); err != nil || u.Tasks.Current != 0 || u.CPU.User != 0 || u.CPU.Total != 99 {
		t.Errorf("less was asked for: %+v, %v", u, err)
	}
	if u, err = m.Read("/g", Count); err != nil || u.Tasks != (Tasks{2, Unlimited}) || u.IO.Devices != nil {
		t.Errorf("the tasks were asked for: %+v, %v", u, err)
	}
}

func TestNothingThere(t *testing.T) {
	if _, err := fake(t, v2Sources, nil).Read("/g", Detail); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

// TestKeep keeps the files from the second reading on, as far as the budget goes,
// until Close.
func TestKeep(t *testing.T) {
	m := fake(t, v1Sources, map[string]string{"cpuacct.usage": "1\n", "memory.usage_in_bytes": "2\n", "pids.max": "3\n"})
	before := budget.open.Load()
	for i, want := range []int64{0, 2, 2} {
		if _, err := m.Read("/g", Detail); err != nil || budget.open.Load()-before != want {
			t.Errorf("after reading %d: %d files are open, %v", i+1, budget.open.Load()-before, err)
		}
	}
	if err := os.WriteFile(m.layout.dirs("")("")+"/cpuacct.usage", []byte("77\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if u, err := m.Read("/g", 0); err != nil || u.CPU.Total != 77 {
		t.Errorf("a file that is open is not read anew: %+v, %v", u, err)
	}
	m.Close()
	m.Close()
	if budget.open.Load() != before {
		t.Errorf("%d files are open after Close", budget.open.Load()-before)
	}
	for range 3 {
		if _, err := m.Read("/g", 0); err != nil || budget.open.Load() != before {
			t.Errorf("after Close files are kept: %v", err)
		}
	}
}

func TestBudget(t *testing.T) {
	a := allowance{limit: func() int64 { return 2 }}
	for i, want := range []bool{true, true, false} {
		if a.take() != want {
			t.Errorf("file %d", i+1)
		}
	}
	if a.give(); !a.take() {
		t.Error("what is given back can be taken")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(stalls))
	f.Add([]byte("8:0 Read 10\nTotal 31\n"))
	f.Add([]byte("8:0 rbytes=100 wbytes=200\n253:0 \n"))
	f.Fuzz(func(_ *testing.T, text []byte) {
		var u Usage
		for _, s := range slices.Concat(v1Sources, v2Sources, pressure, hugeSources(true), hugeSources(false)) {
			s.parse(text, &u)
		}
	})
}
