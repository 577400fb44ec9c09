// Command probe is the one program inside the test images: a static binary of
// many small commands that say what a container looks like from inside.
// Commands are chained with "+"; the first that fails ends the chain with its
// message on stderr and exit status 1:
//
//	probe print hello + cat /etc/hosts + sleep
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// command does one thing with its arguments; its output goes to stdout.
type command func(args []string) error

var commands map[string]command

func init() {
	commands = map[string]command{}
	for _, set := range []map[string]command{fileCommands, processCommands, networkCommands, kernelCommands, streamCommands} {
		for name, do := range set {
			commands[name] = do
		}
	}
}

func main() {
	args := os.Args[1:]
	if name := filepath.Base(os.Args[0]); name != "probe" {
		args = append([]string{name}, args...) // a link named for a command, as busybox does it
	}
	for _, part := range chain(args) {
		do, ok := commands[part[0]]
		if !ok {
			fmt.Fprintf(os.Stderr, "probe: no command %q\n", part[0])
			os.Exit(64)
		}
		if err := do(part[1:]); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", strings.Join(part, " "), err)
			os.Exit(1)
		}
	}
}

// chain cuts the arguments at each "+".
func chain(args []string) [][]string {
	var parts [][]string
	var part []string
	for _, arg := range append(args, "+") {
		if arg != "+" {
			part = append(part, arg)
			continue
		}
		if len(part) > 0 {
			parts = append(parts, part)
		}
		part = nil
	}
	return parts
}
