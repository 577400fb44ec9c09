package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/logdir"
	"github.com/varve-cri/varve/cri/plan"
	"github.com/varve-cri/varve/cri/record"
	"github.com/varve-cri/varve/cri/resource"
	"github.com/varve-cri/varve/cri/shm"
	"github.com/varve-cri/varve/cri/step"
	"github.com/varve-cri/varve/runtime/cgroup"
	rtcontainer "github.com/varve-cri/varve/runtime/container"
	rtplan "github.com/varve-cri/varve/runtime/plan"
	"github.com/varve-cri/varve/runtime/plan/compile"
	"github.com/varve-cri/varve/shim"
)

// StartContainer starts a created container. When its process cannot be made,
// the container has exited, with the reason ContainerCannotRun (the command's
// fault) or StartError (any other) and the code that Kubernetes shows for it. To
// start a container that runs changes nothing.
func (s *Server) StartContainer(ctx context.Context, req *runtimeapi.StartContainerRequest) (*runtimeapi.StartContainerResponse, error) {
	c, err := s.table.findContainer(req.GetContainerId())
	if err != nil {
		return nil, err
	}
	op := c.op("StartContainer")
	_, err = s.join(ctx, op, startLinger, "", func(ctx context.Context) (string, error) {
		if err := s.hold(ctx, op, c); err != nil {
			return "", err
		}
		defer c.lock.Release()
		if c.rec.Load().State == record.Running {
			return "", nil // the answer to an earlier request was lost
		}
		r := &start{s: s, c: c}
		return "", r.run(ctx, op)
	})
	if err != nil {
		return nil, err
	}
	return &runtimeapi.StartContainerResponse{}, nil
}

// startLinger is how long a start goes on when its client has gone: it is
// seldom more than milliseconds from its end, and one that is broken off has used
// the container up.
const startLinger = 5 * time.Second

// start is one run of StartContainer. Its methods are the steps.
type start struct {
	s      *Server
	c      *container
	ready  *prepared
	group  *cgroup.Group
	plan   *rtplan.Plan
	root   *os.File
	images []*os.File // detached mounts of the image volumes and of those with other owners
	pidns  *os.File   // the PID namespace that it shares; nil with one of its own
	client *shim.Client
	pid    int
}

func (r *start) run(ctx context.Context, op step.Op) error {
	rec := r.c.rec.Load()
	err := r.s.steps.Run(ctx, op, []step.Step{
		{Name: "state", Do: func(context.Context) error {
			if err := r.c.pod.rec.Load().CheckStartable(); err != nil {
				return err
			}
			return rec.Clone().Start()
		}},
		{Name: "plan", Do: r.prepare},
		{Name: "processes", Do: r.share},
		{Name: "mark", Do: r.mark},
		{Name: "cgroup", Do: r.cgroup, Undo: func(context.Context) error { return r.group.Remove() }},
		{Name: "compile", Do: r.compile},
		{Name: "root", Do: r.mount, Undo: func(context.Context) error { return r.root.Close() }},
		{Name: "volumes", Do: r.volumes},
		{Name: "launch", Do: r.launch, Undo: r.kill},
		{Name: "publish", Do: r.publish},
	})
	_ = r.pidns.Close()
	r.closeVolumes()
	if err != nil {
		r.failed(err)
	}
	return err
}

func (r *start) prepare(ctx context.Context) error {
	var err error
	if r.ready, err = r.s.planOf(r.c); err != nil {
		return err
	}
	dir := r.s.records.PodDir(r.c.pod.id)
	if !wantsShm(r.ready.plan.Spec, dir) {
		return nil
	}
	p := r.c.pod
	if err := p.shm.Acquire(ctx); err != nil {
		return fmt.Errorf("wait for the pod's /dev/shm, which another start makes: %w", err)
	}
	defer p.shm.Release()
	uid, gid := plan.UserNamespaceOf(p.rec.Load().Config).Owner()
	return shm.Ensure(dir, shm.Options{Bytes: r.s.conf().Limits.ShmBytes, UID: uid, GID: gid, Label: r.ready.plan.Spec.Linux.MountLabel})
}

