package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// Summary counts tests (subtests included) over one or more runs of go test.
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
// everything that a failed test, package or build printed.
func (s *Summary) Read(r io.Reader, w io.Writer) error {
	output := map[string][]string{} // package and test -> lines
	failedIn := map[string]int{}    // package -> failed tests
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			fmt.Fprintln(w, lines.Text()) // not an event: go's own words
			continue
		}
		key := e.Package + "\x00" + e.Test
		switch e.Action {
		case "output":
			output[key] = append(output[key], e.Output)
		case "build-output":
			fmt.Fprint(w, e.Output)
		case "pass", "fail", "skip":
			if e.Test != "" {
				s.test(e, failedIn)
			} else {
				s.packageEnd(e, failedIn[e.Package])
			}
			report(w, e, output[key])
			delete(output, key)
		}
	}
	return lines.Err()
}

func (s *Summary) test(e event, failedIn map[string]int) {
	switch e.Action {
	case "pass":
		s.Passed++
	case "fail":
		s.Failed++
		failedIn[e.Package]++
	case "skip":
		s.Skipped++
	}
}

// packageEnd counts a package that failed although none of its tests did: a
// build error, a panic, a TestMain that found a leak.
func (s *Summary) packageEnd(e event, failedTests int) {
	if e.Action == "fail" && failedTests == 0 {
		s.Failed++
	}
}

// report prints the end of one test or package: all of it on failure, the
// package's own closing line ("ok ...") on success.
func report(w io.Writer, e event, lines []string) {
	if e.Action == "fail" {
		fmt.Fprint(w, strings.Join(lines, ""))
		return
	}
	if e.Action == "skip" && e.Test != "" {
		fmt.Fprintf(w, "skip\t%s\t%s\n", e.Package, e.Test)
		return
	}
	if e.Test == "" && e.Action == "pass" {
		for _, line := range lines {
			if strings.HasPrefix(line, "ok ") {
				fmt.Fprint(w, line)
			}
		}
	}
}
