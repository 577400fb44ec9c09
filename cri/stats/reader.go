package stats

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/record"
	"github.com/varve-cri/varve/runtime/usage"
)

// Layer is the size of a read-write layer on the disk.
type Layer struct{ Bytes, Inodes uint64 }

// Reader reads the use of containers and pods.
type Reader struct {
	root    string
	measure func(id string) (bytes, inodes uint64, err error)
	walks   queue
}

// NewReader returns a Reader that has read-write layers, which are below root,
// measured by the function.
func NewReader(root string, measure func(id string) (bytes, inodes uint64, err error)) *Reader {
	return &Reader{root: root, measure: measure, walks: make(queue, walkers)}
}

// Root is the directory below which read-write layers are.
func (r *Reader) Root() string { return r.root }

// maxReaders is how many goroutines read a list.
const maxReaders = 4

// Each makes a list of figures of another. Reading the small files of a container is
// processor time of the kernel's, so that it is shared out.
func Each[T, S any](list []T, read func(i int, of T) S) []S {
	out := make([]S, len(list))
	var next atomic.Int64
	work := func() {
		for i := int(next.Add(1)) - 1; i < len(list); i = int(next.Add(1)) - 1 {
			out[i] = read(i, list[i])
		}
	}
	var wg sync.WaitGroup
	for range min(maxReaders, runtime.GOMAXPROCS(0), len(list)) - 1 {
		wg.Go(work)
	}
	work()
	wg.Wait()
	return out
}

// Deadline is until when a request that begins now waits for slow measurements: for a
// tenth of a second.
func Deadline() time.Time { return time.Now().Add(patience) }

// Containers are the figures of each. Layers that were not measured yet are measured
// while the cgroups are read, and waited for until the deadline.
func (r *Reader) Containers(list []Container, deadline time.Time) []*runtimeapi.ContainerStats {
	return Each(list, func(_ int, c Container) *runtimeapi.ContainerStats { return r.container(c, deadline) })
}

// container is the figures of one. One that does not run has a layer and nothing
// else.
func (r *Reader) container(c Container, deadline time.Time) *runtimeapi.ContainerStats {
	first := r.beginLayer(c)
	rec := c.Record
	out := &runtimeapi.ContainerStats{
		Attributes: &runtimeapi.ContainerAttributes{
			Id: rec.ID, Metadata: rec.Config.GetMetadata(), Labels: rec.Config.GetLabels(), Annotations: rec.Config.GetAnnotations(),
		},
	}
	if rec.State == record.Running {
		if u, err := c.Gauge.meter.Read(rec.Cgroup, 0); err == nil { // else it has just exited
			out.Cpu, out.Memory, out.Swap, out.Io = cpu(&u, &c.Gauge.rate, rec.StartedAt), memory(&u), swap(&u), pressure(&u)
		}
	}
	if _, _, known := c.Gauge.layer.get(); !known {
		await(first, deadline)
	}
	out.WritableLayer = r.writable(c.Gauge)
	return out
}

func (r *Reader) beginLayer(c Container) <-chan struct{} {
	id := c.Record.ID
	return c.Gauge.layer.begin(r.walks, func() (l Layer, err error) {
		l.Bytes, l.Inodes, err = r.measure(id)
		return l, err
	})
}

// writable is a layer's size as last measured. While that is not known, only the
// file system is: a zero would be taken for the truth.
func (r *Reader) writable(g *Gauge) *runtimeapi.FilesystemUsage {
	u := &runtimeapi.FilesystemUsage{Timestamp: time.Now().UnixNano(), FsId: &runtimeapi.FilesystemIdentifier{Mountpoint: r.root}}
	if l, at, known := g.layer.get(); known {
		u.Timestamp, u.UsedBytes, u.InodesUsed = at.UnixNano(), value(l.Bytes), value(l.Inodes)
	}
	return u
}

// Pods are the figures of each pod: of its cgroup, its network and its containers, as
// Containers reads them.
func (r *Reader) Pods(list []Pod, deadline time.Time) []*runtimeapi.PodSandboxStats {
	networks := NetworksOf(list)
	out := Each(list, func(_ int, p Pod) *runtimeapi.PodSandboxStats { return r.pod(p, deadline) })
	for i, all := range <-networks {
		if all != nil {
			out[i].Linux.Network = Network(all, time.Now())
		}
	}
	return out
}

// NetworksOf reads the interfaces of the pods' networks in the background.
func NetworksOf(list []Pod) <-chan [][]Interface {
	pins, done := make([]string, len(list)), make(chan [][]Interface, 1)
	for i, p := range list {
		pins[i] = p.Net
	}
	go func() { done <- Networks(pins) }()
	return done
}

func (r *Reader) pod(p Pod, deadline time.Time) *runtimeapi.PodSandboxStats {
	rec, linux := p.Record, &runtimeapi.LinuxPodSandboxStats{}
	for _, c := range p.Containers {
		linux.Containers = append(linux.Containers, r.container(c, deadline))
	}
	if u, err := p.Gauge.meter.Read(rec.CgroupParent, usage.Count); err == nil {
		linux.Cpu, linux.Memory, linux.Io, linux.Process = cpu(&u, &p.Gauge.rate, rec.CreatedAt), memory(&u), pressure(&u), tasks(&u)
	}
	return &runtimeapi.PodSandboxStats{
		Attributes: &runtimeapi.PodSandboxAttributes{
			Id: rec.ID, Metadata: rec.Config.GetMetadata(), Labels: rec.Config.GetLabels(), Annotations: rec.Config.GetAnnotations(),
		},
		Linux: linux,
	}
}
