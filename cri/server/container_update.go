package server

import (
	"context"
	"errors"
	"fmt"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"google.golang.org/protobuf/proto"

	"github.com/varve-cri/varve/cri/plan"
	"github.com/varve-cri/varve/cri/record"
	"github.com/varve-cri/varve/runtime/cgroup"
)

// UpdateContainerResources changes a container's limits, all or none. What the
// request leaves out stays as it is.
func (s *Server) UpdateContainerResources(ctx context.Context, req *runtimeapi.UpdateContainerResourcesRequest) (*runtimeapi.UpdateContainerResourcesResponse, error) {
	c, err := s.lockContainer(ctx, req.GetContainerId())
	if err != nil {
		return nil, err
	}
	defer c.lock.Release()
	if req.GetLinux() == nil {
		return &runtimeapi.UpdateContainerResourcesResponse{}, nil
	}
	rec := c.rec.Load()
	next := mergeResources(rec.Resources, req.GetLinux())
	if err := rec.Clone().Update(next); err != nil {
		return nil, err
	}
	res, err := plan.Resources("linux", next, s.host)
	if err != nil {
		return nil, err
	}
	group := cgroup.Open(rec.Cgroup)
	if rec.State == record.Running {
		if err := group.Set(res); err != nil {
			return nil, err
		}
	}
	err = s.changeContainer(c, mustSave, func(r *record.Container) error { return r.Update(next) })
	if err != nil {
		return nil, errors.Join(err, s.setBack(rec, group))
	}
	if pr := c.ready.Load(); pr != nil {
		res.Devices = pr.plan.Spec.Linux.Resources.Devices
		pr.plan.Spec.Linux.Resources = res
	}
	return &runtimeapi.UpdateContainerResourcesResponse{}, nil
}

// setBack gives a running container the limits again that its record has.
func (s *Server) setBack(rec *record.Container, group *cgroup.Group) error {
	if rec.State != record.Running {
		return nil
	}
	was, err := plan.Resources("linux", rec.Resources, s.host)
	if err == nil {
		err = group.Set(was)
	}
	if err != nil {
		return fmt.Errorf("set the limits back: %w", err)
	}
	return nil
}

// mergeResources puts what the request says over what applies.
func mergeResources(have, want *runtimeapi.LinuxContainerResources) *runtimeapi.LinuxContainerResources {
	out := &runtimeapi.LinuxContainerResources{}
	if have != nil {
		out = proto.CloneOf(have)
	}
	if len(want.GetHugepageLimits()) > 0 {
		out.HugepageLimits = nil
	}
	proto.Merge(out, want) // sets what is not zero, adds to lists and maps
	return out
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

// UpdatePodSandboxResources is told after the kubelet has resized the pod's
// cgroup, which is the kubelet's own: nothing is left to do.
func (s *Server) UpdatePodSandboxResources(_ context.Context, req *runtimeapi.UpdatePodSandboxResourcesRequest) (*runtimeapi.UpdatePodSandboxResourcesResponse, error) {
	if _, err := s.table.findPod(req.GetPodSandboxId()); err != nil {
		return nil, err
	}
	return &runtimeapi.UpdatePodSandboxResourcesResponse{}, nil
}
