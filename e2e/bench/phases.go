package main

import (
	"context"
	"fmt"

	"github.com/varve-cri/varve/e2e/bench/figure"
)

// looks is how often a pod's walk repeats the calls that change nothing.
const looks = 3

// measurePhases walks n pods of each network through each runtime, one pod at
// a time and in turn.
func (b *bench) measurePhases(ctx context.Context, n int) error {
	for i := range n {
		for _, network := range networks {
			for _, e := range b.endpoints {
				// The first pods of a run find cold caches, which a node has once.
				warm := i > 0 || e.Stat(sampleName("pod up", network)).N > 0
				if err := b.walk(ctx, e, network, warm); err != nil {
					return err
				}
			}
			if network == cniNetwork {
				if err := b.plugins.measure(ctx); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// walk takes one pod through its life. Its container is stopped, removed and
// made anew before the pod goes, so that the pod goes with a container running.
func (b *bench) walk(ctx context.Context, e *endpoint, network network, keep bool) error {
	if !keep {
		if err := b.life(ctx, e, network); err != nil {
			return err
		}
	}
	p := b.newPod(e, network)
	if err := p.up(ctx); err != nil {
		return err
	}
	for range looks {
		if err := p.execTrue(ctx); err != nil {
			return err
		}
		if err := p.look(ctx); err != nil {
			return err
		}
	}
	if err := p.stop(ctx); err != nil {
		return err
	}
	if err := p.startContainer(ctx); err != nil {
		return err
	}
	return p.down(ctx)
}

// less is the Stat of a pod's phase by CNI without what the plugins take.
func less(s figure.Stat, plugins float64) figure.Stat {
	if s.N == 0 {
		return s
	}
	return figure.Stat{N: s.N, Median: s.Median - plugins, P90: s.P90 - plugins, Min: s.Min - plugins}
}

// phaseSections are the tables of the calls, one for each network.
func (b *bench) phaseSections() []figure.Section {
	var out []figure.Section
	for _, network := range networks {
		s := figure.Section{Title: fmt.Sprintf("CRI calls, one pod at a time, %s", network), Columns: b.columns()}
		add := func(phase string, target *figure.Target) {
			s.Add(phase, "ms", target, b.stats(sampleName(phase, network))...)
		}
		add("RunPodSandbox", nil)
		add("CreateContainer", nil)
		add("StartContainer", nil)
		b.addPod(&s, "pod up", network)
		add("ExecSync", figure.AtMost(2))
		add("ContainerStatus", nil)
		add("ContainerStats", figure.AtMost(0.4))
		add("StopContainer(0)", figure.AtMost(3))
		add("RemoveContainer", nil)
		add("StopPodSandbox", nil)
		add("RemovePodSandbox", nil)
		b.addPod(&s, "pod down", network)
		out = append(out, s)
	}
	return out
}

// addPod adds the sums over a pod with the figures: an absolute one on
// the host's network, one above the plugins' own time by CNI.
func (b *bench) addPod(s *figure.Section, phase string, network network) {
	stats := b.stats(sampleName(phase, network))
	if network == cniNetwork {
		took := b.plugins.Stat(pluginSample[phase])
		s.Add(phase, "ms", nil, stats...)
		s.Add("  the plugins themselves", "ms", nil, took)
		var rest []figure.Stat
		for _, stat := range stats {
			rest = append(rest, less(stat, took.Median))
		}
		s.Add("  "+phase+" without the plugins", "ms", figure.AtMost(7), rest...)
		return
	}
	s.Add(phase, "ms", figure.AtMost(6), stats...)
	if phase == "pod up" && b.starts != nil {
		s.Add("  pod up / kernel's limit", "x", figure.AtMost(4.7), ratio(stats[0], b.starts.Stat(limitPlain).Median))
	}
}

// sections are all tables that the run can fill.
func (b *bench) sections() []figure.Section {
	var out []figure.Section
	if b.starts != nil {
		out = append(out, b.starts.section())
	}
	if b.plugins != nil {
		out = append(out, b.phaseSections()...)
	}
	out = append(out, b.loadSections()...)
	if b.asked("scale") {
		out = append(out, b.scaleSection())
	}
	if b.asked("churn") && b.churnedAll() {
		out = append(out, b.churnSection())
	}
	out = append(out, b.pull...)
	if b.varve() == nil { // the targets are varve's
		for _, s := range out {
			for i := range s.Rows {
				s.Rows[i].Target = nil
			}
		}
	}
	return out
}
