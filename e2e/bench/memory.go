package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// The names of the memory samples, in MiB.
const (
	pssShims  = "pss shims"
	pssUsed   = "pss shim after execs"
	pssSpares = "pss spares"
	pssDaemon = "pss daemon"
)

// usedExecs is how many execs a shim has behind it when it is weighed alone.
const usedExecs = 200

// shims finds the processes that are the parents of payloads.
func shims(processes []process) map[int]bool {
	out := map[int]bool{}
	for _, p := range processes {
		if p.name == filepath.Base(pauseProgram) {
			out[p.parent] = true
		}
	}
	return out
}

// weighUsed takes the PSS of the heaviest shim, which is that of the pod with
// the execs.
func (e *endpoint) weighUsed() error {
	heaviest := 0.0
	for pid := range shims(readProcesses()) {
		got, err := pss(map[int]bool{pid: true})
		if err != nil {
			return err
		}
		heaviest = max(heaviest, got)
	}
	e.Of(pssUsed).Add(heaviest)
	return nil
}

// weigh takes the PSS of the daemon, of the shims (the processes that are the
// parents of payloads) and of the daemon's other children: shims that wait.
// The payload is not counted. What several shims share is counted once, as
// PSS has it.
func (e *endpoint) weigh(pods int) error {
	daemon, err := e.daemon()
	if err != nil {
		return err
	}
	processes := readProcesses()
	shims, spares := shims(processes), map[int]bool{}
	for _, p := range processes {
		if p.parent == daemon && !shims[p.pid] {
			spares[p.pid] = true
		}
	}
	if len(shims) < pods {
		return fmt.Errorf("%s: %d shims found of %d pods", e.name, len(shims), pods)
	}
	own, err := pss(map[int]bool{daemon: true})
	if err != nil {
		return err
	}
	all, err := pss(shims)
	if err != nil {
		return err
	}
	waiting, err := pss(spares)
	if err != nil {
		return err
	}
	e.Of(pssDaemon).Add(own)
	e.Of(pssShims).Add(all / float64(pods))
	e.Of(pssSpares).Add(waiting)
	return nil
}

type process struct {
	pid, parent int
	name        string
}

// readProcesses lists the machine's processes.
func readProcesses() []process {
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	var out []process
	for _, file := range files {
		body, err := os.ReadFile(file)
		open, end := bytes.IndexByte(body, '('), bytes.LastIndexByte(body, ')')
		if err != nil || open < 0 || end < open {
			continue // it has ended
		}
		fields := strings.Fields(string(body[end+1:]))
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		parent, _ := strconv.Atoi(fields[1])
		out = append(out, process{pid: pid, parent: parent, name: string(body[open+1 : end])})
	}
	return out
}

// pss is the proportional set size of processes, in MiB.
func pss(pids map[int]bool) (float64, error) {
	var sum float64
	for pid := range pids {
		body, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			return 0, err
		}
		_, after, ok := strings.Cut(string(body), "\nPss:")
		fields := strings.Fields(after)
		if !ok || len(fields) == 0 {
			return 0, fmt.Errorf("no Pss in smaps_rollup of %d", pid)
		}
		kib, err := strconv.ParseFloat(fields[0], 64)
		if err != nil {
			return 0, err
		}
		sum += kib / 1024
	}
	return sum, nil
}
