package server

import (
	"context"
	"fmt"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/step"
)

// changer is a request that changes something: a test of it makes what it is about,
// sends it, and looks at what has become of it.
type changer struct {
	verb string
	// make returns what sends the request, and what checks that it was done.
	make func(n *node, round int) (send func(context.Context) error, check func())
}

// cancelled are the requests of a pod's and a container's life.
func cancelled(t *testing.T) []changer {
	pod := func(n *node, round int, change ...func(*runtimeapi.PodSandboxConfig)) (string, *runtimeapi.PodSandboxConfig) {
		pc := podConfig(t, append(change, func(c *runtimeapi.PodSandboxConfig) { c.Metadata.Name = fmt.Sprint("pod", round) })...)
		return n.pod(pc), pc
	}
	container := func(n *node, round int) (string, *runtimeapi.PodSandboxConfig, *runtimeapi.ContainerConfig) {
		id, pc := pod(n, round)
		return id, pc, containerConfig(pc, "main", "ignore", "SIGTERM", "+", "sleep")
	}
	running := func(n *node, round int) string {
		id, pc, cc := container(n, round)
		return n.run(id, pc, cc)
	}
	return []changer{
		{"RunPodSandbox", func(n *node, round int) (func(context.Context) error, func()) {
			pc := podConfig(t, sharedPID, ownNetwork, func(c *runtimeapi.PodSandboxConfig) { c.Metadata.Name = fmt.Sprint("pod", round) })
			var id string
			send := func(ctx context.Context) error {
				r, err := n.RunPodSandbox(ctx, &runtimeapi.RunPodSandboxRequest{Config: pc})
				id = r.GetPodSandboxId()
				return err
			}
			return send, func() { n.wantPods(pc, id) }
		}},
		{"CreateContainer", func(n *node, round int) (func(context.Context) error, func()) {
			p, pc, cc := container(n, round)
			var id string
			send := func(ctx context.Context) error {
				r, err := n.CreateContainer(ctx, &runtimeapi.CreateContainerRequest{PodSandboxId: p, Config: cc, SandboxConfig: pc})
				id = r.GetContainerId()
				return err
			}
			return send, func() { n.wantContainers(p, id, runtimeapi.ContainerState_CONTAINER_CREATED) }
		}},
		{"StartContainer", func(n *node, round int) (func(context.Context) error, func()) {
			p, pc, cc := container(n, round)
			id, err := n.create(p, pc, cc)
			if err != nil {
				t.Fatal(err)
			}
			send := func(ctx context.Context) error {
				_, err := n.StartContainer(ctx, &runtimeapi.StartContainerRequest{ContainerId: id})
				return err
			}
			return send, func() { n.wantContainers(p, id, runtimeapi.ContainerState_CONTAINER_RUNNING) }
		}},
		{"StopContainer", func(n *node, round int) (func(context.Context) error, func()) {
			id := running(n, round)
			send := func(ctx context.Context) error {
				_, err := n.StopContainer(ctx, &runtimeapi.StopContainerRequest{ContainerId: id, Timeout: 1})
				return err
			}
			return send, func() {
				if got := n.status(id).GetState(); got != runtimeapi.ContainerState_CONTAINER_EXITED {
					t.Errorf("stopped: %v", got)
				}
			}
		}},
		{"RemoveContainer", func(n *node, round int) (func(context.Context) error, func()) {
			id := running(n, round)
			send := func(ctx context.Context) error {
				_, err := n.RemoveContainer(ctx, &runtimeapi.RemoveContainerRequest{ContainerId: id})
				return err
			}
			return send, func() {
				_, err := n.ContainerStatus(n.ctx(), &runtimeapi.ContainerStatusRequest{ContainerId: id})
				want(t, err, codes.NotFound, id)
			}
		}},
		{"StopPodSandbox", func(n *node, round int) (func(context.Context) error, func()) {
			p, pc := pod(n, round, sharedPID, ownNetwork)
			c := n.run(p, pc, containerConfig(pc, "main", "sleep"))
			send := func(ctx context.Context) error {
				_, err := n.StopPodSandbox(ctx, &runtimeapi.StopPodSandboxRequest{PodSandboxId: p})
				return err
			}
			return send, func() {
				st, err := n.PodSandboxStatus(n.ctx(), &runtimeapi.PodSandboxStatusRequest{PodSandboxId: p})
				if err != nil || st.GetStatus().GetState() != runtimeapi.PodSandboxState_SANDBOX_NOTREADY || n.status(c).GetState() != runtimeapi.ContainerState_CONTAINER_EXITED {
					t.Errorf("stopped: %v, %v", st, err)
				}
			}
		}},
		{"RemovePodSandbox", func(n *node, round int) (func(context.Context) error, func()) {
			p, pc := pod(n, round, sharedPID, ownNetwork)
			n.run(p, pc, containerConfig(pc, "main", "sleep"))
			send := func(ctx context.Context) error {
				_, err := n.RemovePodSandbox(ctx, &runtimeapi.RemovePodSandboxRequest{PodSandboxId: p})
				return err
			}
			return send, func() {
				_, err := n.PodSandboxStatus(n.ctx(), &runtimeapi.PodSandboxStatusRequest{PodSandboxId: p})
				want(t, err, codes.NotFound, p)
			}
		}},
	}
}

