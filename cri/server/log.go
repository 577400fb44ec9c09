package server

import (
	"context"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/klog/v2"
)

// log is the request's logger, whose lines tell which pod they are about. It
// costs some allocations: ask for it where a line is written.
func (p *pod) log(ctx context.Context) klog.Logger {
	return klog.LoggerWithValues(klog.FromContext(ctx), p.values()...)
}

// log is the request's logger, whose lines tell which container they are about.
func (c *container) log(ctx context.Context) klog.Logger {
	return klog.LoggerWithValues(klog.FromContext(ctx), c.values()...)
}

// values are what a line about the pod tells of it, as klog's keys and values.
func (p *pod) values() []any {
	m := p.rec.Load().Config.GetMetadata()
	return []any{"pod", klog.KRef(m.GetNamespace(), m.GetName()), "podUID", m.GetUid(), "podID", p.id}
}

// values are what a line about the container tells of it and of its pod.
func (c *container) values() []any {
	return append(c.pod.values(), "container", c.rec.Load().Config.GetMetadata().GetName(), "containerID", c.id)
}

// objects finds what a request is about before it is served: afterwards it may be
// gone.
func (s *Server) objects(req any) func() []any {
	var found []func() []any
	add := func(f func() []any) { found = append(found, f) }
	switch r := req.(type) {
	case *runtimeapi.RunPodSandboxRequest:
		m := r.GetConfig().GetMetadata()
		add(func() []any { return []any{"pod", klog.KRef(m.GetNamespace(), m.GetName()), "podUID", m.GetUid()} })
	case interface{ GetPodSandboxId() string }:
		if p, err := s.table.findPod(r.GetPodSandboxId()); err == nil {
			add(p.values)
		} else {
			add(func() []any { return []any{"podID", r.GetPodSandboxId()} })
		}
	case interface{ GetContainerId() string }:
		if c, err := s.table.findContainer(r.GetContainerId()); err == nil {
			add(c.values)
		} else {
			add(func() []any { return []any{"containerID", r.GetContainerId()} })
		}
	case interface{ GetImage() *runtimeapi.ImageSpec }:
		add(func() []any { return []any{"image", r.GetImage().GetImage()} })
	}
	if r, ok := req.(*runtimeapi.CreateContainerRequest); ok {
		add(func() []any { return []any{"container", r.GetConfig().GetMetadata().GetName()} })
	}
	return func() []any {
		var values []any
		for _, f := range found {
			values = append(values, f()...)
		}
		return values
	}
}
