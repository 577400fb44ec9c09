package server

import (
	"context"
	"errors"
	"fmt"
	"sync"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/record"
	"github.com/varve-cri/varve/cri/shm"
	"github.com/varve-cri/varve/cri/step"
	"github.com/varve-cri/varve/runtime/cgroup"
	"github.com/varve-cri/varve/runtime/namespace"
)

// StopPodSandbox kills the pod's containers and gives back its network. A pod
// that is not there is stopped.
func (s *Server) StopPodSandbox(ctx context.Context, req *runtimeapi.StopPodSandboxRequest) (*runtimeapi.StopPodSandboxResponse, error) {
	err := s.takeDown(ctx, "StopPodSandbox", req.GetPodSandboxId(), func(ctx context.Context, p *pod) error {
		return s.stopPod(ctx, p, "StopPodSandbox", false)
	})
	if err != nil {
		return nil, err
	}
	return &runtimeapi.StopPodSandboxResponse{}, nil
}

// takeDown joins or does the work of a request that a pod which is gone has had
// done, under the pod's lock.
func (s *Server) takeDown(ctx context.Context, verb, id string, do func(context.Context, *pod) error) error {
	p, err := s.table.findPod(id)
	if err == nil {
		op := p.op(verb)
		_, err = s.join(ctx, op, 0, "", func(ctx context.Context) (string, error) {
			if err := s.holdPod(ctx, op, p); err != nil {
				return "", err
			}
			defer p.lock.Release()
			return "", do(ctx, p)
		})
	}
	if isNotFound(err) {
		return nil
	}
	return err
}

// stopPod takes down all that a stopped pod must not have. With leave, a
// network that refuses to be detached does not stop it: the duty stays on disk
// and is tried again in the background. The caller holds the pod's lock.
func (s *Server) stopPod(ctx context.Context, p *pod, verb string, leave bool) error {
	rec := p.rec.Load()
	was := rec.State
	if was == record.PodNotReady && !owesStop(rec) && !anyAlive(p) {
		return nil // stopped already: the kubelet asks many times
	}
	dir := s.records.PodDir(p.id)
	err := s.steps.Run(ctx, p.op(verb), []step.Step{
		// First of all: from here on no container starts in the pod.
		{Name: "record", Do: func(context.Context) error {
			p.stopped.close()
			if was != record.PodReady && was != record.PodPreparing {
				return nil
			}
			how := onlyShow // a pod that lost its namespaces is found out by a restart
			if rec.Owes(record.DutyNetwork) {
				how = tryToSave // one that lost its address is not
			}
			return s.changePod(p, how, func(r *record.Pod) error { return r.MarkStopped("") })
		}},
		{Name: "containers", Do: func(ctx context.Context) error { return s.killAll(ctx, p) }},
		{Name: "pause", Do: func(ctx context.Context) error {
			if !rec.Owes(record.DutyPause) {
				return nil
			}
			return s.stopPause(ctx, p)
		}},
		{Name: "network", Do: func(ctx context.Context) error { return s.detachPod(ctx, p, leave) }},
		{Name: "namespaces", Do: func(context.Context) error { return namespace.Unpin(dir + "/ns") }},
		{Name: "shm", Do: func(context.Context) error { return shm.Remove(dir) }},
		{Name: "duties", Do: func(context.Context) error { return s.changePod(p, tryToSave, acquitStopped) }},
	})
	if err == nil && was == record.PodReady {
		s.event(runtimeapi.ContainerEventType_CONTAINER_STOPPED_EVENT, p.id, p)
	}
	return err
}

// owesStop says whether something is left of the pod that a stop takes away;
// its cgroup stays until it is removed.
func owesStop(r *record.Pod) bool {
	return r.Owes(record.DutyPause) || r.Owes(record.DutyNetwork) || r.Owes(record.DutyNamespaces)
}

func acquitStopped(r *record.Pod) error {
	r.Acquit(record.DutyPause, "")
	r.Acquit(record.DutyNetwork, "")
	r.Acquit(record.DutyNamespaces, "")
	r.PausePID, r.Network = 0, record.Network{}
	return nil
}

