package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/e2e/bench/figure"
)

// scalePod is how many containers a pod of the crowd has.
const scalePod = 10

// idleFor is how long nobody asks for anything while processor time is counted.
const idleFor = 30 * time.Second

const idleCPU = "idle CPU of the daemon and its shims"

// scaleCalls are the calls that answer for everything at once, with what varve
// has set itself for 500 containers.
var scaleCalls = []struct {
	name   string
	target *figure.Target
	do     func(context.Context, *endpoint) error
}{
	{"ListPodSandbox", figure.AtMost(5), func(ctx context.Context, e *endpoint) error {
		_, err := e.client.ListPodSandbox(ctx, &runtimeapi.ListPodSandboxRequest{})
		return err
	}},
	{"ListContainers", figure.AtMost(5), func(ctx context.Context, e *endpoint) error {
		_, err := e.client.ListContainers(ctx, &runtimeapi.ListContainersRequest{})
		return err
	}},
	{"ListImages", figure.AtMost(5), func(ctx context.Context, e *endpoint) error {
		_, err := e.client.ListImages(ctx, &runtimeapi.ListImagesRequest{})
		return err
	}},
	{"ListContainerStats", figure.AtMost(150), func(ctx context.Context, e *endpoint) error {
		_, err := e.client.ListContainerStats(ctx, &runtimeapi.ListContainerStatsRequest{})
		return err
	}},
	{"ListPodSandboxStats", nil, func(ctx context.Context, e *endpoint) error {
		_, err := e.client.ListPodSandboxStats(ctx, &runtimeapi.ListPodSandboxStatsRequest{})
		return err
	}},
	{"ListPodSandboxMetrics", nil, func(ctx context.Context, e *endpoint) error {
		_, err := e.client.ListPodSandboxMetrics(ctx, &runtimeapi.ListPodSandboxMetricsRequest{})
		return err
	}},
}

// measureScale fills each runtime in turn with containers.
func (b *bench) measureScale(ctx context.Context) error {
	for _, e := range b.endpoints {
		progress("%d containers: %s", b.containers, e.name)
		if err := b.crowd(ctx, e); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) crowd(ctx context.Context, e *endpoint) (err error) {
	var running []*pod
	defer func() {
		for _, p := range running {
			err = errors.Join(err, p.down(context.WithoutCancel(ctx)))
		}
	}()
	for n := 0; n < b.containers; {
		p := b.newPod(e, hostNetwork)
		p.silent = true
		if err := p.up(ctx); err != nil {
			return err
		}
		running = append(running, p)
		for n++; n < b.containers && int(p.attempt) < scalePod; n++ {
			if err := p.startContainer(ctx); err != nil {
				return err
			}
		}
	}
	if err := rest(ctx); err != nil {
		return err
	}
	for range 20 {
		for _, call := range scaleCalls {
			begin := time.Now()
			if err := call.do(ctx, e); err != nil {
				return fmt.Errorf("%s through %s: %w", call.name, e.name, err)
			}
			e.Of("scale " + call.name).AddTime(time.Since(begin))
		}
	}
	return e.idle(ctx)
}

// idle counts the processor time of the daemon and of all that it has started,
// payloads aside, while nobody asks for anything.
func (e *endpoint) idle(ctx context.Context) error {
	if err := rest(ctx); err != nil {
		return err
	}
	daemon, err := e.daemon()
	if err != nil {
		return err
	}
	pids := shims(readProcesses())
	pids[daemon] = true
	for _, p := range readProcesses() {
		if p.parent == daemon {
			pids[p.pid] = true
		}
	}
	before, begin := cpuTime(pids), time.Now()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(idleFor):
	}
	e.Of(idleCPU).Add(100 * (cpuTime(pids) - before).Seconds() / time.Since(begin).Seconds())
	return nil
}

// cpuTime is what the processes have used so far; the kernel counts in ticks of
// 10 ms, but a process's schedstat in nanoseconds.
func cpuTime(pids map[int]bool) time.Duration {
	var sum time.Duration
	for pid := range pids {
		tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
		if err != nil {
			continue // it has ended
		}
		for _, task := range tasks {
			body, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/schedstat", pid, task.Name()))
			fields := bytes.Fields(body)
			if err != nil || len(fields) == 0 {
				continue
			}
			ns, _ := strconv.ParseInt(string(fields[0]), 10, 64)
			sum += time.Duration(ns)
		}
	}
	return sum
}

// scaleSection is the table of it.
func (b *bench) scaleSection() figure.Section {
	s := figure.Section{Title: fmt.Sprintf("With %d containers, %d a pod", b.containers, scalePod), Columns: b.columns()}
	for _, call := range scaleCalls {
		s.Add(call.name, "ms", call.target, b.stats("scale "+call.name)...)
	}
	s.Add(idleCPU, "% of a core", figure.AtMost(1), b.stats(idleCPU)...)
	return s
}
