package server

import (
	"context"
	"errors"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/plan"
	"github.com/varve-cri/varve/cri/record"
	"github.com/varve-cri/varve/cri/resource"
	"github.com/varve-cri/varve/cri/step"
	"github.com/varve-cri/varve/runtime/cgroup"
)

// UpdatePodSandboxResources notes what the pod as a whole is limited to. The
// kubelet asks before it resizes the pod's cgroup, which is its own, and takes
// an error for a refusal; the cgroup of a pod that named no parent is varve's to
// resize, all or nothing.
func (s *Server) UpdatePodSandboxResources(ctx context.Context, req *runtimeapi.UpdatePodSandboxResourcesRequest) (*runtimeapi.UpdatePodSandboxResourcesResponse, error) {
	p, err := s.lockPod(ctx, req.GetPodSandboxId())
	if err != nil {
		return nil, err
	}
	defer p.lock.Release()
	if err := p.sums.Acquire(ctx); err != nil {
		return nil, s.blocked("UpdatePodSandboxResources", err, p.id)
	}
	defer p.sums.Release()
	was := p.rec.Load()
	u := &podUpdate{s: s, p: p, was: was}
	have := was.CurrentLimits()
	if have.Resources != nil || req.GetResources() != nil {
		u.next.Resources = resource.Merge(have.Resources, req.GetResources())
	}
	if have.Overhead != nil || req.GetOverhead() != nil {
		u.next.Overhead = resource.Merge(have.Overhead, req.GetOverhead())
	}
	op := step.Op{Verb: "UpdatePodSandboxResources", Object: podName(was.Config.GetMetadata()), ID: p.id}
	err = s.steps.Run(ctx, op, []step.Step{
		{Name: "plan", Do: u.plan},
		{Name: "record", Do: u.begin, Undo: u.giveUp},
		{Name: "cgroup", Do: u.set, Undo: u.restore},
		{Name: "publish", Do: u.publish},
	})
	if err != nil {
		return nil, err
	}
	return &runtimeapi.UpdatePodSandboxResourcesResponse{}, nil
}

// podUpdate is one run of UpdatePodSandboxResources. Its methods are the steps.
type podUpdate struct {
	s      *Server
	p      *pod
	was    *record.Pod
	next   record.Limits
	limits *specs.LinuxResources
	group  *cgroup.Group // nil when it is not varve's
	before cgroup.Saved
}

func (u *podUpdate) plan(context.Context) error {
	err := u.was.CheckUpdate()
	if err == nil {
		u.limits, err = plan.PodResources("", u.next.Resources, u.next.Overhead, swapOf(u.p, nil, nil), u.s.facts())
	}
	return err
}

func (u *podUpdate) begin(context.Context) error {
	if !u.was.OwnCgroup {
		return nil
	}
	var err error
	if u.group, err = cgroup.Create(u.was.CgroupParent, nil); err != nil {
		return err
	}
	if u.before, err = u.group.Save(u.limits); err != nil {
		return err
	}
	pending := &record.Update{Next: u.next, Before: u.before}
	return u.s.changePod(u.p, mustSave, func(r *record.Pod) error { return r.BeginUpdate(pending) })
}

func (u *podUpdate) giveUp(context.Context) error {
	if u.p.rec.Load().Pending == nil {
		return nil
	}
	return u.s.changePod(u.p, tryToSave, (*record.Pod).EndUpdate)
}

func (u *podUpdate) set(context.Context) error {
	if u.group == nil {
		return nil
	}
	return refused("resources", u.group.Set(u.limits))
}

func (u *podUpdate) restore(context.Context) error {
	if u.group == nil {
		return nil
	}
	return u.group.Restore(u.before)
}

func (u *podUpdate) publish(context.Context) error {
	return u.s.changePod(u.p, mustSave, func(r *record.Pod) error { return r.Update(u.next) })
}

// finishPodUpdate is finishUpdate for pods. The caller holds the lock.
func (s *Server) finishPodUpdate(p *pod) {
	rec := p.rec.Load()
	if rec.Pending == nil {
		return
	}
	u := &podUpdate{s: s, p: p, was: rec, next: rec.Pending.Next, before: rec.Pending.Before, group: cgroup.Open(rec.CgroupParent)}
	ctx := context.Background()
	_ = p.sums.Acquire(ctx) // without an end, it cannot fail
	defer p.sums.Release()
	err := u.plan(ctx)
	if err == nil {
		err = u.set(ctx)
	}
	if err == nil {
		err = u.publish(ctx)
	}
	if err == nil {
		p.log(context.Background()).Info("Update that was cut off is finished")
		return
	}
	back := u.restore(ctx)
	if back == nil {
		back = u.giveUp(ctx)
	}
	p.log(context.Background()).Error(errors.Join(err, back), "Update that was cut off is taken back")
}

// limitsOf is what a new pod's own cgroup is limited to; nil when there is
// nothing to set, or when the cgroup is the kubelet's. The request is checked
// in either case.
func (s *Server) limitsOf(config *runtimeapi.PodSandboxConfig, own bool) (*specs.LinuxResources, error) {
	linux := config.GetLinux()
	if linux.GetResources() == nil && linux.GetOverhead() == nil {
		return nil, nil
	}
	limits, err := plan.PodResources("config.linux.", linux.GetResources(), linux.GetOverhead(), 0, s.facts())
	if err != nil || !own {
		return nil, err
	}
	return limits, nil
}

// limit makes the pod's own cgroup, whose removal is owed already, with limits.
// Device rules are the containers' own affair: a v1 group cannot allow
// what the one above it denies.
func (r *podRun) limit(context.Context) error {
	if r.limits == nil {
		return nil
	}
	group, err := cgroup.Create(r.pod.rec.Load().CgroupParent, nil)
	if err != nil {
		return err
	}
	if err := group.Set(r.limits); err != nil {
		return errors.Join(refused("config.linux.resources", err), group.Remove())
	}
	return nil
}

func (r *podRun) unlimit(context.Context) error {
	return removeGroups(r.pod.rec.Load())
}
