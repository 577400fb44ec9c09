package server

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"golang.org/x/sys/unix"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/record"
	"github.com/varve-cri/varve/cri/step"
	"github.com/varve-cri/varve/runtime/cgroup"
	"github.com/varve-cri/varve/shim"
)

const (
	killPatience = 2 * time.Second  // until the cgroup is killed as well
	exitPatience = 30 * time.Second // until we give up on a process that does not die
)

// alive says whether the container may have processes.
func alive(r *record.Container) bool {
	return r.State == record.Starting || r.State == record.Running || r.State == record.Unknown
}

// watch waits for the container's exit. It is the container's one goroutine.
func (s *Server) watch(c *container, client *shim.Client) {
	<-client.Done()
	if e, known := client.Exit(); known {
		s.ended(c, record.Exit{Code: e.Code, OOM: e.OOM, At: e.At})
	} else if !errors.Is(client.Err(), shim.ErrClosed) {
		s.orphaned(c)
	}
	_ = client.Close()
}

// orphaned ends a container whose shim was killed: nobody holds its streams
// or will learn of its exit, so that what is left of it is killed.
func (s *Server) orphaned(c *container) {
	group := cgroup.Open(c.rec.Load().Cgroup)
	if err := group.Kill(); err != nil {
		c.log(context.Background()).Error(err, "Container without a shim is not killed")
	}
	// With the group its last process is gone: whoever reads of the exit may
	// start another container in its place.
	if err := group.Remove(); err != nil {
		c.log(context.Background()).Error(err, "Container without a shim is killed, but not gone")
	}
	s.ended(c, record.Exit{Code: 137, At: time.Now(), Message: "its shim was killed, so the container was killed too"})
}

// ended finalises a container that has exited: the record first, which is what
// a stop waits for, then what is left on the host.
func (s *Server) ended(c *container, e record.Exit) {
	rec := c.rec.Load()
	group := cgroup.Open(rec.Cgroup)
	if sharesPID(c.pod.rec.Load(), rec) {
		if err := group.Kill(); err != nil {
			c.log(context.Background()).Error(err, "Remaining processes are not killed")
		}
	}
	if e.OOM {
		e.Message = whichLimit(group)
	}
	// The exit is shown also when it cannot be written: the shim has it on
	// record as well.
	if err := s.changeContainer(c, tryToSave, func(r *record.Container) error { return r.Exit(e) }); err != nil && !isNotFound(err) {
		c.log(context.Background()).Error(err, "Exit ignored")
	}
	c.client.Store(nil)
	c.proc.Store(nil)
	// Before anybody goes on who waits for the exit: the pod's own end comes after.
	s.event(runtimeapi.ContainerEventType_CONTAINER_STOPPED_EVENT, c.id, c.pod)
	c.exited.close()
	c.gauge.Close()
	if err := group.Remove(); err != nil {
		c.log(context.Background()).Error(err, "Cgroup of an exited container is left until it is removed")
	}
	c.tidied.close()
}

// whichLimit says whose limit a container was killed for, while its group is
// still there to tell.
func whichLimit(group *cgroup.Group) string {
	limit, own, err := group.OOMLimit()
	switch {
	case err != nil:
		return ""
	case own:
		return fmt.Sprintf("out of memory: its limit is %d bytes", limit)
	}
	return "out of memory: not by its own limit, but by the pod's or the machine's"
}

// StopContainer asks the container to stop, and kills it when it has not
// within the timeout. A container that is not there or does not run is stopped.
func (s *Server) StopContainer(ctx context.Context, req *runtimeapi.StopContainerRequest) (*runtimeapi.StopContainerResponse, error) {
	c, err := s.table.findContainer(req.GetContainerId())
	if isNotFound(err) {
		return &runtimeapi.StopContainerResponse{}, nil
	}
	if err != nil {
		return nil, err
	}
	op, patience := c.op("StopContainer"), seconds(req.GetTimeout())
	// A second stop with less patience does not queue behind the first.
	key := fmt.Sprint(c.id, " ", req.GetTimeout())
	_, err = s.join(ctx, op, 0, key, func(ctx context.Context) (string, error) { return "", s.stop(ctx, op, c, patience) })
	if err != nil && !isNotFound(err) {
		return nil, err
	}
	return &runtimeapi.StopContainerResponse{}, nil
}

