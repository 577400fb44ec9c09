package metric

import (
	"cmp"
	"slices"
	"sync"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/record"
	"github.com/varve-cri/varve/cri/stats"
)

// table is which families there are for whom.
type table struct {
	group     []family // of a cgroup: containers that run, and pods
	container []family // of containers that run
	always    []family // of containers that run and of those that have ended
	network   []family // of pods' networks
}

// theTable depends on the host's cgroups and never changes.
var theTable = sync.OnceValue(func() *table {
	reclaim := reclaimFamilies
	if !reclaimCounted() {
		reclaim = nil
	}
	return &table{
		group:     complete(timeFamilies, cpuFamilies, memoryFamilies, reclaim, pressureFamilies, ioFamilies, taskFamilies),
		container: complete(specFamilies, processFamilies, diskFamilies, hugeFamilies),
		always:    complete(oomFamilies),
		network:   complete(networkFamilies),
	}
})

func complete(lists ...[]family) []family {
	all := slices.Concat(lists...)
	for i := range all {
		all[i] = all[i].complete()
	}
	return all
}

// Descriptors are those of all metrics that Pods gives, sorted by name and the same in each call.
func Descriptors() []*runtimeapi.MetricDescriptor { return theDescriptors() }

var theDescriptors = sync.OnceValue(func() []*runtimeapi.MetricDescriptor {
	t := theTable()
	all := slices.Concat(t.group, t.container, t.always, t.network)
	slices.SortFunc(all, byName)
	var out []*runtimeapi.MetricDescriptor
	for i := range all {
		out = append(out, all[i].descriptor())
	}
	return out
})

// Pods are the metrics of each pod and of its containers. What is measured slowly is
// waited for until the deadline.
func Pods(r *stats.Reader, list []stats.Pod, deadline time.Time) []*runtimeapi.PodSandboxMetrics {
	networks := stats.NetworksOf(list)
	pods, containers := r.Samples(list, deadline)
	all, disk, now := <-networks, readDisk(r.Root()), time.Now()
	return stats.Each(list, func(i int, p stats.Pod) *runtimeapi.PodSandboxMetrics {
		out := &runtimeapi.PodSandboxMetrics{PodSandboxId: p.Record.ID, Metrics: ofPod(p.Record, &pods[i], all[i], disk, now)}
		for k, c := range p.Containers {
			s := ofContainer(p.Record, c.Record)
			s.sample, s.disk, s.now = &containers[i][k], disk, now
			if metrics := s.metrics(); metrics != nil {
				out.ContainerMetrics = append(out.ContainerMetrics, &runtimeapi.ContainerMetrics{ContainerId: c.Record.ID, Metrics: metrics})
			}
		}
		return out
	})
}

// ofPod are the metrics of a pod itself: its cgroup's, as cAdvisor labels them, without
// a container, and the network's, which belong to the container "POD".
func ofPod(p *record.Pod, sample *stats.Sample, interfaces []stats.Interface, disk *disk, now time.Time) []*runtimeapi.Metric {
	m := p.Config.GetMetadata()
	s := &subject{
		labels: []string{"", p.CgroupParent, "", "", m.GetNamespace(), m.GetName()},
		sample: sample, began: p.CreatedAt, made: p.CreatedAt, now: now, disk: disk, interfaces: interfaces,
	}
	var out list
	if sample.Usage != nil {
		out.collect(s, theTable().group)
	}
	s.labels = []string{"POD", p.CgroupParent, "", p.ID, m.GetNamespace(), m.GetName()}
	out.collect(s, theTable().network)
	return out.all
}

func ofContainer(p *record.Pod, c *record.Container) *subject {
	m, image := p.Config.GetMetadata(), c.Config.GetImage()
	return &subject{
		labels: []string{
			c.Config.GetMetadata().GetName(), c.Cgroup, cmp.Or(image.GetUserSpecifiedImage(), image.GetImage()), c.ID, m.GetNamespace(), m.GetName(),
		},
		container: c, began: c.StartedAt, made: c.CreatedAt,
	}
}

// metrics are those of a container; none of one that never ran.
func (s *subject) metrics() []*runtimeapi.Metric {
	var out list
	if s.sample.Usage != nil {
		out.collect(s, theTable().group)
		out.collect(s, theTable().container)
	}
	if s.sample.Usage != nil || s.sample.OOMs > 0 {
		out.collect(s, theTable().always)
	}
	return out.all
}
