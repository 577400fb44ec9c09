package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/e2e/bench/figure"
)

// workers is how many pods live at the same time in the measurement of cycles.
const workers = 8

// life is a whole life of a pod: up, three execs, status, stats, down.
func (b *bench) life(ctx context.Context, e *endpoint, network network) error {
	p := b.newPod(e, network)
	p.silent = true
	if err := p.up(ctx); err != nil {
		return err
	}
	for range 3 {
		if err := p.execTrue(ctx); err != nil {
			return err
		}
	}
	return errors.Join(p.look(ctx), p.down(ctx))
}

// measureCycles measures lives a second, eight at a time, in batches.
func (b *bench) measureCycles(ctx context.Context) error {
	for batch := range batches {
		for _, network := range networks {
			for _, e := range b.endpoints {
				progress("whole lives %d of %d: %s, %s", batch+1, batches, e.name, network)
				rate, err := b.lives(ctx, e, network, b.cycles/batches)
				if err != nil {
					return err
				}
				e.Of(sampleName("lives", network)).Add(rate)
			}
		}
	}
	return nil
}

// patience bounds one batch of a slow runtime.
const patience = 10 * time.Second

// lives is how many pods a second live a whole life.
func (b *bench) lives(ctx context.Context, e *endpoint, network network, n int) (float64, error) {
	var taken, done atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	begin := time.Now()
	for range workers {
		group.Go(func() error {
			for taken.Add(1) <= int64(n) && time.Since(begin) < patience {
				if err := b.life(ctx, e, network); err != nil {
					return err
				}
				done.Add(1)
			}
			return nil
		})
	}
	err := group.Wait()
	return float64(done.Load()) / time.Since(begin).Seconds(), err
}

// measureMemory fills each runtime with pods in turn, asks it for lists, and
// weighs its processes.
func (b *bench) measureMemory(ctx context.Context) error {
	for _, e := range b.endpoints {
		progress("%d pods: %s", b.pods, e.name)
		if err := b.fill(ctx, e); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) fill(ctx context.Context, e *endpoint) (err error) {
	var running []*pod
	defer func() {
		for _, p := range running {
			err = errors.Join(err, p.down(ctx))
		}
	}()
	for range b.pods {
		p := b.newPod(e, hostNetwork)
		p.silent = true
		if err := p.up(ctx); err != nil {
			return err
		}
		running = append(running, p)
	}
	if err := e.lists(ctx); err != nil {
		return err
	}
	if err := manyPods(ctx, running[len(running)/2]); err != nil {
		return err
	}
	if err := rest(ctx); err != nil {
		return err
	}
	if err := e.weigh(b.pods); err != nil {
		return err
	}
	for range usedExecs {
		if err := running[0].execTrue(ctx); err != nil {
			return err
		}
	}
	if err := rest(ctx); err != nil {
		return err
	}
	return e.weighUsed()
}

// settle is how long processes may tidy up before they are weighed: a pod that
// runs for days is idle most of the time.
const settle = 4 * time.Second

func rest(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(settle):
		return nil
	}
}

// lists times the calls that answer for all pods at once.
func (e *endpoint) lists(ctx context.Context) error {
	for range 20 {
		for _, call := range []struct {
			name string
			do   func() error
		}{
			{"ListPodSandbox", func() error {
				_, err := e.client.ListPodSandbox(ctx, &runtimeapi.ListPodSandboxRequest{})
				return err
			}},
			{"ListContainers", func() error {
				_, err := e.client.ListContainers(ctx, &runtimeapi.ListContainersRequest{})
				return err
			}},
			{"ListContainerStats", func() error {
				_, err := e.client.ListContainerStats(ctx, &runtimeapi.ListContainerStatsRequest{})
				return err
			}},
		} {
			begin := time.Now()
			if err := call.do(); err != nil {
				return fmt.Errorf("%s through %s: %w", call.name, e.name, err)
			}
			e.Of(call.name).AddTime(time.Since(begin))
		}
	}
	return nil
}

// manyPods times one pod's calls while many others run.
func manyPods(ctx context.Context, p *pod) error {
	crowded := *p
	crowded.network, crowded.silent = "many pods", false
	for range 20 {
		if err := errors.Join(crowded.execTrue(ctx), crowded.look(ctx)); err != nil {
			return err
		}
	}
	return nil
}

// loadSections are the tables of cycles, lists and memory.
func (b *bench) loadSections() []figure.Section {
	cycles := figure.Section{Title: "Whole lives of pods, " + strconv.Itoa(workers) + " at a time (up, 3 execs, status, stats, down)", Columns: b.columns()}
	if b.asked("cycles") {
		cycles.Add(string(hostNetwork), "pods/s", figure.AtLeast(60), b.stats(sampleName("lives", hostNetwork))...)
		cycles.Add(string(cniNetwork), "pods/s", nil, b.stats(sampleName("lives", cniNetwork))...)
	}
	many := figure.Section{Title: fmt.Sprintf("With %d pods, host network", b.pods), Columns: b.columns()}
	if b.asked("memory") {
		for _, name := range []string{"ListPodSandbox", "ListContainers", "ListContainerStats"} {
			many.Add(name, "ms", nil, b.stats(name)...)
		}
		for _, phase := range []string{"ExecSync", "ContainerStatus", "ContainerStats"} {
			many.Add(phase, "ms", nil, b.stats(sampleName(phase, "many pods"))...)
		}
		many.Add("PSS of shims, each pod", "MiB", figure.AtMost(0.8), b.stats(pssShims)...)
		many.Add(fmt.Sprintf("PSS of a shim after %d execs", usedExecs), "MiB", figure.AtMost(0.8), b.stats(pssUsed)...)
		many.Add("PSS of shims that wait for work, all", "MiB", nil, b.stats(pssSpares)...)
		many.Add("PSS of the daemon", "MiB", figure.AtMost(40), b.stats(pssDaemon)...)
	}
	return []figure.Section{cycles, many}
}