func anyAlive(p *pod) bool {
	for _, c := range p.list() {
		if alive(c.rec.Load()) {
			return true
		}
	}
	return false
}

func (s *Server) detachPod(ctx context.Context, p *pod, leave bool) error {
	if !p.rec.Load().Owes(record.DutyNetwork) {
		return nil
	}
	// The request's own end must not kill a plugin in the middle of its DEL: the
	// bridge plugin, run again, finds no link and leaves its firewall rules.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.conf().Requests.NetworkTimeout.Std())
	defer cancel()
	err := s.net.Detach(ctx, p.id)
	if err == nil {
		return nil
	}
	s.debts.Owe(p.id)
	if leave {
		p.log(ctx).Error(err, "Network detach is tried again later")
		return nil
	}
	return err
}

// killAll kills all containers of the pod, side by side.
func (s *Server) killAll(ctx context.Context, p *pod) error {
	var wg sync.WaitGroup
	list := p.list()
	errs := make([]error, len(list))
	for i, c := range list {
		wg.Go(func() {
			if errs[i] = c.lock.Acquire(ctx); errs[i] != nil {
				errs[i] = s.blocked("container "+c.id, errs[i], c.id)
				return
			}
			defer c.lock.Release()
			errs[i] = s.kill(ctx, c)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// RemovePodSandbox stops the pod if need be and removes it with all its
// containers. A pod that is not there is removed.
func (s *Server) RemovePodSandbox(ctx context.Context, req *runtimeapi.RemovePodSandboxRequest) (*runtimeapi.RemovePodSandboxResponse, error) {
	if err := s.takeDown(ctx, "RemovePodSandbox", req.GetPodSandboxId(), s.removePod); err != nil {
		return nil, err
	}
	return &runtimeapi.RemovePodSandboxResponse{}, nil
}

// removePod removes the pod; the caller holds its lock.
func (s *Server) removePod(ctx context.Context, p *pod) error {
	if err := s.stopPod(ctx, p, "RemovePodSandbox", true); err != nil {
		return err
	}
	rec := p.rec.Load()
	err := s.steps.Run(ctx, p.op("RemovePodSandbox"), []step.Step{
		{Name: "mark", Do: func(context.Context) error {
			return s.changePod(p, onlyShow, func(r *record.Pod) error { return r.MarkRemoving() })
		}},
		{Name: "containers", Do: func(ctx context.Context) error { return s.removeAll(ctx, p) }},
		{Name: "cgroup", Do: func(context.Context) error { return removeGroups(rec) }},
		{Name: "record", Do: func(context.Context) error { return s.forgetPod(p) }},
	})
	if err != nil {
		return err
	}
	s.table.dropPod(p)
	s.gone(runtimeapi.ContainerEventType_CONTAINER_DELETED_EVENT, p.id, p, rec.Config)
	return nil
}

// removeGroups removes the pod's cgroup, and what was made above it. Only what
// varve made: a kubelet's pod group is the kubelet's to remove.
func removeGroups(r *record.Pod) error {
	if r.OwnCgroup {
		if err := cgroup.Open(r.CgroupParent).Remove(); err != nil {
			return err
		}
	}
	return cgroup.RemoveParents(r.CgroupParent)
}

// removeAll removes the pod's containers, and closes the pod when none is left.
func (s *Server) removeAll(ctx context.Context, p *pod) error {
	for !p.close() {
		var wg sync.WaitGroup
		list := p.list()
		errs := make([]error, len(list))
		for i, c := range list {
			wg.Go(func() { errs[i] = s.remove(ctx, c) })
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			return fmt.Errorf("remove: %w", err)
		}
	}
	return nil
}

// payDebt detaches a pod; one that still exists under its own lock.
func (s *Server) payDebt(ctx context.Context, id string) error {
	p, err := s.lockPod(ctx, id)
	switch {
	case err == nil:
		defer p.lock.Release()
	case !isNotFound(err):
		return err
	}
	return s.net.Detach(ctx, id)
}
