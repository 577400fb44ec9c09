package server

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/logdir"
	"github.com/varve-cri/varve/cri/plan"
	"github.com/varve-cri/varve/cri/record"
	"github.com/varve-cri/varve/cri/step"
	"github.com/varve-cri/varve/imagestore"
	"github.com/varve-cri/varve/runtime/idmap"
)

// CreateContainer makes a container: an image, a read-write layer and a
// record. No process is started. A retry joins the request that still runs, or
// gets the container that it has made.
func (s *Server) CreateContainer(ctx context.Context, req *runtimeapi.CreateContainerRequest) (*runtimeapi.CreateContainerResponse, error) {
	p, err := s.table.findPod(req.GetPodSandboxId())
	if err != nil {
		return nil, err
	}
	if req.GetConfig() == nil {
		return nil, invalid("config", "is missing")
	}
	if err := samePodConfig(p, req.GetSandboxConfig()); err != nil {
		return nil, err
	}
	if err := plan.CheckHandler("config.image.runtime_handler", req.GetConfig().GetImage().GetRuntimeHandler(), s.conf()); err != nil {
		return nil, err
	}
	rec := &record.Container{
		ID: newID(), PodID: p.id, State: record.Created, CreatedAt: time.Now().UnixNano(),
		Config: req.GetConfig(), Resources: req.GetConfig().GetLinux().GetResources(),
	}
	key := containerKey(rec)
	op := step.Op{Verb: "CreateContainer", Object: req.GetConfig().GetMetadata().GetName(), ID: rec.ID}
	id, err := s.join(ctx, op, 0, key, func(ctx context.Context) (string, error) {
		if v, ok := s.table.containerNames.Load(key); ok {
			return sameContainer(v.(*container).rec.Load(), rec) //nolint:forcetypeassert // *container only
		}
		if err := p.rec.Load().CheckStartable(); err != nil {
			return "", err
		}
		c := &create{s: s, c: newContainer(p, rec)}
		return rec.ID, c.run(ctx, op)
	})
	if err == nil && id != rec.ID { // joined: perhaps one that wants something else
		if v, ok := s.table.containers.Load(id); ok {
			_, err = sameContainer(v.(*container).rec.Load(), rec) //nolint:forcetypeassert // *container only
		}
	}
	if err != nil {
		return nil, err
	}
	return &runtimeapi.CreateContainerResponse{ContainerId: id}, nil
}

// samePodConfig refuses the configuration of another pod. Only what the pod was
// made with counts, so that nothing else of it is looked at.
func samePodConfig(p *pod, sent *runtimeapi.PodSandboxConfig) error {
	have, want := p.rec.Load().Config.GetMetadata(), sent.GetMetadata()
	if want == nil || have.GetName() == want.GetName() && have.GetNamespace() == want.GetNamespace() && have.GetUid() == want.GetUid() {
		return nil
	}
	return invalid("sandbox_config.metadata", "is of pod %s, %s is pod %s", podName(want), p.id, podName(have))
}

// sameContainer answers a request for a container that exists.
func sameContainer(have, want *record.Container) (string, error) {
	name := have.Config.GetMetadata().GetName()
	switch {
	case have.State != record.Created && have.State != record.Running && have.State != record.Starting:
		return "", coded(codes.AlreadyExists, "container %s: exists as %s and is %s; remove it or ask for another attempt", name, have.ID, have.State)
	case !proto.Equal(have.Config, want.Config):
		return "", coded(codes.AlreadyExists, "container %s: exists as %s with another configuration", name, have.ID)
	}
	return have.ID, nil
}

// create is one run of CreateContainer. Its methods are the steps.
type create struct {
	s     *Server
	c     *container
	image imagestore.Image
}

func (r *create) run(ctx context.Context, op step.Op) error {
	rec := r.c.rec.Load()
	return r.s.steps.Run(ctx, op, []step.Step{
		{Name: "image", Do: r.resolve},
		{Name: "plan", Do: r.plan},
		{Name: "host paths", Do: r.sources},
		{Name: "record", Do: r.record, Undo: r.forget},
		{Name: "layer", Do: r.layer, Undo: func(context.Context) error { return r.s.images.RemoveRW(rec.ID) }},
		{Name: "volumes", Do: r.volumes},
		{Name: "publish", Do: r.publish},
	})
}

