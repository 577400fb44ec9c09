package images

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/klog/v2"

	"github.com/varve-cri/varve/cri/config"
	"github.com/varve-cri/varve/cri/fault"
	"github.com/varve-cri/varve/cri/page"
	"github.com/varve-cri/varve/cri/plan"
	"github.com/varve-cri/varve/cri/step"
	"github.com/varve-cri/varve/cri/view"
	"github.com/varve-cri/varve/imagestore"
	"github.com/varve-cri/varve/imagestore/progress"
	"github.com/varve-cri/varve/imagestore/reference"
)

// errEmpty answers a request that names no image.
var errEmpty = &fault.InvalidError{Field: "image.image", Problem: "is empty"}

// Service answers the ImageService of the CRI.
type Service struct {
	runtimeapi.UnimplementedImageServiceServer

	store *imagestore.Store
	cfg   func() *config.Config
}

// New returns the service of a store; cfg tells which runtime handlers there are
// at the moment.
func New(store *imagestore.Store, cfg func() *config.Config) *Service {
	return &Service{store: store, cfg: cfg}
}

// handler gives the settings of the runtime handler that an image is for.
func (s *Service) handler(image *runtimeapi.ImageSpec) (config.Handler, error) {
	name := image.GetRuntimeHandler()
	if err := plan.CheckHandler("image.runtime_handler", name, s.cfg()); err != nil {
		return config.Handler{}, err
	}
	h, _ := s.cfg().Handler(name)
	return h, nil
}

// PullImage brings an image and returns its id.
func (s *Service) PullImage(ctx context.Context, req *runtimeapi.PullImageRequest) (*runtimeapi.PullImageResponse, error) {
	ref := req.GetImage().GetImage()
	if ref == "" {
		return nil, errEmpty
	}
	handler, err := s.handler(req.GetImage())
	if err != nil {
		return nil, err
	}
	if _, err := reference.Parse(ref); err != nil {
		return nil, &fault.InvalidError{Field: "image.image", Problem: err.Error()}
	}
	opt := imagestore.PullOptions{Format: handler.LayerFormat}
	if a := req.GetAuth(); a != nil {
		opt.Auth = &imagestore.Auth{
			Username: a.GetUsername(), Password: a.GetPassword(), Encoded: a.GetAuth(),
			IdentityToken: a.GetIdentityToken(), RegistryToken: a.GetRegistryToken(), ServerAddress: a.GetServerAddress(),
		}
	}
	begin := time.Now()
	opt.Operation = s.store.Begin(ref, nil)
	img, err := s.store.Pull(ctx, ref, opt)
	if err != nil {
		return nil, late(ctx, opt.Operation, begin, err) // fault.Code knows the store's errors
	}
	klog.FromContext(ctx).Info("Image pulled", "image", ref, "id", img.ID, "size", img.Size, "took", time.Since(begin).Round(time.Millisecond))
	return &runtimeapi.PullImageResponse{ImageRef: img.ID}, nil
}

// late adds to the error of a pull that ran out of time how far it was.
func late(ctx context.Context, op *progress.Pull, begin time.Time, err error) error {
	if ctx.Err() == nil {
		return err
	}
	p, at, detail := op.State(), "manifest", ""
	if len(p.Layers) > 0 {
		at, detail = "layers", fmt.Sprintf("%d of %d bytes had come", p.Fetched, p.Total)
	}
	return &step.Error{
		Op: step.Op{Verb: "PullImage", Object: p.Reference}, Step: at,
		Err: &step.StuckError{Detail: detail, For: time.Since(begin), Err: err},
	}
}

func (s *Service) matching(f *runtimeapi.ImageFilter) []imagestore.Image {
	return slices.DeleteFunc(s.store.List(), func(img imagestore.Image) bool {
		return !view.MatchImage(f, img.ID, img.Tags, img.Digests)
	})
}

func item(img imagestore.Image) *runtimeapi.Image {
	uid, name := plan.ImageUser(img.Config.Config.User)
	return &runtimeapi.Image{
		Id: img.ID, RepoTags: img.Tags, RepoDigests: img.Digests, Size: img.Size, Uid: uid, Username: name,
		Spec: &runtimeapi.ImageSpec{Image: img.ID, Annotations: img.Annotations}, Pinned: img.Pinned,
	}
}