// mark shows that the start has begun. From here on the container is used up
// whatever happens: its layer's mount does not sync, so that it can be mounted
// once only. Nothing is written: the cgroup is owed since the creation, and a
// restart finds the shim, if it came to that.
func (r *start) mark(context.Context) error {
	return r.s.changeContainer(r.c, onlyShow, func(rec *record.Container) error { return rec.Start() })
}

func (r *start) cgroup(ctx context.Context) error {
	rec := r.c.rec.Load()
	if resource.Swap(rec.Resources) != 0 {
		if err := r.s.fitSwap(ctx, r.c.pod, nil, nil); err != nil {
			return err
		}
	}
	var err error
	r.group, err = r.c.takeGroup(rec.Cgroup, r.ready.plan.Spec.Linux.Resources)
	return err
}

func (r *start) compile(context.Context) error {
	var err error
	r.plan, err = compile.Compile(r.c.id, r.ready.plan.Spec, compile.Options{
		Seccomp: r.ready.prog, SeccompFlags: r.ready.flags,
		CgroupV1: r.group.V1Paths(), CgroupV2: r.group.V2Path(),
	})
	if err == nil && r.pidns != nil {
		nameByFile(r.plan, r.pidns)
	}
	return err
}

func (r *start) mount(context.Context) error {
	var err error
	owners, done, err := r.s.owners(r.c.pod)
	if err != nil {
		return err
	}
	defer done()
	r.root, err = r.s.images.MountRWAs(r.c.id, owners, r.ready.plan.Spec.Linux.MountLabel)
	return err
}

func (r *start) launch(ctx context.Context) error {
	var err error
	r.client, r.pid, err = r.s.launcher.Start(ctx, shim.StartRequest{
		Dir: r.s.records.ContainerDir(r.c.id), Plan: r.plan, Root: r.root, Images: r.images,
		LogPath: logdir.Marked(r.c.pod.rec.Load().Config.GetLogDirectory(), r.ready.plan.LogPath), Stdin: r.ready.plan.Stdin, StdinOnce: r.ready.plan.StdinOnce,
		OOMEventsPath: r.group.OOMEventsPath(), MaxLogLine: r.s.conf().Log.MaxLineBytes,
	})
	return err
}

func (r *start) kill(ctx context.Context) error {
	err := r.client.Shutdown(ctx)
	if err == nil || errors.Is(err, shim.ErrExited) || errors.Is(err, shim.ErrGone) {
		return r.client.Close()
	}
	return errors.Join(err, r.group.Kill(), r.client.Close())
}

// publish shows that the container runs. The shim knows it as well, so that a
// restart of the daemon does not need the file.
func (r *start) publish(context.Context) error {
	err := r.s.changeContainer(r.c, saveSoon, func(rec *record.Container) error { return rec.Started(r.pid, time.Now()) })
	if err != nil {
		return err
	}
	_ = r.root.Close()
	proc := r.plan.Process
	r.c.proc.Store(&proc)
	r.c.ready.Store(nil)
	r.c.client.Store(r.client)
	r.s.event(runtimeapi.ContainerEventType_CONTAINER_STARTED_EVENT, r.c.id, r.c.pod)
	go r.s.watch(r.c, r.client)
	return nil
}

// failed puts a container whose start had begun into its final state.
func (r *start) failed(cause error) {
	if r.c.rec.Load().State != record.Starting {
		return
	}
	code := int32(128)
	var st *rtcontainer.StepError
	if errors.As(cause, &st) {
		code = st.ExitCode()
	}
	err := r.s.changeContainer(r.c, tryToSave, func(rec *record.Container) error {
		return rec.StartFailed(code, fmt.Sprint(cause), time.Now())
	})
	if err != nil {
		r.c.log(context.Background()).Error(err, "Failed start is not on record")
	}
	r.c.ready.Store(nil)
	r.s.event(runtimeapi.ContainerEventType_CONTAINER_STOPPED_EVENT, r.c.id, r.c.pod)
	r.c.exited.close()
	r.c.tidied.close()
}
