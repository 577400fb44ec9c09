package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// Summary counts tests (subtests included) over one or more runs of go test. A
// package that failed otherwise than by a test counts as one failure.
type Summary struct {
	Passed, Failed, Skipped int
}

// event is one line of `go test -json` (see `go doc test2json`, and
// `go help buildjson` for the build-* actions).
type event struct {
	Action     string
	Package    string
	ImportPath string
	Test       string
	Output     string
	Elapsed    float64
}

// Read adds the events of r to s. It writes a line per package to w, and
// everything that a failed test, package or build printed; of a package that
// ended without the ends of its tests, what those had printed by then.
func (s *Summary) Read(r io.Reader, w io.Writer) error {
	packages := map[string]*suite{}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			fmt.Fprintln(w, lines.Text()) // not an event: go's own words
			continue
		}
		if e.Action == "build-output" {
			fmt.Fprint(w, e.Output)
			continue
		}
		if e.Package == "" {
			continue
		}
		p := packages[e.Package]
		if p == nil {
			p = &suite{name: e.Package}
			packages[e.Package] = p
		}
		if p.take(e, s, w) {
			delete(packages, e.Package)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(packages)) { // go test itself has died
		packages[name].end("fail", s, w)
	}
	return lines.Err()
}

func (s *Summary) count(action string) {
	switch action {
	case "pass":
		s.Passed++
	case "fail":
		s.Failed++
	case "skip":
		s.Skipped++
	}
}

// suite is one package's test binary, as far as it has come.
type suite struct {
	name   string
	own    []string  // what it printed outside of tests
	tests  []*result // in the order of their beginnings; those that have ended are taken out
	failed int       // tests
}

// result is one test that has not ended.
type result struct {
	name   string
	lines  []string
	paused bool // waits for its turn to run in parallel
}

// take takes one event and reports whether it was the package's last.
func (p *suite) take(e event, s *Summary, w io.Writer) (last bool) {
	switch e.Action {
	case "output":
		if e.Test == "" {
			p.own = append(p.own, e.Output)
			return false
		}
		t := p.test(e.Test)
		t.lines = append(t.lines, e.Output)
	case "run", "cont":
		p.test(e.Test).paused = false
	case "pause":
		p.test(e.Test).paused = true
	case "pass", "fail", "skip":
		if e.Test == "" {
			p.end(e.Action, s, w)
			return true
		}
		p.ended(e, s, w)
	}
	return false
}

// test finds a test that has begun and not ended, or begins it.
func (p *suite) test(name string) *result {
	for _, t := range slices.Backward(p.tests) {
		if t.name == name {
			return t
		}
	}
	t := &result{name: name}
	p.tests = append(p.tests, t)
	return t
}

// ended takes the end of a test: all that it printed when it failed.
func (p *suite) ended(e event, s *Summary, w io.Writer) {
	s.count(e.Action)
	t := p.test(e.Test)
	p.tests = slices.DeleteFunc(p.tests, func(other *result) bool { return other == t })
	switch e.Action {
	case "fail":
		p.failed++
		fmt.Fprint(w, strings.Join(t.lines, ""))
	case "skip":
		fmt.Fprintf(w, "skip\t%s\t%s\n", e.Package, e.Test)
	}
}

// end takes the package's end: its closing line ("ok ...") on success, all of
// its own output and what was not told of its tests on failure. A package that
// failed although none of its tests did is a failure, too (a build error, a panic,
// a TestMain that found a leak), and so is one whose tests did not end.
func (p *suite) end(action string, s *Summary, w io.Writer) {
	if action != "fail" {
		for _, line := range p.own {
			if action == "pass" && strings.HasPrefix(line, "ok ") {
				fmt.Fprint(w, line)
			}
		}
		return
	}
	if p.failed == 0 || len(p.tests) > 0 {
		s.Failed++
	}
	p.unfinished(w)
	short(w, p.own)
}

// unfinished tells of the tests that had not ended when the package did.
func (p *suite) unfinished(w io.Writer) {
	var running, waiting []string
	for _, t := range p.tests {
		if t.paused {
			waiting = append(waiting, t.name)
		} else {
			running = append(running, t.name)
		}
	}
	if len(running) > 0 {
		fmt.Fprintf(w, "%s ended while these tests ran: %s\n", p.name, strings.Join(running, ", "))
	}
	if len(waiting) > 0 {
		fmt.Fprintf(w, "%s ended before these tests had their turn: %s\n", p.name, strings.Join(waiting, ", "))
	}
	for _, t := range p.tests {
		short(w, t.lines)
	}
}

// What is shown of output that nobody has cut: the end of what a test said, and the
// beginning of the stacks of its goroutines, where the one that died is, with the last
// lines, where go test says how it ended.
const (
	maxSaid   = 200
	maxStacks = 300
	maxEnd    = 3
)

// short writes output within these bounds.
func short(w io.Writer, lines []string) {
	at := slices.IndexFunc(lines, dies)
	if at < 0 {
		at = len(lines)
	}
	said, stacks := lines[:at], lines[at:]
	if cut := len(said) - maxSaid; cut > 0 {
		fmt.Fprintf(w, "... %d lines before ...\n", cut)
		said = said[cut:]
	}
	fmt.Fprint(w, strings.Join(said, ""))
	if cut := len(stacks) - maxStacks - maxEnd; cut > 0 {
		fmt.Fprint(w, strings.Join(stacks[:maxStacks], ""))
		fmt.Fprintf(w, "... %d lines of stacks ...\n", cut)
		stacks = stacks[len(stacks)-maxEnd:]
	}
	fmt.Fprint(w, strings.Join(stacks, ""))
}

// dies recognises the first of a dying Go program's last words.
func dies(line string) bool {
	for _, word := range []string{"panic: ", "fatal error: ", "SIGQUIT: ", "SIGABRT: ", "goroutine 1 ["} {
		if strings.HasPrefix(line, word) {
			return true
		}
	}
	return false
}
