package server

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/klog/v2"

	"github.com/varve-cri/varve/cri/record"
	"github.com/varve-cri/varve/runtime/cgroup"
	"github.com/varve-cri/varve/runtime/namespace"
	"github.com/varve-cri/varve/shim"
)

// adopters is how many objects are adopted at a time.
const adopters = 16

// adoptPatience is how long one shim may take to answer.
const adoptPatience = 10 * time.Second

// Restore makes objects of all records, so that CRI can be served at once,
// and adopts what they stand for in the background: each under its own lock, so
// that only a request for that very object waits. The channel is closed when all
// is adopted and what nobody owns is removed. Only a state directory that
// cannot be read is an error.
func (s *Server) Restore() (<-chan struct{}, error) {
	loaded, err := s.records.LoadAll()
	if err != nil {
		return nil, err
	}
	// The parent of the pods that no kubelet gives one stays while there is a
	// daemon: nine directories less to make and remove for each of them.
	if _, err := cgroup.Create(s.cfg.Cgroup.Parent, nil); err != nil {
		klog.ErrorS(err, "Parent of the pods' cgroups cannot be made yet")
	}
	left := s.survey()
	var pods []*pod
	byID := map[string]*pod{}
	for _, r := range loaded.Pods {
		p := newPod(r)
		p.lock <- struct{}{}
		byID[r.ID] = p
		pods = append(pods, p)
		s.table.addPod(p)
	}
	var containers, strays []*container
	for _, r := range loaded.Containers {
		p, ok := byID[r.PodID]
		if !ok { // its pod's record is lost: nothing can be done with it but to remove it
			strays = append(strays, newContainer(newPod(&record.Pod{ID: r.PodID}), r))
			continue
		}
		c := newContainer(p, r)
		c.lock <- struct{}{}
		if err := s.table.addContainer(c); err != nil {
			klog.ErrorS(err, "Container is not restored", "containerID", r.ID)
			continue
		}
		containers = append(containers, c)
	}
	s.events.Keep()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer s.events.KeepFor(reconnect)
		for _, b := range loaded.Bad {
			s.setAside(b)
		}
		s.adoptAll(pods, containers, strays)
		s.collect()
		s.sweep(context.Background(), left)
		klog.InfoS("Restored", "pods", len(pods), "containers", len(containers), "strays", len(strays), "bad", len(loaded.Bad), "took", time.Since(s.begun).Round(time.Millisecond))
	}()
	return done, nil
}

// adoptAll adopts containers first: a pod that has to be taken down needs
// them.
func (s *Server) adoptAll(pods []*pod, containers, strays []*container) {
	ctx := context.Background()
	each(containers, func(c *container) {
		defer c.lock.Release()
		s.adoptContainer(ctx, c)
	})
	each(strays, func(c *container) { s.removeStray(ctx, c) })
	each(pods, func(p *pod) {
		defer p.lock.Release()
		s.adoptPod(ctx, p)
	})
}

// each runs f for all of the list, some at a time.
func each[T any](list []T, f func(T)) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, adopters)
	for _, v := range list {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			f(v)
		})
	}
	wg.Wait()
}

// adoptContainer finds out what has become of a container.
func (s *Server) adoptContainer(ctx context.Context, c *container) {
	rec := c.rec.Load()
	switch rec.State {
	case record.Created:
		if !s.hasLayer(c.id) { // Create or Remove was cut off before its answer
			s.discard(ctx, c)
			return
		}
		s.findStarted(ctx, c)
	case record.Starting, record.Running, record.Unknown:
		s.findShim(ctx, c)
	case record.Exited:
		if err := cgroup.Open(rec.Cgroup).Remove(); err != nil {
			c.log(ctx).Error(err, "Cgroup of an exited container is left until it is removed")
		}
		c.exited.close()
		c.tidied.close()
	case record.Removing:
		c.exited.close()
		c.tidied.close()
		s.discard(ctx, c)
	}
}

// findShim connects to the shim of a container that was alive when the daemon
// before us looked last. The truth is, in this order: an exit record, a shim
// that holds the directory, or neither.
func (s *Server) findShim(ctx context.Context, c *container) {
	dir := s.records.ContainerDir(c.id)
	ctx, cancel := context.WithTimeout(ctx, adoptPatience)
	defer cancel()
	client, err := shim.Dial(ctx, dir)
	if err == nil {
		s.adoptRunning(ctx, c, client)
		return
	}
	if e, rerr := shim.ReadExit(dir); rerr == nil {
		s.ended(c, record.Exit{Code: e.Code, OOM: e.OOM, At: e.At})
		return
	}
	if errors.Is(err, shim.ErrGone) {
		s.goneShim(c)
		return
	}
	c.log(ctx).Error(err, "Shim does not answer")
	_ = s.changeContainer(c, tryToSave, func(r *record.Container) error { return r.Lost("its shim does not answer: " + err.Error()) })
}

