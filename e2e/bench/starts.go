package main

import (
	"bufio"
	"bytes"
	"context"
	_ "embed" // the C programs
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/varve-cri/varve/e2e/bench/figure"
	"github.com/varve-cri/varve/runtime/cgroup"
)

//go:embed limit/limit.c
var limitSource string

//go:embed payload/payload.c
var payloadSource string

// The names of the samples of starts, in milliseconds.
const (
	limitPlain = "limit"
	limitNet   = "limit, net"
	aloneExec  = "alone, executed"
	aloneExit  = "alone, exited"
)

// starts measures container starts without a daemon: by the kernel alone and
// by runtime/container.
type starts struct {
	dir     string
	limit   string // program
	starter string // program
	path    string // of the cgroup
	group   *cgroup.Group
	figure.Samples
}

// newStarts builds the programs, the root file tree and the plan.
func newStarts(scratch, payload string) (*starts, error) {
	s := &starts{dir: filepath.Join(scratch, "starts")}
	for _, sub := range []string{"bin", "proc", "dev", "sys"} {
		if err := os.MkdirAll(filepath.Join(s.dir, "lower", sub), 0o755); err != nil {
			return nil, err
		}
	}
	program, err := os.ReadFile(payload)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(s.dir, "lower/bin/true"), program, 0o755); err != nil {
		return nil, err
	}
	if s.limit, err = compileC(scratch, "limit", limitSource); err != nil {
		return nil, err
	}
	if s.starter, err = compileGo(scratch, "starter"); err != nil {
		return nil, err
	}
	s.path = fmt.Sprintf("/varve-bench-%d/start", os.Getpid())
	if s.group, err = cgroup.Create(s.path, nil); err != nil {
		return nil, err
	}
	encoded, err := startPlan(s.group)
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, os.WriteFile(filepath.Join(s.dir, "plan"), encoded, 0o600)
}

// compileGo builds the program of a folder of this one.
func compileGo(dir, name string) (string, error) {
	program := filepath.Join(dir, name)
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", program, "github.com/varve-cri/varve/e2e/bench/"+name)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if said, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w: %s", name, err, said)
	}
	return program, nil
}

// measure adds n starts of each kind.
func (s *starts) measure(ctx context.Context, n int) error {
	count := strconv.Itoa(n)
	for _, kind := range []struct {
		argv    []string
		columns []string
	}{
		{[]string{s.limit, s.dir, count}, []string{limitPlain}},
		{[]string{s.starter, s.dir, count}, []string{aloneExec, aloneExit}},
		{[]string{s.limit, s.dir, count, "net"}, []string{limitNet}},
	} {
		if err := s.run(ctx, kind.argv, kind.columns); err != nil {
			return err
		}
	}
	return nil
}

// run runs a program that prints columns of microseconds.
func (s *starts) run(ctx context.Context, argv, columns []string) error {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", filepath.Base(argv[0]), err, strings.TrimSpace(complaint.String()))
	}
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		for i, name := range columns {
			if i >= len(fields) {
				return fmt.Errorf("%s: no column %q in %q", filepath.Base(argv[0]), name, lines.Text())
			}
			v, err := strconv.ParseFloat(fields[i], 64)
			if err != nil {
				return err
			}
			s.Of(name).Add(v / 1000)
		}
	}
	return nil
}

func (s *starts) close() error {
	return s.group.Remove() // its parent is podsGroup
}

// section is the table of the starts.
func (s *starts) section() figure.Section {
	out := figure.Section{Title: "Start of one container, without a daemon (" + kernel() + ", " + strconv.Itoa(runtime.NumCPU()) + " CPUs)", Columns: []string{"median"}}
	limit := s.Stat(limitPlain).Median
	out.Add("kernel's limit in C: mnt pid ipc uts cgroup + mounts + exec + wait", "ms", nil, s.Stat(limitPlain))
	out.Add("the same with a network namespace", "ms", nil, s.Stat(limitNet))
	out.Add("runtime alone, until the program runs (+ seccomp, caps, cgroup)", "ms", nil, s.Stat(aloneExec))
	out.Add("runtime alone, until the program has exited", "ms", nil, s.Stat(aloneExit))
	out.Add("runtime alone, start to exec / limit", "x", figure.AtMost(1.6), ratio(s.Stat(aloneExec), limit))
	out.Add("runtime alone, start to exit / limit", "x", nil, ratio(s.Stat(aloneExit), limit))
	return out
}

// ratio is a Stat in multiples of base.
func ratio(s figure.Stat, base float64) figure.Stat {
	if s.N == 0 || base == 0 {
		return figure.Stat{}
	}
	return figure.Stat{N: s.N, Median: s.Median / base, P90: s.P90 / base, Min: s.Min / base}
}

func kernel() string {
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return "unknown kernel"
	}
	return "Linux " + strings.TrimSpace(string(release))
}