// stop asks the container to stop for as long as patience, and then kills it.
func (s *Server) stop(ctx context.Context, op step.Op, c *container, patience time.Duration) error {
	// The lock is only waited for, so that a start in progress is over.
	if err := s.hold(ctx, op, c); err != nil {
		return err
	}
	c.lock.Release()
	if !alive(c.rec.Load()) {
		return nil
	}
	return s.steps.Run(ctx, op, []step.Step{
		{Name: "signal", Do: func(ctx context.Context) error {
			if patience <= 0 {
				return nil
			}
			return c.ask(ctx, patience)
		}},
		{Name: "kill", Do: func(ctx context.Context) error { return s.kill(ctx, c) }},
	})
}

// seconds is n seconds, or the longest time there is: a caller that says "for
// ever" with the largest number must not get the opposite.
func seconds(n int64) time.Duration {
	return time.Duration(min(n, math.MaxInt64/int64(time.Second))) * time.Second
}

// ask sends the stop signal and waits for the exit, at most as long as patience.
// A second stop, a retry or one with less patience, joins the first: many a
// program takes a second signal for "at once".
func (c *container) ask(ctx context.Context, patience time.Duration) error {
	rec, client := c.rec.Load(), c.client.Load()
	if !alive(rec) || client == nil {
		return nil
	}
	if !c.asked.CompareAndSwap(false, true) {
		return c.wait(ctx, patience)
	}
	if err := signal(ctx, client, unix.Signal(rec.StopSig), patience); err != nil {
		c.asked.Store(false)
		c.log(ctx).V(2).Info("Stop signal was not taken", "err", err)
	}
	return c.wait(ctx, patience)
}

// signal asks the shim to send a signal. One that does not answer is waited for
// no longer than patience.
func signal(ctx context.Context, client *shim.Client, sig unix.Signal, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return client.Signal(ctx, sig)
}

// wait waits for the exit; only the end of the context is an error.
func (c *container) wait(ctx context.Context, patience time.Duration) error {
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case <-c.exited.ch:
	case <-t.C:
	case <-ctx.Done():
		return fmt.Errorf("container %s: wait for its exit: %w", c.id, context.Cause(ctx))
	}
	return nil
}

// kill kills the container and waits for its exit.
func (s *Server) kill(ctx context.Context, c *container) error {
	if !alive(c.rec.Load()) {
		return nil
	}
	client := c.client.Load()
	if client == nil {
		return s.killLost(c)
	}
	err := signal(ctx, client, unix.SIGKILL, killPatience)
	if err != nil && !errors.Is(err, shim.ErrExited) && !errors.Is(err, shim.ErrGone) {
		c.log(ctx).V(2).Info("Shim did not take a kill", "err", err)
	}
	if err := c.wait(ctx, killPatience); err != nil || !alive(c.rec.Load()) {
		return err
	}
	if err := cgroup.Open(c.rec.Load().Cgroup).Kill(); err != nil {
		return fmt.Errorf("container %s: kill: %w", c.id, err)
	}
	if err := c.wait(ctx, killPatience); err != nil || !alive(c.rec.Load()) {
		return err
	}
	// Nothing is left that runs, and its shim does not say so.
	step.Note(ctx, fmt.Sprintf("shim %d, which does not answer", client.PID()))
	c.log(ctx).Error(nil, "Shim does not tell of an exit and is killed", "shim", client.PID())
	if err := client.Kill(); err != nil {
		return fmt.Errorf("container %s: kill its shim: %w", c.id, err)
	}
	if err := c.wait(ctx, exitPatience); err != nil {
		return err
	}
	if alive(c.rec.Load()) {
		return fmt.Errorf("container %s: killed, and still there after %v: a process hangs in the kernel", c.id, exitPatience)
	}
	return nil
}

// killLost kills a container that has no shim any more.
func (s *Server) killLost(c *container) error {
	if c.rec.Load().State == record.Unknown {
		s.orphaned(c)
	}
	return nil
}

// RemoveContainer removes the container, killing it first if it runs. A
// container that is not there is removed.
func (s *Server) RemoveContainer(ctx context.Context, req *runtimeapi.RemoveContainerRequest) (*runtimeapi.RemoveContainerResponse, error) {
	c, err := s.table.findContainer(req.GetContainerId())
	if err == nil {
		_, err = s.join(ctx, c.op("RemoveContainer"), 0, "", func(ctx context.Context) (string, error) { return "", s.remove(ctx, c) })
	}
	if err != nil && !isNotFound(err) {
		return nil, err
	}
	return &runtimeapi.RemoveContainerResponse{}, nil
}

// remove removes a container, which may be gone already.
func (s *Server) remove(ctx context.Context, c *container) error {
	if err := s.hold(ctx, c.op("RemoveContainer"), c); err != nil {
		if isNotFound(err) {
			return nil
		}
		return err
	}
	defer c.lock.Release()
	return s.removeContainer(ctx, c)
}
