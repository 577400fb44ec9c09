package server

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/varve-cri/varve/cri/serial"
	"github.com/varve-cri/varve/cri/step"
)

// join does the work of a request that changes something, or waits for the same
// request of another caller and returns its result. The work runs apart from its
// callers: one that leaves is answered in time, also when the work hangs in the
// kernel, and a repeated request finds what is still going on. Its context ends
// linger after the last caller has left. An empty key is the object's id.
func (s *Server) join(ctx context.Context, op step.Op, linger time.Duration, key string, do func(context.Context) (string, error)) (string, error) {
	if key == "" {
		key = op.ID
	}
	id, err := s.runs.Do(ctx, serial.Run{Key: op.Verb + " " + key, ID: op.ID, Linger: linger, Do: do})
	var left *serial.LeftError
	if !errors.As(err, &left) {
		return id, err
	}
	ids := []string{left.ID}
	if c, err := s.table.findContainer(left.ID); err == nil {
		ids = append(ids, c.pod.id)
	}
	for _, l := range s.steps.Live() {
		if l.ID == left.ID && l.Verb == op.Verb && !left.Ending {
			return "", l.Stuck(left.Err)
		}
	}
	if err := s.waits(op.String(), left.Err, ids...); err != nil {
		return "", err
	}
	if ended, id, err := left.Result(); ended { // while we looked for it
		return id, err
	}
	return "", s.blocked(op.String(), left.Err)
}

// blocked adds to the end of the wait of what (a request, an object) which
// operation on one of the objects with the ids it waited for.
func (s *Server) blocked(what string, cause error, ids ...string) error {
	if err := s.waits(what, cause, ids...); err != nil {
		return err
	}
	return fmt.Errorf("%s: waits for another request, or for the daemon's start: %w", what, cause)
}

// waits is the error of blocked when there is such an operation, and else nil.
func (s *Server) waits(what string, cause error, ids ...string) error {
	for _, id := range ids {
		for _, l := range s.steps.Live() {
			if l.ID == id {
				return fmt.Errorf("%s: waits for %s, which is in step %s: %w", what, l.Op, l, cause)
			}
		}
	}
	return nil
}

// op names an operation on the pod.
func (p *pod) op(verb string) step.Op {
	return step.Op{Verb: verb, Object: podName(p.rec.Load().Config.GetMetadata()), ID: p.id}
}

// op names an operation on the container.
func (c *container) op(verb string) step.Op {
	return step.Op{Verb: verb, Object: c.rec.Load().Config.GetMetadata().GetName(), ID: c.id}
}

// holdPod takes the pod's lock for op; the caller releases it. A pod that was
// removed while we waited is not found.
func (s *Server) holdPod(ctx context.Context, op step.Op, p *pod) error {
	if err := p.lock.Acquire(ctx); err != nil {
		return s.blocked(op.String(), err, p.id)
	}
	if v, ok := s.table.pods.Load(p.id); !ok || v != any(p) {
		p.lock.Release()
		return notFound("pod", p.id)
	}
	return nil
}

// hold is holdPod for containers.
func (s *Server) hold(ctx context.Context, op step.Op, c *container) error {
	if err := c.lock.Acquire(ctx); err != nil {
		return s.blocked(op.String(), err, c.id, c.pod.id)
	}
	if v, ok := s.table.containers.Load(c.id); !ok || v != any(c) {
		c.lock.Release()
		return notFound("container", c.id)
	}
	return nil
}

// lockPod finds a pod and takes its lock for what is no operation of its own.
func (s *Server) lockPod(ctx context.Context, id string) (*pod, error) {
	p, err := s.table.findPod(id)
	if err != nil {
		return nil, err
	}
	return p, s.holdPod(ctx, step.Op{Verb: "pod", Object: p.id}, p)
}

// lockContainer is lockPod for containers.
func (s *Server) lockContainer(ctx context.Context, id string) (*container, error) {
	c, err := s.table.findContainer(id)
	if err != nil {
		return nil, err
	}
	return c, s.hold(ctx, step.Op{Verb: "container", Object: c.id}, c)
}
