package stats

import (
	"fmt"
	"os"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/record"
	"github.com/varve-cri/varve/runtime/cgroup"
)

// Reader reads the use of containers and pods.
type Reader struct {
	root    string
	measure func(id string) (bytes, inodes uint64, err error)
	walks   chan struct{} // one layer is measured at a time
}

// NewReader returns a Reader that has read-write layers, which are below root,
// measured by the function.
func NewReader(root string, measure func(id string) (bytes, inodes uint64, err error)) *Reader {
	return &Reader{root: root, measure: measure, walks: make(chan struct{}, 1)}
}

// Container is the use of one container. One that does not run has a layer and
// nothing else. A layer that was not measured yet is waited for until the
// deadline, and is measured while the cgroup is read.
func (r *Reader) Container(rec *record.Container, l *Layer, deadline time.Time) *runtimeapi.ContainerStats {
	first := r.begin(rec.ID, l)
	out := &runtimeapi.ContainerStats{
		Attributes: &runtimeapi.ContainerAttributes{
			Id: rec.ID, Metadata: rec.Config.GetMetadata(), Labels: rec.Config.GetLabels(), Annotations: rec.Config.GetAnnotations(),
		},
	}
	if rec.State == record.Running {
		if st, err := cgroup.Open(rec.Cgroup).Brief(); err == nil { // else it has just exited
			out.Cpu, out.Memory, out.Swap, out.Io = CPU(st), Memory(st), Swap(st), IO(st)
		}
	}
	out.WritableLayer = r.size(l, first, deadline)
	return out
}

// Pod is the use of one pod: of its cgroup, of its network as process pid sees
// it (0 for none), and of its containers.
func (r *Reader) Pod(rec *record.Pod, pid int, containers []*runtimeapi.ContainerStats) *runtimeapi.PodSandboxStats {
	linux := &runtimeapi.LinuxPodSandboxStats{Containers: containers}
	if st, err := cgroup.Open(rec.CgroupParent).Brief(); err == nil {
		linux.Cpu, linux.Memory, linux.Io, linux.Process = CPU(st), Memory(st), IO(st), Processes(st)
	}
	if pid != 0 && rec.Pins.Net {
		if dev, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/dev", pid)); err == nil {
			linux.Network = Network(string(dev), time.Now())
		}
	}
	return &runtimeapi.PodSandboxStats{
		Attributes: &runtimeapi.PodSandboxAttributes{
			Id: rec.ID, Metadata: rec.Config.GetMetadata(), Labels: rec.Config.GetLabels(), Annotations: rec.Config.GetAnnotations(),
		},
		Linux: linux,
	}
}
