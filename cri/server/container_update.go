package server

import (
	"context"
	"errors"
	"io/fs"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/plan"
	"github.com/varve-cri/varve/cri/record"
	"github.com/varve-cri/varve/cri/resource"
	"github.com/varve-cri/varve/cri/step"
	"github.com/varve-cri/varve/runtime/cgroup"
)

// UpdateContainerResources changes a container's limits, all or none. What the
// request leaves out stays as it is. A container's status tells what was asked
// for, also where the kernel rounds it (memory to pages, shares to a v2 weight):
// the kubelet compares it with what it asked for.
func (s *Server) UpdateContainerResources(ctx context.Context, req *runtimeapi.UpdateContainerResourcesRequest) (*runtimeapi.UpdateContainerResourcesResponse, error) {
	c, err := s.lockContainer(ctx, req.GetContainerId())
	if err != nil {
		return nil, err
	}
	defer c.lock.Release()
	if req.GetWindows() != nil {
		return nil, invalid("windows", "this is a Linux node")
	}
	if req.GetLinux() == nil {
		return &runtimeapi.UpdateContainerResourcesResponse{}, nil
	}
	rec := c.rec.Load()
	u := &update{s: s, c: c, was: rec, next: resource.Merge(rec.Resources, req.GetLinux())}
	if err := u.run(ctx); err != nil {
		return nil, err
	}
	if resource.MoreSwap(resource.Swap(rec.Resources), resource.Swap(u.next)) {
		s.lessSwap(ctx, c, rec.Resources)
	}
	return &runtimeapi.UpdateContainerResourcesResponse{}, nil
}

// update is one run of UpdateContainerResources. Its methods are the steps.
type update struct {
	s           *Server
	c           *container
	was         *record.Container
	next        *runtimeapi.LinuxContainerResources
	limits      *specs.LinuxResources
	adj, wasAdj int // oom_score_adj
	group       *cgroup.Group
	before      cgroup.Saved
}

func (u *update) run(ctx context.Context) error {
	op := step.Op{Verb: "UpdateContainerResources", Object: u.was.Config.GetMetadata().GetName(), ID: u.c.id}
	return u.s.steps.Run(ctx, op, []step.Step{
		{Name: "plan", Do: u.plan},
		{Name: "record", Do: u.begin, Undo: u.giveUp},
		{Name: "pod", Do: u.moreSwap, Undo: u.noMoreSwap},
		{Name: "cgroup", Do: u.set, Undo: func(context.Context) error { return u.group.Restore(u.before) }},
		{Name: "oom score", Do: u.score, Undo: u.unscore},
		{Name: "publish", Do: u.publish},
	})
}

func (u *update) plan(context.Context) error {
	err := u.was.CheckUpdate()
	if err != nil {
		return err
	}
	if u.limits, err = plan.Resources("linux", u.next, u.s.facts()); err != nil {
		return err
	}
	if u.adj, _, err = plan.OOMScoreAdj("linux", u.next, u.s.facts()); err != nil {
		return err
	}
	u.wasAdj, _, err = plan.OOMScoreAdj("linux", u.was.Resources, u.s.facts())
	return err
}

// begin finds the group and notes what it is limited to now. That goes on file
// first for a container that runs; the group of one that does not is made anew
// from the record by the start after a crash.
func (u *update) begin(context.Context) error {
	var err error
	if u.was.State == record.Created {
		if u.group, err = u.c.settleGroup(u.was.Cgroup); err == nil {
			u.before, err = u.group.Save(u.limits)
		}
		return err
	}
	u.group = cgroup.Open(u.was.Cgroup)
	if u.before, err = u.group.Save(u.limits); err != nil {
		return err
	}
	pending := &record.Update{Next: record.Limits{Resources: u.next}, Before: u.before}
	return u.s.changeContainer(u.c, mustSave, func(r *record.Container) error { return r.BeginUpdate(pending) })
}

func (u *update) giveUp(context.Context) error {
	if u.c.rec.Load().Pending == nil {
		return nil
	}
	return u.s.changeContainer(u.c, tryToSave, (*record.Container).EndUpdate)
}

