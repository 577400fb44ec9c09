package image

import (
	"encoding/json"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/e2e/harness"
	"github.com/varve-cri/varve/e2e/testimage"
)

// One id everywhere (CRI 0.36): of the pull, the list, the status, the container,
// its status and what it mounts.
func TestOneIdentity(t *testing.T) {
	h := suite.Test(t)
	ref := h.Image("identity", v1.Config{}, testimage.File{Name: "identity"}) // not the probe itself: it goes with any of its names
	pull, err := h.PullImage(h.Ctx, &runtimeapi.PullImageRequest{Image: spec(ref)})
	h.Must(err)
	id := pull.GetImageRef()
	c := h.Pod().Create(harness.Image(ref), func(c *runtimeapi.ContainerConfig) {
		c.Mounts = append(c.Mounts, &runtimeapi.Mount{ContainerPath: "/v", Readonly: true, Image: spec(ref)})
	})
	status := c.Status()
	list, err := h.ListContainers(h.Ctx, &runtimeapi.ListContainersRequest{Filter: &runtimeapi.ContainerFilter{Id: c.ID}})
	h.Must(err)
	image, err := h.ImageStatus(h.Ctx, &runtimeapi.ImageStatusRequest{Image: spec(id)})
	h.Must(err)
	for what, got := range map[string]string{
		"image":                   image.GetImage().GetId(),
		"container":               list.GetContainers()[0].GetImageId(),
		"status of the container": status.GetImageId(),
		"mount":                   status.GetMounts()[0].GetImage().GetImage(),
		"reference of the mount":  status.GetMounts()[0].GetImage().GetImageRef(),
	} {
		if got != id || !strings.HasPrefix(id, "sha256:") {
			t.Errorf("%s: %q, want %q", what, got, id)
		}
	}
}

// ImageFsInfo is what there is, and an image is out of it when RemoveImage returns.
func TestFsInfoDropsAtOnce(t *testing.T) {
	h := suite.Test(t)
	used := func() (uint64, uint64) {
		info, err := h.ImageFsInfo(h.Ctx, &runtimeapi.ImageFsInfoRequest{})
		h.Must(err)
		images, containers := info.GetImageFilesystems()[0], info.GetContainerFilesystems()[0]
		if images.GetFsId().GetMountpoint() != containers.GetFsId().GetMountpoint() {
			t.Errorf("two file systems: %v", info)
		}
		return images.GetUsedBytes().GetValue(), containers.GetUsedBytes().GetValue()
	}
	before, _ := used()
	const size = 5 << 20
	image, err := testimage.Build(testimage.Spec{Layers: [][]testimage.File{{{Name: "file", Body: strings.Repeat("fsinfo", size/6)}}}})
	h.Must(err)
	ref := h.Push("fsinfo", image)
	with, _ := used()
	if with < before+size || with > before+size*11/10 {
		t.Errorf("an image of %d bytes takes %d", size, with-before)
	}
	remove(h, ref)
	if after, _ := used(); after != before {
		t.Errorf("%d bytes before the image and %d when it was removed", before, after)
	}
	c := h.Pod().Start(harness.Say("fill /file 3 + print filled + sleep"))
	c.WaitLog("filled")
	harness.Eventually(t, "the container's file is counted", func() bool { _, n := used(); return n >= 3<<20 })
	c.Stop(0)
	c.Remove()
	if _, n := used(); n >= 3<<20 {
		t.Errorf("a removed container still takes %d bytes", n)
	}
}

// The verbose status tells each layer with its history, and what the image shares.
func TestVerboseStatus(t *testing.T) {
	h := suite.Test(t)
	ref := h.Image("verbose", v1.Config{}, testimage.File{Name: "own", Body: "own"})
	status, err := h.ImageStatus(h.Ctx, &runtimeapi.ImageStatusRequest{Image: spec(ref), Verbose: true})
	h.Must(err)
	var info struct {
		Names  []string
		Format string
		Bytes  struct{ Total, Shared, Unique uint64 }
		Layers []struct {
			ID, DiffID, Blob string
			Bytes, Inodes    uint64
			OtherImages      int
			History          struct {
				CreatedBy string `json:"created_by"`
			}
		}
	}
	h.Must(json.Unmarshal([]byte(status.GetInfo()["info"]), &info))
	if len(info.Names) != 2 || info.Format == "" || len(info.Layers) != 2 || info.Bytes.Total != status.GetImage().GetSize() ||
		info.Bytes.Shared+info.Bytes.Unique != info.Bytes.Total || info.Bytes.Shared == 0 || info.Bytes.Unique == 0 {
		t.Fatalf("%s", status.GetInfo()["info"])
	}
	// The probe is the other image of the lower layer.
	if info.Layers[0].OtherImages != 1 || info.Layers[1].OtherImages != 0 {
		t.Errorf("%+v", info.Layers)
	}
	for _, l := range info.Layers {
		if l.ID == "" || l.DiffID == "" || l.Blob == "" || l.Bytes == 0 || l.Inodes == 0 || l.History.CreatedBy != "testimage" {
			t.Errorf("layer %+v", l)
		}
	}
}

// What is no image is refused by its type, and nothing of it is left.
func TestArtifactIsRefused(t *testing.T) {
	h := suite.Test(t)
	image := mutate.ConfigMediaType(tiny(t, v1.Config{}), "application/vnd.cncf.helm.config.v1+json")
	h.Must(h.Registry.Push("chart:1", image))
	err := h.Pull(h.Ctx, "registry.test/chart:1")
	h.WantCode(err, codes.InvalidArgument, "artifact", "application/vnd.cncf.helm.config.v1+json", "registry.test/chart:1")
	status, err := h.ImageStatus(h.Ctx, &runtimeapi.ImageStatusRequest{Image: spec("registry.test/chart:1")})
	if err != nil || status.GetImage() != nil {
		t.Errorf("%v, %v", status, err)
	}
}

// An image of another platform is refused by its digest, too.
func TestOtherPlatformByDigest(t *testing.T) {
	h := suite.Test(t)
	image, err := testimage.Build(testimage.Spec{Architecture: "s390x", Config: v1.Config{User: "other"}})
	h.Must(err)
	h.Must(h.Registry.Push("platform:1", image))
	digest, err := image.Digest()
	h.Must(err)
	for _, ref := range []string{":1", "@" + digest.String()} {
		h.WantCode(h.Pull(h.Ctx, "registry.test/platform"+ref), codes.FailedPrecondition, "linux/s390x", "linux/"+arch())
	}
}
