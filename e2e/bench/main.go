package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/e2e/bench/figure"
)

// options are the flags.
type options struct {
	bin    string
	listen string
	json   string
	only   string
	starts int
	rounds int
	pods   int
	cycles int
	pulls  int
	pull   bool
	// containers run in the part "scale"; churn and plot are of the part "churn".
	containers int
	churn      time.Duration
	plot       string
	endpoints  endpointFlags
}

// endpointFlags are repeated name=unix:///path flags.
type endpointFlags []string

func (e *endpointFlags) String() string { return strings.Join(*e, " ") }

// Set takes one more.
func (e *endpointFlags) Set(v string) error {
	name, address, ok := strings.Cut(v, "=")
	if !ok || name == "" || !strings.HasPrefix(address, "unix:///") {
		return fmt.Errorf("%q is not name=unix:///path", v)
	}
	*e = append(*e, v)
	return nil
}

func parse() options {
	var o options
	flag.StringVar(&o.bin, "bin", "bin", "directory of varved and varve-shim; empty measures only -endpoint")
	flag.StringVar(&o.listen, "listen", "127.0.0.1:5119", "address of the registry with the benchmark's images")
	flag.StringVar(&o.json, "json", "", "also write the figures to this `file`")
	flag.StringVar(&o.only, "only", "start,phases,cycles,memory", "what to measure; there are also scale (many containers) and churn (for long)")
	flag.IntVar(&o.starts, "starts", 300, "container starts of the limit and of the runtime alone")
	flag.IntVar(&o.rounds, "rounds", 40, "pods for each phase, runtime and network")
	flag.IntVar(&o.pods, "pods", 50, "pods that run when memory is measured")
	flag.IntVar(&o.cycles, "cycles", 160, "whole pod lives, eight at a time")
	flag.IntVar(&o.pulls, "pulls", 3, "pulls of each image")
	flag.BoolVar(&o.pull, "pull", false, "measure image pulls too")
	flag.IntVar(&o.containers, "containers", 500, "containers that run in the part scale")
	flag.DurationVar(&o.churn, "churn", 10*time.Minute, "how long pods come and go in the part churn")
	flag.StringVar(&o.plot, "plot", "", "draw the part churn into this SVG `file`")
	flag.Var(&o.endpoints, "endpoint", "another runtime to measure, `name=unix:///socket`; repeatable")
	flag.Parse()
	return o
}

func main() {
	o := parse()
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run measures what is asked for and prints the tables, those that are ready
// also when a later part breaks.
func run(ctx context.Context, o options) (err error) {
	b, err := open(o)
	if err != nil {
		return err
	}
	defer func() {
		if closed := b.close(); err == nil {
			err = closed
		}
	}()
	measured := b.measure(ctx)
	sections := b.sections()
	for _, s := range sections {
		s.Print(os.Stdout)
	}
	if o.json != "" {
		body, err := figure.JSON(sections)
		if err != nil {
			return err
		}
		if err := os.WriteFile(o.json, append(body, '\n'), 0o644); err != nil {
			return err
		}
	}
	return measured
}