// findStarted looks whether the start of a created container had come as far
// as a shim when the daemon before us ended.
func (s *Server) findStarted(ctx context.Context, c *container) {
	dir := s.records.ContainerDir(c.id)
	ctx, cancel := context.WithTimeout(ctx, adoptPatience)
	defer cancel()
	client, err := shim.Dial(ctx, dir)
	e, rerr := shim.ReadExit(dir)
	if err != nil && rerr != nil {
		if err := cgroup.Open(c.rec.Load().Cgroup).Remove(); err != nil {
			c.log(ctx).Error(err, "Cgroup of a start that was cut off is left")
		}
		return
	}
	if err := s.changeContainer(c, onlyShow, func(r *record.Container) error { return r.Start() }); err != nil {
		c.log(ctx).Error(err, "Container is not restored")
	}
	if err == nil {
		s.adoptRunning(ctx, c, client)
		return
	}
	s.ended(c, record.Exit{Code: e.Code, OOM: e.OOM, At: e.At})
}

// goneShim ends a container that nobody holds. One that was only being
// started never came to run, as far as the caller of Start knows.
func (s *Server) goneShim(c *container) {
	if c.rec.Load().State != record.Starting {
		s.orphaned(c)
		return
	}
	group := cgroup.Open(c.rec.Load().Cgroup)
	if err := errors.Join(group.Kill(), group.Remove()); err != nil {
		c.log(context.Background()).Error(err, "Half-started container is not cleaned")
	}
	err := s.changeContainer(c, tryToSave, func(r *record.Container) error {
		return r.StartFailed(128, "the daemon was stopped while it started the container", time.Now())
	})
	if err != nil {
		c.log(context.Background()).Error(err, "Failed start is not on record")
	}
	s.event(runtimeapi.ContainerEventType_CONTAINER_STOPPED_EVENT, c.id, c.pod)
	c.exited.close()
	c.tidied.close()
}

// adoptRunning goes on with a container whose shim answers.
func (s *Server) adoptRunning(ctx context.Context, c *container, client *shim.Client) {
	if c.rec.Load().State != record.Running {
		st, err := client.State(ctx)
		if err == nil {
			err = s.changeContainer(c, mustSave, func(r *record.Container) error { return r.Started(st.PID, st.StartedAt) })
		}
		if err != nil {
			c.log(ctx).Error(err, "Shim does not say its state")
		}
	}
	s.finishUpdate(c)
	c.client.Store(client)
	go s.watch(c, client)
}

func (s *Server) hasLayer(id string) bool { return slices.Contains(s.images.ListRW(), id) }

// discard removes a container whose creation or removal was cut off. The
// caller holds its lock.
func (s *Server) discard(ctx context.Context, c *container) {
	c.tidied.close()
	if err := s.removeContainer(ctx, c); err != nil {
		c.log(ctx).Error(err, "Half-made container is not removed")
	}
}

// removeStray removes a container without a pod.
func (s *Server) removeStray(ctx context.Context, c *container) {
	c.log(ctx).Info("Container without a pod is removed")
	rec := c.rec.Load()
	group := cgroup.Open(rec.Cgroup)
	err := errors.Join(group.Kill(), group.Remove(), s.images.RemoveRW(c.id))
	if client, derr := shim.Dial(ctx, s.records.ContainerDir(c.id)); derr == nil {
		err = errors.Join(err, client.Shutdown(ctx), client.Close())
	}
	if err := errors.Join(err, s.forgetContainer(c)); err != nil {
		c.log(ctx).Error(err, "Container without a pod is not removed")
	}
}

// adoptPod goes on with a pod, or takes it down when it was half-made or was
// being removed. The caller holds its lock.
func (s *Server) adoptPod(ctx context.Context, p *pod) {
	rec := p.rec.Load()
	var err error
	switch rec.State {
	case record.PodPreparing, record.PodRemoving:
		err = s.removePod(ctx, p)
	case record.PodReady:
		s.finishPodUpdate(p)
		err = s.adoptReady(ctx, p)
	case record.PodNotReady:
		if owesStop(rec) {
			err = s.stopPod(ctx, p, "Restore", true)
		}
	}
	if err != nil {
		p.log(ctx).Error(err, "Pod is not restored whole")
	}
}

// adoptReady checks that a ready pod still has what makes it one.
func (s *Server) adoptReady(ctx context.Context, p *pod) error {
	rec := p.rec.Load()
	dir := s.records.PodDir(p.id) + "/ns/"
	for _, name := range []string{"net", "ipc", "uts", "user"} {
		if !pinned(rec.Pins, name) {
			continue
		}
		if err := namespace.Check(dir + name); err != nil {
			p.log(ctx).Error(err, "Pod lost a namespace")
			return s.stopPod(ctx, p, "Restore", true)
		}
	}
	if rec.PausePID == 0 {
		return nil
	}
	client, err := shim.Dial(ctx, s.pauseDir(p))
	if err != nil {
		p.log(ctx).Error(err, "Pod lost its pause process")
		return s.stopPod(ctx, p, "Restore", true)
	}
	p.pause.Store(client)
	go s.watchPause(p, client)
	return nil
}
