package stats

import (
	"time"

	"github.com/varve-cri/varve/cri/record"
	"github.com/varve-cri/varve/runtime/usage"
)

// Sample is all that there is to know of what one container or pod uses.
type Sample struct {
	Usage       *usage.Usage // nil when it does not run
	Layer       Layer
	LayerAt     time.Time // zero: not measured yet
	Processes   Processes
	ProcessesAt time.Time // zero: not measured yet
	OOMs        uint64    // processes killed for want of memory, as far as it is known
}

// Samples gives what each pod uses, and its containers' in their order. It is for
// those who ask rarely and want all: slow measurements are made anew and waited for
// until the deadline, after which older ones have to do.
func (r *Reader) Samples(list []Pod, deadline time.Time) (pods []Sample, containers [][]Sample) {
	var flat []Container
	for _, p := range list {
		flat = append(flat, p.Containers...)
	}
	sampled := Each(flat, func(_ int, c Container) Sample { return r.sample(c) })
	pods = Each(list, func(_ int, p Pod) (s Sample) {
		if u, err := p.Gauge.meter.Read(p.Record.CgroupParent, usage.Detail); err == nil {
			u.IO.Devices = p.Gauge.io.grow(u.IO.Devices)
			s.Usage = &u
		}
		return s
	})
	for _, p := range list {
		n := len(p.Containers)
		for k, c := range p.Containers {
			r.finish(c, &sampled[k], deadline)
		}
		containers, sampled = append(containers, sampled[:n:n]), sampled[n:]
	}
	return pods, containers
}

func (r *Reader) sample(c Container) (s Sample) {
	r.beginLayer(c)
	rec := c.Record
	if rec.State == record.Running {
		r.beginProcesses(c)
		if u, err := c.Gauge.meter.Read(rec.Cgroup, usage.Detail); err == nil { // else it has just exited
			u.IO.Devices = c.Gauge.io.grow(u.IO.Devices)
			c.Gauge.ooms.Store(u.Memory.OOMs)
			s.Usage = &u
		}
	}
	s.OOMs = c.Gauge.ooms.Load()
	if rec.Reason == record.ReasonOOMKilled { // and its group has gone
		s.OOMs = max(s.OOMs, 1)
	}
	return s
}

func (r *Reader) beginProcesses(c Container) <-chan struct{} {
	path := c.Record.Cgroup
	return c.Gauge.processes.begin(r.walks, func() (Processes, error) { return countProcesses(path) })
}

func (r *Reader) finish(c Container, s *Sample, deadline time.Time) {
	await(r.beginLayer(c), deadline)
	if l, at, known := c.Gauge.layer.get(); known {
		s.Layer, s.LayerAt = l, at
	}
	if s.Usage == nil {
		return
	}
	await(r.beginProcesses(c), deadline)
	if p, at, known := c.Gauge.processes.get(); known {
		s.Processes, s.ProcessesAt = p, at
	}
}
