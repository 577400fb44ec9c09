package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// job is a program to run: one line of JSON in the jobs file.
type job struct {
	Name string   // told around its output
	Dir  string   // where it runs
	Argv []string // the program and its arguments
}

// patience bounds a job in the guest; the tests' own deadlines are shorter.
const patience = 10 * time.Minute

// jobs runs what the file lists.
func jobs(file string) error {
	list, err := os.Open(file)
	if err != nil {
		return err
	}
	defer list.Close()
	for decoder := json.NewDecoder(list); ; {
		var j job
		switch err := decoder.Decode(&j); err {
		case nil:
		case io.EOF:
			return nil
		default:
			return fmt.Errorf("%s: %w", file, err)
		}
		say("GUEST JOB %s", j.Name)
		begin := time.Now()
		err := j.run()
		say("GUEST DONE %s: %v (%.1f s)", j.Name, result(err), time.Since(begin).Seconds())
	}
}

func result(err error) string {
	if err == nil {
		return "ok"
	}
	return err.Error()
}

func (j job) run() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, j.Argv[0], j.Argv[1:]...)
	cmd.Dir = j.Dir
	cmd.Stdout, cmd.Stderr = report, report
	return cmd.Run()
}
