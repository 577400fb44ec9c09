package shim

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/varve-cri/varve/runtime/plan"
)

// BenchmarkStart is the time from a request to the answer with a spare that
// waits: shim, space, pipes, log, lock and socket of a container.
func BenchmarkStart(b *testing.B) {
	l := newLauncher(b, 4)
	b.StopTimer()
	for range b.N {
		until(b, "spares", func() bool { return l.Waiting() == 4 })
		dir := b.TempDir()
		r := StartRequest{Dir: dir, Plan: newPlan("sleep"), Root: newRoot(b), LogPath: dir + "/0.log"}
		b.StartTimer()
		c, _, err := l.Start(deadline(b), r)
		b.StopTimer()
		if err != nil {
			b.Fatal(err)
		}
		if err := c.Shutdown(deadline(b)); err != nil {
			b.Fatal(err)
		}
		c.Close()
	}
}

// BenchmarkStop is the time from SIGKILL to the exit that is known.
func BenchmarkStop(b *testing.B) {
	l := newLauncher(b, 1)
	b.StopTimer()
	for range b.N {
		box := run(b, l, newPlan("sleep"), nil)
		b.StartTimer()
		if err := box.Signal(deadline(b), 9); err != nil {
			b.Fatal(err)
		}
		box.exited()
		b.StopTimer()
	}
}

// benchExec measures execs of a program that exits at once: until the answer
// or until the exit is known.
func benchExec(b *testing.B, p *plan.Plan, wait bool) {
	l := newLauncher(b, 1)
	box := run(b, l, p, nil)
	proc := newProcess("exit", "0")
	b.ResetTimer()
	for range b.N {
		ex, err := box.Exec(deadline(b), ExecRequest{Process: &proc})
		if err != nil {
			b.Fatal(err)
		}
		if !wait {
			b.StopTimer()
		}
		if _, err := ex.Wait(deadline(b)); err != nil {
			b.Fatal(err)
		}
		if !wait {
			b.StartTimer()
		}
	}
}

func BenchmarkExecAnswer(b *testing.B) { benchExec(b, newPlan("sleep"), false) }

func BenchmarkExecExit(b *testing.B) { benchExec(b, newPlan("sleep"), true) }

func BenchmarkExecExitWithGroup(b *testing.B) {
	p := newPlan("sleep")
	p.Cgroup.V2 = newGroup(b, "")
	benchExec(b, p, true)
}

func BenchmarkState(b *testing.B) {
	l := newLauncher(b, 1)
	box := run(b, l, newPlan("sleep"), nil)
	b.ResetTimer()
	for range b.N {
		if _, err := box.State(deadline(b)); err != nil {
			b.Fatal(err)
		}
	}
}

// smaps adds up a process's memory in KiB.
func smaps(tb testing.TB, pid int) map[string]int {
	tb.Helper()
	text, err := os.ReadFile("/proc/" + itoa(pid) + "/smaps_rollup")
	if err != nil {
		tb.Fatal(err)
	}
	sum := map[string]int{}
	for line := range bytes.Lines(text) {
		f := strings.Fields(string(line))
		if len(f) == 3 {
			sum[strings.TrimSuffix(f[0], ":")], _ = strconv.Atoi(f[1])
		}
	}
	return sum
}

// eventually waits for a condition, for as long as patience goes.
func eventually(ok func() bool) {
	for end := time.Now().Add(patience); !ok() && time.Now().Before(end); {
		time.Sleep(100 * time.Millisecond)
	}
}

// TestMemory holds the shims of fifty containers to their budget: each with
// a log, after an exec, and idle; and one of them after many execs, as probes
// make them, which must leave nothing.
func TestMemory(t *testing.T) {
	const shims, budget = 50, 819 // 0.8 MiB of PSS each
	l := newLauncher(t, DefaultSpares)
	var pids []int
	var last *box
	for range shims {
		p := newPlan("sleep")
		p.Cgroup.V2 = newGroup(t, "")
		last = run(t, l, p, nil)
		if _, code, err := last.output("exit", "0"); code != 0 || err != nil {
			t.Fatal(code, err)
		}
		pids = append(pids, last.shimPID())
	}
	// They give memory back when they come to rest, two seconds after the last event
	// or as much later as they are run.
	var total map[string]int
	var pss, threads int
	measure := func() bool {
		total, threads = map[string]int{}, 0
		for _, pid := range pids {
			for k, v := range smaps(t, pid) {
				total[k] += v
			}
			tasks, _ := os.ReadDir("/proc/" + itoa(pid) + "/task")
			threads += len(tasks)
		}
		pss = total["Pss"] / shims
		return pss <= budget
	}
	time.Sleep(3 * time.Second)
	eventually(measure)
	t.Logf("each of %d shims: PSS %d KiB (anonymous %d), RSS %d, threads %d",
		shims, pss, total["Pss_Anon"]/shims, total["Rss"]/shims, threads/shims)
	if pss > budget {
		t.Errorf("PSS %d KiB, more than %d", pss, budget)
	}
	pid := last.shimPID()
	before := smaps(t, pid)
	for range 200 {
		if _, code, err := last.output("exit", "0"); code != 0 || err != nil {
			t.Fatal(code, err)
		}
	}
	time.Sleep(3 * time.Second)
	var after map[string]int
	var grown int
	eventually(func() bool {
		after = smaps(t, pid)
		grown = after["Pss_Anon"] - before["Pss_Anon"]
		return grown <= 32
	})
	t.Logf("after 200 execs more: PSS %d KiB (anonymous %d, before %d)", after["Pss"], after["Pss_Anon"], before["Pss_Anon"])
	// What of the program's file it shares with the others is no figure of one.
	if grown > 32 || pss+grown > budget {
		t.Errorf("200 execs leave %d KiB behind; with %d KiB before, the budget is %d", grown, pss, budget)
	}
}
