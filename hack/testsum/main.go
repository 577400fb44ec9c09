// Command testsum runs `go test -json` commands one after the other and
// prints what a reader needs: one line per package, the whole output of what
// failed, nothing of what passed, and the totals as the last line.
//
//	testsum -- go test ./... -- env CGO_ENABLED=1 go test -race ./cri/...
package main

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
)

func main() {
	groups := split(os.Args[1:])
	if len(groups) == 0 {
		fmt.Fprintln(os.Stderr, "usage: testsum -- go test [flags] packages [-- go test ...]")
		os.Exit(2)
	}
	var total Summary
	broken := false
	for _, argv := range groups {
		if err := run(argv, &total); err != nil {
			fmt.Fprintf(os.Stderr, "%v: %v\n", argv, err)
			broken = true
		}
	}
	fmt.Printf("%d passed, %d failed, %d skipped\n", total.Passed, total.Failed, total.Skipped)
	if broken || total.Failed > 0 || total.Passed == 0 {
		os.Exit(1)
	}
}

// split cuts the arguments at each "--".
func split(args []string) [][]string {
	var groups [][]string
	for _, arg := range args {
		switch {
		case arg == "--":
			groups = append(groups, nil)
		case len(groups) > 0:
			last := len(groups) - 1
			groups[last] = append(groups[last], arg)
		}
	}
	return groups
}

// run runs one `go test` command with -json and adds its events to total. The
// exit status of go test says nothing that the events do not, unless there
// were none.
func run(argv []string, total *Summary) error {
	verb := slices.Index(argv, "test")
	if verb < 1 || argv[verb-1] != "go" {
		return fmt.Errorf("not a go test command")
	}
	argv = slices.Insert(slices.Clone(argv), verb+1, "-json")
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	before := *total
	readErr := total.Read(out, os.Stdout)
	err = cmd.Wait()
	switch {
	case readErr != nil:
		return readErr
	case err != nil && total.Failed == before.Failed:
		return err
	}
	return nil
}
