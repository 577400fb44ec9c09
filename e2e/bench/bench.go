package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/varve-cri/varve/e2e/bench/figure"
	"github.com/varve-cri/varve/e2e/testregistry"
	"github.com/varve-cri/varve/runtime/cgroup"
)

// batches is how often the parts of a run are interleaved.
const batches = 4

// bench is one run.
type bench struct {
	options
	dir       string // scratch; gone after the run
	state     string // of varve's node, in memory; likewise
	registry  *testregistry.Registry
	endpoints []*endpoint
	starts    *starts
	plugins   *plugins
	pull      []figure.Section
}

// open makes everything that the run needs: the payload's image in a
// registry, a node of varve, the connections.
func open(o options) (*bench, error) {
	dir, err := os.MkdirTemp("", "varve-bench-")
	if err != nil {
		return nil, err
	}
	b := &bench{options: o, dir: dir}
	if err := b.prepare(); err != nil {
		return nil, errors.Join(err, b.close())
	}
	return b, nil
}

func (b *bench) prepare() error {
	payload, err := compileC(b.dir, "payload", payloadSource, "-static", "-s")
	if err != nil {
		return err
	}
	if b.asked("start") {
		if b.starts, err = newStarts(b.dir, payload); err != nil {
			return err
		}
	}
	if b.only == "start" && !b.options.pull {
		return nil // no daemon is needed
	}
	if b.registry, err = serveImage(b.listen, payload); err != nil {
		return err
	}
	if err := b.connect(); err != nil {
		return err
	}
	if b.asked("phases") {
		b.plugins, err = newPlugins(b)
	}
	return err
}

func (b *bench) asked(part string) bool {
	return strings.Contains(","+b.only+",", ","+part+",")
}

// measure runs the parts. The starts and the phases are interleaved; memory,
// which fills the runtimes with pods, comes after them.
func (b *bench) measure(ctx context.Context) error {
	for batch := range batches {
		progress("batch %d of %d", batch+1, batches)
		if b.starts != nil {
			if err := b.starts.measure(ctx, b.options.starts/batches); err != nil {
				return err
			}
		}
		if b.asked("phases") {
			if err := b.measurePhases(ctx, b.rounds/batches); err != nil {
				return err
			}
		}
	}
	if b.asked("cycles") {
		if err := b.measureCycles(ctx); err != nil {
			return err
		}
	}
	if b.asked("memory") {
		if err := b.measureMemory(ctx); err != nil {
			return err
		}
	}
	if b.asked("scale") {
		if err := b.measureScale(ctx); err != nil {
			return err
		}
	}
	if b.asked("churn") {
		if err := b.measureChurn(ctx); err != nil {
			return err
		}
	}
	if b.options.pull {
		return b.measurePulls(ctx)
	}
	return nil
}

// close takes down what open made. A node that leaks is an error.
func (b *bench) close() error {
	var errs []error
	if b.plugins != nil {
		errs = append(errs, b.plugins.close())
	}
	for _, e := range b.endpoints {
		errs = append(errs, e.close())
	}
	if b.starts != nil {
		errs = append(errs, b.starts.close())
	}
	if pods := cgroup.Open(podsGroup()); pods.Exists() {
		errs = append(errs, pods.Remove())
	}
	if b.registry != nil {
		errs = append(errs, b.registry.Close())
	}
	if b.state != "" {
		errs = append(errs, os.RemoveAll(b.state))
	}
	return errors.Join(append(errs, os.RemoveAll(b.dir))...)
}

func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...)
}

// compileC builds a C program into dir and returns its path.
func compileC(dir, name, source string, flags ...string) (string, error) {
	file, program := filepath.Join(dir, name+".c"), filepath.Join(dir, name)
	if err := os.WriteFile(file, []byte(source), 0o600); err != nil {
		return "", err
	}
	args := append([]string{"-O2", "-o", program, file}, flags...)
	if said, err := exec.Command("gcc", args...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("compile %s.c: %w: %s", name, err, said)
	}
	return program, nil
}
