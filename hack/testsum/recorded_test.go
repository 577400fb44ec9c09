package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The streams are what `go test -json` of Go 1.26 wrote of small packages, with
// the times left out.
func TestRecordedStreams(t *testing.T) {
	for name, c := range map[string]struct {
		want         Summary
		shown, quiet []string
	}{
		// A goroutine panics while another test waits for its turn.
		"panics": {
			want: Summary{Passed: 1, Failed: 1},
			shown: []string{
				"rec/panics ended while these tests ran: TestPanics\n", "rec/panics ended before these tests had their turn: TestWaits\n",
				"logged before\nprinted before\npanic: in a goroutine\n", "panics.TestPanics.func1()", "FAIL\texample.org/rec/panics",
			},
			quiet: []string{"quiet"},
		},
		// The time is up in a subtest.
		"hangs": {
			want: Summary{Passed: 1, Failed: 1},
			shown: []string{
				"rec/hangs ended while these tests ran: TestHangs, TestHangs/inside\n", "logged before\nprinted before\npanic: test timed out after 1s\n",
				"goroutine 20 [chan receive]", "FAIL\texample.org/rec/hangs",
			},
			quiet: []string{"quiet"},
		},
		// TestMain leaves with 99 after tests that passed.
		"exits": {want: Summary{Passed: 1, Failed: 1}, shown: []string{"left behind: two descriptors\n", "FAIL\texample.org/rec/exits"}, quiet: []string{"quiet", "ended"}},
		// A test leaves with os.Exit.
		"leaves": {
			want: Summary{Passed: 1, Failed: 1}, quiet: []string{"quiet"},
			shown: []string{"rec/leaves ended while these tests ran: TestLeaves\n", "printed before\n    l_test.go:13: logged before\nFAIL"},
		},
		// A test panics itself: it ends as any that fails.
		"own": {want: Summary{Failed: 1}, shown: []string{"printed before\n--- FAIL: TestPanics (0.00s)\npanic: assignment to entry in nil map"}, quiet: []string{"ended"}},
		// SIGKILL, after another test has failed.
		"killed": {
			want:  Summary{Failed: 2},
			shown: []string{"wrong\n--- FAIL: TestFails", "rec/killed ended while these tests ran: TestKilled\n", "printed before\nsignal: killed\nFAIL"},
		},
		"broken": {want: Summary{Failed: 1}, shown: []string{"b_test.go:5:34: undefined: undefined\n", "[build failed]"}, quiet: []string{"ended"}},
	} {
		stream, err := os.ReadFile(filepath.Join("testdata", name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		s, out := read(t, string(stream))
		if s != c.want {
			t.Errorf("%s: %+v, want %+v", name, s, c.want)
		}
		check(t, name, out, c.shown, c.quiet)
	}
}

func read(t *testing.T, stream string) (s Summary, out string) {
	t.Helper()
	var b strings.Builder
	if err := s.Read(strings.NewReader(stream), &b); err != nil {
		t.Fatal(err)
	}
	return s, b.String()
}

func check(t *testing.T, name, out string, shown, quiet []string) {
	t.Helper()
	for _, want := range shown {
		if !strings.Contains(out, want) {
			t.Errorf("%s: output lacks %q:\n%s", name, want, out)
		}
	}
	for _, no := range quiet {
		if strings.Contains(out, no) {
			t.Errorf("%s: output has %q:\n%s", name, no, out)
		}
	}
}

// What a test that did not end has printed is shown within bounds: its last words,
// the first stacks, and the very end.
func TestBounds(t *testing.T) {
	var stream strings.Builder
	say := func(format string, n int) {
		fmt.Fprintf(&stream, `{"Action":"output","Package":"p","Test":"TestA","Output":"`+format+`\n"}`+"\n", n)
	}
	stream.WriteString(`{"Action":"run","Package":"p","Test":"TestA"}` + "\n")
	for i := range 1000 {
		say("said %d", i)
	}
	say("panic: %d", 0)
	for i := range 1000 {
		say("stack %d", i)
	}
	full := stream.String()
	s, out := read(t, full+`{"Action":"fail","Package":"p"}`+"\n")
	if want := (Summary{Failed: 1}); s != want {
		t.Errorf("%+v", s)
	}
	if n := strings.Count(out, "\n"); n > maxSaid+maxStacks+maxEnd+5 {
		t.Errorf("%d lines", n)
	}
	check(t, "bounds", out, []string{"... 800 lines before ...\nsaid 800\n", "said 999\npanic: 0\nstack 0\n", "stack 298\n", "stack 997\nstack 998\nstack 999\n"}, []string{"said 799\n", "stack 299\n", "stack 996\n"})

	// go test itself was killed: there is no end of the package either.
	if cut, rest := read(t, full); cut != s || rest != out {
		t.Errorf("without an end: %+v\n%s", cut, rest)
	}
	if s, out := read(t, full+`{"Action":"pass","Package":"p","Test":"TestA"}`+"\n"+`{"Action":"pass","Package":"p"}`+"\n"); s != (Summary{Passed: 1}) || out != "" {
		t.Errorf("a test that passed: %+v\n%s", s, out)
	}
}