// ListImages lists the images that pass the filter.
func (s *Service) ListImages(_ context.Context, req *runtimeapi.ListImagesRequest) (*runtimeapi.ListImagesResponse, error) {
	return &runtimeapi.ListImagesResponse{Images: page.Each(item)(s.matching(req.GetFilter()))}, nil
}

// StreamImages is ListImages in pieces.
func (s *Service) StreamImages(req *runtimeapi.StreamImagesRequest, out runtimeapi.ImageService_StreamImagesServer) error {
	return page.Send(s.matching(req.GetFilter()), page.Each(item), func(part []*runtimeapi.Image) error {
		return out.Send(&runtimeapi.StreamImagesResponse{Images: part})
	})
}

// ImageStatus is the status of one image; an image that is not there is an
// answer without one, not an error.
func (s *Service) ImageStatus(_ context.Context, req *runtimeapi.ImageStatusRequest) (*runtimeapi.ImageStatusResponse, error) {
	ref := req.GetImage().GetImage()
	if ref == "" {
		return nil, errEmpty
	}
	if _, err := s.handler(req.GetImage()); err != nil {
		return nil, err
	}
	img, err := s.store.Get(ref)
	if errors.Is(err, imagestore.ErrNotFound) {
		return &runtimeapi.ImageStatusResponse{}, nil
	}
	if err != nil {
		return nil, err
	}
	if img.Damaged != "" && !req.GetVerbose() {
		// The kubelet asks this before it pulls, and brings the credentials with the
		// pull: one that finds the image missing mends it. People are told.
		return &runtimeapi.ImageStatusResponse{}, nil
	}
	resp := &runtimeapi.ImageStatusResponse{Image: item(img)}
	if req.GetVerbose() {
		resp.Info, err = info(&img, s.store.LayersOf(&img))
	}
	return resp, err
}

// RemoveImage removes an image with all its names. One that is not there is
// removed. Which runtime handler it is for does not matter: images of one that was
// taken out of the configuration must not stay for ever.
func (s *Service) RemoveImage(ctx context.Context, req *runtimeapi.RemoveImageRequest) (*runtimeapi.RemoveImageResponse, error) {
	ref := req.GetImage().GetImage()
	if ref == "" {
		return nil, errEmpty
	}
	begin := time.Now()
	err := s.store.Remove(ctx, ref)
	if err != nil && ctx.Err() != nil {
		err = &step.Error{Op: step.Op{Verb: "RemoveImage", Object: ref}, Step: "remove", Err: &step.StuckError{For: time.Since(begin), Err: err}}
	}
	if err != nil && !errors.Is(err, imagestore.ErrNotFound) {
		return nil, err
	}
	return &runtimeapi.RemoveImageResponse{}, nil
}

// ImageFsInfo says what images and containers take of the disk. Both are on one
// file system, and so is what the kubelet takes for the containers' own.
func (s *Service) ImageFsInfo(context.Context, *runtimeapi.ImageFsInfoRequest) (*runtimeapi.ImageFsInfoResponse, error) {
	u, err := s.store.Usage()
	if err != nil {
		return nil, err
	}
	return &runtimeapi.ImageFsInfoResponse{
		ImageFilesystems:     []*runtimeapi.FilesystemUsage{filesystem(u)},
		ContainerFilesystems: []*runtimeapi.FilesystemUsage{filesystem(s.store.ContainersUsage())},
	}, nil
}

func filesystem(u imagestore.Usage) *runtimeapi.FilesystemUsage {
	return &runtimeapi.FilesystemUsage{
		Timestamp: time.Now().UnixNano(), FsId: &runtimeapi.FilesystemIdentifier{Mountpoint: u.Mountpoint},
		UsedBytes: &runtimeapi.UInt64Value{Value: u.Bytes}, InodesUsed: &runtimeapi.UInt64Value{Value: u.Inodes},
	}
}
