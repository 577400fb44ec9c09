package server

import (
	"context"
	"errors"
	"strings"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/klog/v2"

	"github.com/varve-cri/varve/cri/plan"
	"github.com/varve-cri/varve/imagestore"
	"github.com/varve-cri/varve/imagestore/reference"
)

// pullFailure tells plan.Code what kind of failure the store's error is.
type pullFailure struct{ *imagestore.PullError }

// PullFailure implements plan.PullFailure.
func (e pullFailure) PullFailure() string {
	return strings.ReplaceAll(string(e.PullError.Kind), " ", "")
}

// Unwrap gives the store's error.
func (e pullFailure) Unwrap() error { return e.PullError }

// PullImage brings an image and returns its id.
func (s *Server) PullImage(ctx context.Context, req *runtimeapi.PullImageRequest) (*runtimeapi.PullImageResponse, error) {
	ref := req.GetImage().GetImage()
	if ref == "" {
		return nil, invalid("image.image", "is empty")
	}
	if err := s.checkHandler("image.runtime_handler", req.GetImage().GetRuntimeHandler()); err != nil {
		return nil, err
	}
	if _, err := reference.Parse(ref); err != nil {
		return nil, invalid("image.image", "%v", err)
	}
	var opt imagestore.PullOptions
	if a := req.GetAuth(); a != nil {
		opt.Auth = &imagestore.Auth{
			Username: a.GetUsername(), Password: a.GetPassword(), Encoded: a.GetAuth(),
			IdentityToken: a.GetIdentityToken(), RegistryToken: a.GetRegistryToken(),
		}
	}
	begin := time.Now()
	img, err := s.images.Pull(ctx, ref, opt)
	if err != nil {
		var pe *imagestore.PullError
		if errors.As(err, &pe) {
			return nil, pullFailure{pe}
		}
		return nil, err
	}
	klog.InfoS("Image pulled", "image", ref, "id", img.ID, "size", img.Size, "took", time.Since(begin).Round(time.Millisecond))
	return &runtimeapi.PullImageResponse{ImageRef: img.ID}, nil
}

func (s *Server) checkHandler(field, name string) error {
	if _, ok := s.cfg.Handler(name); !ok {
		return invalid(field, "%q is not a runtime handler of this node", name)
	}
	return nil
}

func (s *Server) imageItems(f *runtimeapi.ImageFilter) []*runtimeapi.Image {
	var items []*runtimeapi.Image
	for _, img := range s.images.List() {
		if plan.MatchImage(f, img.ID, img.Tags, img.Digests) {
			items = append(items, imageItem(&img))
		}
	}
	return items
}

func imageItem(img *imagestore.Image) *runtimeapi.Image {
	uid, name := plan.ImageUser(img.Config.Config.User)
	return &runtimeapi.Image{
		Id: img.ID, RepoTags: img.Tags, RepoDigests: img.Digests, Size: img.Size, Uid: uid, Username: name,
		Spec: &runtimeapi.ImageSpec{Image: img.ID}, Pinned: img.Pinned,
	}
}

// ListImages lists the images that pass the filter.
func (s *Server) ListImages(_ context.Context, req *runtimeapi.ListImagesRequest) (*runtimeapi.ListImagesResponse, error) {
	return &runtimeapi.ListImagesResponse{Images: s.imageItems(req.GetFilter())}, nil
}

// StreamImages is ListImages in pieces.
func (s *Server) StreamImages(req *runtimeapi.StreamImagesRequest, out runtimeapi.ImageService_StreamImagesServer) error {
	return chunks(s.imageItems(req.GetFilter()), func(part []*runtimeapi.Image) error {
		return out.Send(&runtimeapi.StreamImagesResponse{Images: part})
	})
}

// ImageStatus is the status of one image; an image that is not there is an
// answer without one, not an error.
func (s *Server) ImageStatus(_ context.Context, req *runtimeapi.ImageStatusRequest) (*runtimeapi.ImageStatusResponse, error) {
	ref := req.GetImage().GetImage()
	if ref == "" {
		return nil, invalid("image.image", "is empty")
	}
	img, err := s.images.Get(ref)
	if errors.Is(err, imagestore.ErrNotFound) {
		return &runtimeapi.ImageStatusResponse{}, nil
	}
	if err != nil {
		return nil, err
	}
	resp := &runtimeapi.ImageStatusResponse{Image: imageItem(&img)}
	if req.GetVerbose() {
		resp.Info, err = verbose(map[string]any{"imageSpec": img.Config, "layers": img.Layers, "pulled": img.Pulled})
	}
	return resp, err
}

// RemoveImage removes an image with all its names. One that is not there is
// removed.
func (s *Server) RemoveImage(ctx context.Context, req *runtimeapi.RemoveImageRequest) (*runtimeapi.RemoveImageResponse, error) {
	ref := req.GetImage().GetImage()
	if ref == "" {
		return nil, invalid("image.image", "is empty")
	}
	if err := s.images.Remove(ctx, ref); err != nil && !errors.Is(err, imagestore.ErrNotFound) {
		return nil, err
	}
	return &runtimeapi.RemoveImageResponse{}, nil
}

// ImageFsInfo says what images take of the disk. Read-write layers are on the
// same file system, so that it is told as the containers' as well.
func (s *Server) ImageFsInfo(context.Context, *runtimeapi.ImageFsInfoRequest) (*runtimeapi.ImageFsInfoResponse, error) {
	u, err := s.images.Usage()
	if err != nil {
		return nil, err
	}
	fs := []*runtimeapi.FilesystemUsage{{
		Timestamp: time.Now().UnixNano(), FsId: &runtimeapi.FilesystemIdentifier{Mountpoint: u.Mountpoint},
		UsedBytes: &runtimeapi.UInt64Value{Value: u.Bytes}, InodesUsed: &runtimeapi.UInt64Value{Value: u.Inodes},
	}}
	return &runtimeapi.ImageFsInfoResponse{ImageFilesystems: fs, ContainerFilesystems: fs}, nil
}
