package server

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/varve-cri/varve/cri/record"
	"github.com/varve-cri/varve/cri/serial"
	"github.com/varve-cri/varve/cri/stats"
	"github.com/varve-cri/varve/runtime/plan"
	"github.com/varve-cri/varve/shim"
)

// pod is one pod. Only rec is read without lock.
type pod struct {
	id   string
	lock serial.Lock // held by the operation that changes the pod
	rec  atomic.Pointer[record.Pod]

	write sync.Mutex // serialises update; never held by a reader
	dead  bool       // guarded by write: the record is deleted and must not be written again

	mu         sync.Mutex            // guards the fields below
	gone       bool                  // removed: no container may join
	containers map[string]*container // the pod's containers

	pause atomic.Pointer[shim.Client] // of the shared PID namespace's init; written under lock
	shm   serial.Lock                 // held while the pod's /dev/shm is made
	sums  serial.Lock                 // held while the limits of the pod's own cgroup are set
	gauge stats.Gauge                 // what its statistics remember

	stopped latch // a stop has begun: its forwarded ports end
}

// container is one container.
type container struct {
	id   string
	pod  *pod
	lock serial.Lock // held by the operation that changes the container
	rec  atomic.Pointer[record.Container]

	write sync.Mutex // serialises update; never held by a reader
	dead  bool       // guarded by write: as in pod

	client atomic.Pointer[shim.Client]  // its shim's connection while it runs
	proc   atomic.Pointer[plan.Process] // its compiled process, what an exec starts from
	ready  atomic.Pointer[prepared]     // planned by Create for Start
	asked  atomic.Bool                  // its stop signal was sent
	exited latch                        // the exit is on record
	tidied latch                        // what the exit left (the cgroup) is gone
	gauge  stats.Gauge                  // what its statistics remember
	group  atomic.Pointer[pendingGroup] // made ahead by Create for Start
}

// latch is an event that happens once.
type latch struct {
	once sync.Once
	ch   chan struct{}
}

func newLatch() latch { return latch{ch: make(chan struct{})} }

func (l *latch) close() { l.once.Do(func() { close(l.ch) }) }

// table is every pod and container by id and by name. The maps are lock-free
// for readers and cost the same however many entries they have.
type table struct {
	pods, containers         sync.Map // id -> *pod, *container
	podNames, containerNames sync.Map // key -> *pod, *container
}

func newPod(r *record.Pod) *pod {
	p := &pod{id: r.ID, lock: serial.NewLock(), containers: map[string]*container{}, shm: serial.NewLock(), sums: serial.NewLock(), stopped: newLatch()}
	p.rec.Store(r)
	return p
}

func newContainer(p *pod, r *record.Container) *container {
	c := &container{id: r.ID, pod: p, lock: serial.NewLock(), exited: newLatch(), tidied: newLatch()}
	c.rec.Store(r)
	return c
}

// podKey is what makes two RunPodSandbox requests the same.
func podKey(r *record.Pod) string {
	m := r.Config.GetMetadata()
	return fmt.Sprintf("%q/%q/%q/%d", m.GetNamespace(), m.GetName(), m.GetUid(), m.GetAttempt())
}

// containerKey is what makes two CreateContainer requests the same.
func containerKey(r *record.Container) string {
	m := r.Config.GetMetadata()
	return fmt.Sprintf("%s/%q/%d", r.PodID, m.GetName(), m.GetAttempt())
}

func (t *table) addPod(p *pod) {
	t.pods.Store(p.id, p)
	t.podNames.Store(podKey(p.rec.Load()), p)
}

// addContainer fails when the pod was removed in the meantime.
func (t *table) addContainer(c *container) error {
	c.pod.mu.Lock()
	defer c.pod.mu.Unlock()
	if c.pod.gone {
		return notFound("pod", c.pod.id)
	}
	c.pod.containers[c.id] = c
	t.containers.Store(c.id, c)
	t.containerNames.Store(containerKey(c.rec.Load()), c)
	return nil
}

func (t *table) dropPod(p *pod) {
	p.gauge.Close()
	t.pods.CompareAndDelete(p.id, p)
	t.podNames.CompareAndDelete(podKey(p.rec.Load()), p)
}

func (t *table) dropContainer(c *container) {
	c.gauge.Close()
	c.pod.mu.Lock()
	delete(c.pod.containers, c.id)
	c.pod.mu.Unlock()
	t.containers.CompareAndDelete(c.id, c)
	t.containerNames.CompareAndDelete(containerKey(c.rec.Load()), c)
}

// list is the pod's containers at this moment.
func (p *pod) list() []*container {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]*container, 0, len(p.containers))
	for _, c := range p.containers {
		all = append(all, c)
	}
	return all
}

// close makes the pod refuse containers; false while it has some.
func (p *pod) close() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gone = len(p.containers) == 0
	return p.gone
}

// findPod finds a pod by its id or, as people type it, by the beginning of it.
func (t *table) findPod(id string) (*pod, error) {
	return find[pod](&t.pods, "pod", id)
}

// findContainer finds a container by its id or the beginning of it.
func (t *table) findContainer(id string) (*container, error) {
	return find[container](&t.containers, "container", id)
}

func find[T any](m *sync.Map, kind, id string) (*T, error) {
	if v, ok := m.Load(id); ok {
		return v.(*T), nil //nolint:forcetypeassert // the map holds nothing else
	}
	if id == "" {
		return nil, invalid(strings.ReplaceAll(kind, "pod", "pod_sandbox")+"_id", "is empty")
	}
	if len(id) >= 64 {
		return nil, notFound(kind, id)
	}
	var hit *T
	n := 0
	m.Range(func(k, v any) bool {
		if strings.HasPrefix(k.(string), id) { //nolint:forcetypeassert // ids only
			hit, n = v.(*T), n+1 //nolint:forcetypeassert // see above
		}
		return n < 2
	})
	switch n {
	case 0:
		return nil, notFound(kind, id)
	case 1:
		return hit, nil
	default:
		return nil, invalid(kind+" id", "%s is the beginning of more than one", id)
	}
}

// eachPod calls f for every pod.
func (t *table) eachPod(f func(*pod)) {
	t.pods.Range(func(_, v any) bool { f(v.(*pod)); return true }) //nolint:forcetypeassert // *pod only
}

// eachContainer calls f for every container.
func (t *table) eachContainer(f func(*container)) {
	t.containers.Range(func(_, v any) bool { f(v.(*container)); return true }) //nolint:forcetypeassert // *container only
}