// moreSwap lets the pod have what its container is about to be given. One that
// has not started gets it then.
func (u *update) moreSwap(ctx context.Context) error {
	if u.was.State == record.Created || !resource.MoreSwap(resource.Swap(u.next), resource.Swap(u.was.Resources)) {
		return nil
	}
	return u.s.fitSwap(ctx, u.c.pod, u.c, u.next)
}

func (u *update) noMoreSwap(ctx context.Context) error {
	u.s.lessSwap(ctx, u.c, u.next)
	return nil
}

// set tells the kernel. The limits that it refuses are the request's fault.
func (u *update) set(context.Context) error {
	err := u.group.Set(u.limits)
	if errors.Is(err, fs.ErrNotExist) && !u.group.Exists() {
		return coded(codes.FailedPrecondition, "container %s: has exited meanwhile", u.c.id)
	}
	return refused("linux", err)
}

// refused makes a value that the kernel does not take the fault of the field.
func refused(field string, err error) error {
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ERANGE) {
		return coded(codes.InvalidArgument, "%s: the kernel refuses: %w", field, err)
	}
	return err
}

// score changes the processes that there are; those to come get it from the plan.
func (u *update) score(ctx context.Context) error {
	if u.was.State == record.Created {
		return nil
	}
	err := u.group.SetOOMScoreAdj(u.wasAdj, u.adj)
	if err != nil {
		err = errors.Join(err, u.unscore(ctx))
	}
	return err
}

func (u *update) unscore(context.Context) error {
	if u.was.State == record.Created {
		return nil
	}
	return u.group.SetOOMScoreAdj(u.adj, u.wasAdj)
}

func (u *update) publish(context.Context) error {
	err := u.s.changeContainer(u.c, mustSave, func(r *record.Container) error { return r.Update(u.next) })
	if err != nil {
		return err
	}
	if pr := u.c.ready.Load(); pr != nil {
		u.limits.Devices = pr.plan.Spec.Linux.Resources.Devices
		pr.plan.Spec.Linux.Resources, pr.plan.Spec.Process.OOMScoreAdj = u.limits, &u.adj
	}
	if p := u.c.proc.Load(); p != nil { // what execs start from
		next := *p
		next.OOMScoreAdj = int32(u.adj)
		u.c.proc.Store(&next)
	}
	return nil
}

// finishUpdate ends an update that a daemon before us was in the middle of: it
// goes on with it, or where that cannot be, takes it back. Then the record and
// the kernel agree. The caller holds the lock.
func (s *Server) finishUpdate(c *container) {
	rec := c.rec.Load()
	if rec.Pending == nil {
		return
	}
	u := &update{s: s, c: c, was: rec, next: rec.Pending.Next.Resources, before: rec.Pending.Before, group: cgroup.Open(rec.Cgroup)}
	ctx := context.Background()
	err := u.plan(ctx)
	if err == nil {
		err = u.moreSwap(ctx)
	}
	if err == nil {
		err = errors.Join(u.set(ctx), u.score(ctx))
	}
	if err == nil {
		err = u.publish(ctx)
	}
	if err == nil {
		c.log(context.Background()).Info("Update that was cut off is finished")
		return
	}
	back := errors.Join(u.group.Restore(u.before), u.unscore(ctx))
	if back == nil {
		back = u.giveUp(ctx)
	}
	c.log(context.Background()).Error(errors.Join(err, back), "Update that was cut off is taken back")
}

// ReopenContainerLog makes the shim go on in a new file at the log's path.
func (s *Server) ReopenContainerLog(ctx context.Context, req *runtimeapi.ReopenContainerLogRequest) (*runtimeapi.ReopenContainerLogResponse, error) {
	_, client, err := s.running(ctx, req.GetContainerId(), "reopen its log")
	if err != nil {
		return nil, err
	}
	if err := client.ReopenLog(ctx); err != nil {
		return nil, err
	}
	return &runtimeapi.ReopenContainerLogResponse{}, nil
}