func (r *create) resolve(context.Context) error {
	rec := r.c.rec.Load()
	ref := rec.Config.GetImage().GetImage()
	if ref == "" {
		return invalid("config.image.image", "is empty")
	}
	img, err := r.s.images.Get(ref)
	if errors.Is(err, imagestore.ErrNotFound) {
		return coded(codes.NotFound, "%s: not found on this node; pull it first", ref)
	}
	if err != nil {
		return err
	}
	r.image, rec.ImageID, rec.ImageRef = img, img.ID, img.ID
	if len(img.Digests) > 0 {
		rec.ImageRef = img.Digests[0]
	}
	if rec.Devices, err = r.s.devices.Resolve(rec.Config.GetCDIDevices()); err != nil {
		return err
	}
	return r.s.resolveVolumes(rec)
}

func (r *create) plan(ctx context.Context) error {
	rec := r.c.rec.Load()
	pr, err := r.s.prepare(r.c.pod, rec, r.image)
	if err != nil {
		return err
	}
	for _, n := range pr.plan.Notes {
		r.c.log(ctx).Info("Container is degraded by configuration", "note", n)
	}
	rec.LogPath, rec.Mounts, rec.StopSig = pr.plan.LogPath, pr.plan.Mounts, int32(pr.plan.StopSignal.Number)
	rec.User = plan.RecordUser(pr.plan.User)
	rec.Cgroup = pr.plan.Spec.Linux.CgroupsPath
	r.c.ready.Store(pr)
	return nil
}

func (r *create) sources(ctx context.Context) error {
	if err := logdir.Ensure(r.c.pod.rec.Load().Config.GetLogDirectory(), r.c.rec.Load().LogPath); err != nil {
		if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENOTDIR) {
			return invalid("config.log_path", "%v", err)
		}
		return err
	}
	p := r.c.ready.Load().plan
	if err := r.s.paths.Check(ctx, p.Sources); err != nil {
		return err
	}
	return r.s.paths.Relabel(ctx, p.Relabel, p.Spec.Linux.MountLabel)
}

func (r *create) record(context.Context) error {
	rec := r.c.rec.Load()
	rec.Owe(record.DutyLayer, rec.ID)
	rec.Owe(record.DutyCgroup, rec.Cgroup)
	if err := r.s.records.SaveContainer(rec); err != nil {
		return err
	}
	r.c.beginGroup(rec.Cgroup, r.c.ready.Load().plan.Spec.Linux.Resources)
	return nil
}

func (r *create) forget(context.Context) error {
	return errors.Join(r.c.dropGroup(r.c.rec.Load().Cgroup), r.s.forgetContainer(r.c))
}

func (r *create) layer(context.Context) error {
	var volumes []string
	pl := r.c.ready.Load().plan
	for _, v := range pl.Volumes {
		if v.ImageID != "" {
			volumes = append(volumes, v.ImageID)
		}
	}
	create := r.s.images.CreateRW
	if len(pl.Spec.Linux.UIDMappings) > 0 || pl.Spec.Linux.MountLabel != "" {
		create = r.s.images.CreateBareRW
	}
	err := create(r.c.id, r.image.ID, volumes...)
	if errors.Is(err, imagestore.ErrNotFound) {
		err = coded(codes.NotFound, "removed meanwhile: %w", err)
	}
	if err != nil {
		return errors.Join(err, r.s.images.RemoveRW(r.c.id))
	}
	return nil
}

// volumes tries what the start is going to mount, so that the caller of Create
// hears of a sub path that is not there and of a file system that cannot show
// other owners.
func (r *create) volumes(ctx context.Context) error {
	var spaces idmap.Spaces
	defer spaces.Close()
	for _, v := range r.c.ready.Load().plan.Volumes {
		f, err := r.s.mountVolume(ctx, r.c.id, v, &spaces, nil)
		if err != nil {
			return err
		}
		_ = f.Close()
	}
	return nil
}

func (r *create) publish(context.Context) error {
	// Who finds it in a list from here on waits until it is told of.
	r.c.lock <- struct{}{}
	defer r.c.lock.Release()
	if err := r.s.table.addContainer(r.c); err != nil {
		return fmt.Errorf("the pod was removed meanwhile: %w", err)
	}
	r.s.event(runtimeapi.ContainerEventType_CONTAINER_CREATED_EVENT, r.c.id, r.c.pod)
	return nil
}