// TestCancelAtEveryStep cancels every request at each of its steps. The same
// request, sent again, joins what still runs or does what is left to do, and
// nothing is there twice or left over.
func TestCancelAtEveryStep(t *testing.T) {
	for _, r := range cancelled(t) {
		t.Run(r.verb, func(t *testing.T) {
			n := newNode(t)
			n.network()
			n.pull()
			var steps []string
			for {
				send, check := r.make(n, len(steps))
				name := n.cancelAt(r.verb, len(steps), send)
				if err := send(n.ctx()); err != nil {
					t.Errorf("cancelled at step %q, repeated: %v", name, err)
				} else {
					check()
				}
				if name == "" {
					break // it has come to its end
				}
				steps = append(steps, name)
			}
			t.Logf("cancelled at %v", steps)
			if len(steps) < 2 {
				t.Error("it has too few steps to be cancelled at")
			}
			settle(t, n)
			// What is just on its way out counts when it is there twice in a row.
			n.s.leaks.Look()
			await(t, "nothing is left over", func() bool {
				leaks := n.s.leaks.Look()
				if len(leaks) > 0 {
					t.Logf("left for now: %v", leaks)
				}
				return len(leaks) == 0
			})
		})
	}
}

// cancelAt sends a request, and cancels it when its step with the number at
// begins. It returns that step's name, "" when there was no such step.
func (n *node) cancelAt(verb string, at int, send func(context.Context) error) string {
	n.t.Helper()
	ctx, cancel := context.WithCancel(n.ctx())
	defer cancel()
	var count int // of steps; only the operation's own goroutine touches it
	reached := make(chan string, 1)
	f := func(stepCtx context.Context, op step.Op, name string) {
		if op.Verb != verb {
			return
		}
		if count == at {
			reached <- name
			cancel()
			select { // a start goes on for a while
			case <-stepCtx.Done():
			case <-time.After(30 * time.Millisecond):
			}
		}
		count++
	}
	n.hook.f.Store(&f)
	defer n.hook.f.Store(nil)
	err := send(ctx)
	select {
	case name := <-reached:
		if err != nil && status.Code(err) != codes.Canceled {
			n.t.Errorf("cancelled at step %q: %v", name, err)
		}
		return name
	default:
		if err != nil {
			n.t.Errorf("not cancelled: %v", err)
		}
		return ""
	}
}

// wantPods fails the test unless one ready pod was made by config.
func (n *node) wantPods(config *runtimeapi.PodSandboxConfig, id string) {
	n.t.Helper()
	r, err := n.ListPodSandbox(n.ctx(), &runtimeapi.ListPodSandboxRequest{})
	if err != nil {
		n.t.Fatal(err)
	}
	var got []string
	for _, p := range r.GetItems() {
		if p.GetMetadata().GetUid() == config.GetMetadata().GetUid() && p.GetState() == runtimeapi.PodSandboxState_SANDBOX_READY {
			got = append(got, p.GetId())
		}
	}
	if len(got) != 1 || got[0] != id {
		n.t.Errorf("there are pods %v, want %s", got, id)
	}
}

// wantContainers fails the test unless the pod has just that one container, in
// that state.
func (n *node) wantContainers(pod, id string, state runtimeapi.ContainerState) {
	n.t.Helper()
	r, err := n.ListContainers(n.ctx(), &runtimeapi.ListContainersRequest{Filter: &runtimeapi.ContainerFilter{PodSandboxId: pod}})
	if err != nil {
		n.t.Fatal(err)
	}
	if got := r.GetContainers(); len(got) != 1 || got[0].GetId() != id || got[0].GetState() != state {
		n.t.Errorf("there are containers %v, want %s %v", got, id, state)
	}
}
