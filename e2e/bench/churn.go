package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/varve-cri/varve/e2e/bench/figure"
	"github.com/varve-cri/varve/e2e/bench/plot"
)

// The names of what must stay flat under churn, in the order of the plot.
const (
	churnMemory      = "memory of the daemon, MiB (RssAnon)"
	churnDescriptors = "descriptors of the daemon"
	churnGoroutines  = "goroutines of the daemon"
	churnProcesses   = "processes below the daemon"
)

var churnSeries = []string{churnMemory, churnDescriptors, churnGoroutines, churnProcesses}

// churnWorkers is how many pods come and go at the same time; the last worker's
// are on the CNI network.
const churnWorkers = 4

// history is what was seen of one runtime while pods came and went.
type history struct {
	at     []float64 // seconds
	values map[string][]float64
	lives  int64
}

// measureChurn makes each runtime in turn live through unbroken churn.
func (b *bench) measureChurn(ctx context.Context) error {
	for _, e := range b.endpoints {
		progress("churn for %v: %s", b.churn, e.name)
		if err := b.churnOne(ctx, e); err != nil {
			return err
		}
	}
	if b.plot == "" {
		return nil
	}
	return os.WriteFile(b.plot, b.drawChurn(), 0o644)
}

func (b *bench) churnOne(ctx context.Context, e *endpoint) error {
	daemon, err := e.daemon()
	if err != nil {
		return err
	}
	e.churned = &history{values: map[string][]float64{}}
	begin := time.Now()
	end := begin.Add(b.churn)
	var lives atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	for i := range churnWorkers {
		network := hostNetwork
		if i == churnWorkers-1 {
			network = cniNetwork
		}
		group.Go(func() error {
			for time.Now().Before(end) {
				if err := b.life(ctx, e, network); err != nil {
					return err
				}
				lives.Add(1)
			}
			return nil
		})
	}
	group.Go(func() error {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for time.Now().Before(end) {
			e.churned.sample(e, daemon, time.Since(begin))
			select {
			case <-ctx.Done():
				return nil
			case <-tick.C:
			}
		}
		return nil
	})
	err = group.Wait()
	e.churned.lives = lives.Load()
	return err
}

// sample adds what is seen now.
func (h *history) sample(e *endpoint, daemon int, at time.Duration) {
	h.at = append(h.at, at.Seconds())
	add := func(name string, v float64) { h.values[name] = append(h.values[name], v) }
	add(churnMemory, anonymous(daemon))
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", daemon))
	if err != nil {
		fds = nil
	}
	add(churnDescriptors, float64(len(fds)))
	add(churnGoroutines, e.goroutines())
	children := 0
	for _, p := range readProcesses() {
		if p.parent == daemon {
			children++
		}
	}
	add(churnProcesses, float64(children))
}

// goroutines asks varve's operator socket; NaN for the other runtimes.
func (e *endpoint) goroutines() float64 {
	if e.node == nil {
		return math.NaN()
	}
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", e.node.AdminSocket())
		},
	}}
	answer, err := client.Get("http://varve/debug/pprof/goroutine?debug=1")
	if err != nil {
		return math.NaN()
	}
	defer answer.Body.Close()
	first, err := bufio.NewReader(answer.Body).ReadString('\n')
	var n int
	if _, scanned := fmt.Sscanf(first, "goroutine profile: total %d", &n); errors.Join(err, scanned) != nil {
		return math.NaN()
	}
	return float64(n)
}

// growth is the median of the last fifth less that of the second: the first is
// left out, in which caches and pools fill.
func (h *history) growth(name string) figure.Stat {
	v := slices.DeleteFunc(slices.Clone(h.values[name]), math.IsNaN)
	n := len(v) / 5
	if n == 0 {
		return figure.Stat{}
	}
	return figure.One(median(v[len(v)-n:]) - median(v[n:2*n]))
}

func median(v []float64) float64 {
	sorted := slices.Sorted(slices.Values(v))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

// drawChurn is the plot of all runtimes' histories.
func (b *bench) drawChurn() []byte {
	var panels []plot.Panel
	for _, name := range churnSeries {
		p := plot.Panel{Title: name}
		for _, e := range b.endpoints {
			p.Lines = append(p.Lines, plot.Line{Name: e.name, X: e.churned.at, Y: e.churned.values[name]})
		}
		panels = append(panels, p)
	}
	title := fmt.Sprintf("Pods come and go, %d at a time, for %v", churnWorkers, b.churn)
	for _, e := range b.endpoints {
		title += fmt.Sprintf("; %s: %d lives", e.name, e.churned.lives)
	}
	return plot.SVG(title, panels)
}

// churnSection is what the histories come to. The targets allow for what is
// under way at the moment of a sample.
func (b *bench) churnSection() figure.Section {
	s := figure.Section{Title: fmt.Sprintf("Growth under churn, last fifth of %v against the second", b.churn), Columns: b.columns()}
	for _, row := range []struct {
		name, unit string
		target     *figure.Target
	}{
		{churnMemory, "MiB", figure.AtMost(2)}, {churnDescriptors, "", figure.AtMost(3)},
		{churnGoroutines, "", figure.AtMost(3)}, {churnProcesses, "", figure.AtMost(1)},
	} {
		var stats []figure.Stat
		for _, e := range b.endpoints {
			stats = append(stats, e.churned.growth(row.name))
		}
		s.Add(row.name, row.unit, row.target, stats...)
	}
	var lives []figure.Stat
	for _, e := range b.endpoints {
		lives = append(lives, figure.One(float64(e.churned.lives)))
	}
	s.Add("pods that came and went", "", nil, lives...)
	return s
}

// churnedAll is false when the run broke before the last runtime's turn.
func (b *bench) churnedAll() bool {
	return !slices.ContainsFunc(b.endpoints, func(e *endpoint) bool { return e.churned == nil })
}
