package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/fault"
	"github.com/varve-cri/varve/cri/plan"
	"github.com/varve-cri/varve/cri/record"
	"github.com/varve-cri/varve/imagestore"
	"github.com/varve-cri/varve/runtime/idmap"
)

// Image volumes (KEP-4639): the images are found at the creation, leased with the
// container's own in its read-write layer, and mounted at the start. What was
// found is in the record's mounts, which are the status's, too.

// resolveVolumes finds the images that the container mounts, and notes them.
func (s *Server) resolveVolumes(rec *record.Container) error {
	for i, m := range rec.Config.GetMounts() {
		ref := m.GetImage().GetImage()
		if ref == "" {
			continue // the plan says what is wrong with it, if anything is
		}
		field := fmt.Sprintf("config.mounts[%d].image", i)
		if err := plan.CheckHandler(field+".runtime_handler", m.GetImage().GetRuntimeHandler(), s.conf()); err != nil {
			return err
		}
		img, err := s.images.Get(ref)
		if errors.Is(err, imagestore.ErrNotFound) {
			return &fault.VolumeError{Field: field, Err: coded(codes.NotFound, "%s: not found on this node; pull it first", ref)}
		}
		if err != nil {
			return &fault.VolumeError{Field: field, Err: err}
		}
		if rec.Mounts == nil {
			rec.Mounts = slices.Clone(rec.Config.GetMounts())
		}
		rec.Mounts[i] = &runtimeapi.Mount{Image: &runtimeapi.ImageSpec{Image: img.ID}}
	}
	return nil
}

// volumesOf reads back what resolveVolumes has noted.
func volumesOf(rec *record.Container) map[int]string {
	ids := map[int]string{}
	for i, m := range rec.Mounts {
		if id := m.GetImage().GetImage(); id != "" {
			ids[i] = id
		}
	}
	return ids
}

// mountVolume gives an image that the container leases, or a path of the host with
// other owners, as a detached mount.
func (s *Server) mountVolume(ctx context.Context, id string, v plan.Volume, spaces *idmap.Spaces, owners *imagestore.Owners) (*os.File, error) {
	if v.HostPath != "" {
		return s.paths.Mapped(ctx, v, spaces)
	}
	if len(v.UIDs) > 0 {
		ns, err := spaces.Get(v.UIDs, v.GIDs)
		if err != nil {
			return nil, &fault.VolumeError{Field: v.Field, Err: err}
		}
		owners = &imagestore.Owners{Namespace: ns, UID: v.UIDs[0].Outside, GID: v.GIDs[0].Outside}
	}
	f, err := s.images.MountVolumeAs(id, imagestore.Volume{Image: v.ImageID, SubPath: v.SubPath, Owners: owners, Label: v.Label})
	switch {
	case err == nil:
		return f, nil
	case errors.Is(err, imagestore.ErrSubPath):
		err = coded(codes.InvalidArgument, "image_sub_path %q of image %s: %w", v.SubPath, v.ImageID, err)
	}
	return nil, &fault.VolumeError{Field: v.Field, Err: err}
}

// volumes mounts what the container is handed.
func (r *start) volumes(ctx context.Context) error {
	if len(r.ready.plan.Volumes) == 0 {
		return nil
	}
	owners, done, err := r.s.owners(r.c.pod)
	if err != nil {
		return err
	}
	defer done()
	var spaces idmap.Spaces
	defer spaces.Close()
	for _, v := range r.ready.plan.Volumes {
		f, err := r.s.mountVolume(ctx, r.c.id, v, &spaces, owners)
		if err != nil {
			return err
		}
		r.images = append(r.images, f)
	}
	return nil
}

// closeVolumes gives the descriptors up; a container that runs has the mounts.
func (r *start) closeVolumes() {
	for _, f := range r.images {
		_ = f.Close()
	}
}
