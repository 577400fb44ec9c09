package image

import (
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/e2e/harness"
	"github.com/varve-cri/varve/e2e/testimage"
)

func spec(ref string) *runtimeapi.ImageSpec { return &runtimeapi.ImageSpec{Image: ref} }

// tiny is an image of its own for each test, so that tests share no layer.
func tiny(t *testing.T, config v1.Config) v1.Image {
	t.Helper()
	image, err := testimage.Build(testimage.Spec{Config: config, Layers: [][]testimage.File{{
		testimage.Dir("etc"), {Name: "etc/test", Body: t.Name()},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	return image
}

func remove(h *harness.Test, refs ...string) {
	for _, ref := range refs {
		if _, err := h.RemoveImage(h.Ctx, &runtimeapi.RemoveImageRequest{Image: spec(ref)}); err != nil {
			h.T.Errorf("remove image %s: %v", ref, err)
		}
	}
}

func TestPullByTagAndDigest(t *testing.T) {
	h := suite.Test(t)
	image := tiny(t, v1.Config{User: "1234:5"})
	h.Must(h.Registry.Push("team/app:1", image))
	digest, err := image.Digest()
	h.Must(err)
	config, err := image.ConfigName()
	h.Must(err)
	const repository = "registry.test/team/app"

	byTag, err := h.PullImage(h.Ctx, &runtimeapi.PullImageRequest{Image: spec(repository + ":1")})
	h.Must(err)
	byDigest, err := h.PullImage(h.Ctx, &runtimeapi.PullImageRequest{Image: spec(repository + "@" + digest.String())})
	h.Must(err)
	if byTag.GetImageRef() != config.String() || byDigest.GetImageRef() != config.String() {
		t.Errorf("image refs %s and %s, want the image id %s", byTag.GetImageRef(), byDigest.GetImageRef(), config)
	}
	for _, ref := range []string{repository + ":1", repository + "@" + digest.String(), config.String(), config.Hex, config.Hex[:13]} {
		status, err := h.ImageStatus(h.Ctx, &runtimeapi.ImageStatusRequest{Image: spec(ref)})
		h.Must(err)
		got := status.GetImage()
		if got.GetId() != config.String() {
			t.Errorf("status of %s: id %q", ref, got.GetId())
			continue
		}
		if strings.Join(got.GetRepoTags(), " ") != repository+":1" || strings.Join(got.GetRepoDigests(), " ") != repository+"@"+digest.String() {
			t.Errorf("tags %v, digests %v", got.GetRepoTags(), got.GetRepoDigests())
		}
		if got.GetSize() == 0 || got.GetUid().GetValue() != 1234 || got.GetUsername() != "" {
			t.Errorf("size %d, user %v %q", got.GetSize(), got.GetUid(), got.GetUsername())
		}
	}
	remove(h, config.String())
}

func TestStatusOfAnUnknownImageIsEmpty(t *testing.T) {
	h := suite.Test(t)
	status, err := h.ImageStatus(h.Ctx, &runtimeapi.ImageStatusRequest{Image: spec("registry.test/nobody:1")})
	h.Must(err)
	if status.GetImage() != nil {
		t.Errorf("got %v", status)
	}
	remove(h, "registry.test/nobody:1", strings.Repeat("ab", 32))
	_, err = h.ImageStatus(h.Ctx, &runtimeapi.ImageStatusRequest{})
	h.WantCode(err, codes.InvalidArgument, "image")
}

func TestListAndRemove(t *testing.T) {
	h := suite.Test(t)
	image := tiny(t, v1.Config{})
	id, err := image.ConfigName()
	h.Must(err)
	for _, ref := range []string{"one:a", "one:b", "two:c"} {
		h.Must(h.Registry.Push(ref, image))
		h.Must(h.Pull(h.Ctx, "registry.test/"+ref))
	}
	list := func(filter *runtimeapi.ImageFilter) map[string][]string {
		answer, err := h.ListImages(h.Ctx, &runtimeapi.ListImagesRequest{Filter: filter})
		h.Must(err)
		found := map[string][]string{}
		for _, i := range answer.GetImages() {
			found[i.GetId()] = i.GetRepoTags()
		}
		return found
	}
	if got := list(nil); len(got) != 2 || len(got[id.String()]) != 3 {
		t.Errorf("list: %v", got)
	}
	if got := list(&runtimeapi.ImageFilter{Image: spec("registry.test/one:b")}); len(got) != 1 || got[id.String()] == nil {
		t.Errorf("list of one name: %v", got)
	}
	if got := list(&runtimeapi.ImageFilter{Image: spec("registry.test/nobody:1")}); len(got) != 0 {
		t.Errorf("list of an unknown name: %v", got)
	}
	// Strict identity (CRI 0.36): one tag removed is the image removed.
	remove(h, "registry.test/one:a")
	if got := list(nil); got[id.String()] != nil {
		t.Errorf("after the removal of one tag: %v", got)
	}
	remove(h, "registry.test/one:a", id.String())
}

func TestTagMoves(t *testing.T) {
	h := suite.Test(t)
	first, second := tiny(t, v1.Config{User: "1"}), tiny(t, v1.Config{User: "2"})
	var ids []string
	for _, image := range []v1.Image{first, second} {
		h.Must(h.Registry.Push("moving:1", image))
		answer, err := h.PullImage(h.Ctx, &runtimeapi.PullImageRequest{Image: spec("registry.test/moving:1")})
		h.Must(err)
		ids = append(ids, answer.GetImageRef())
	}
	status, err := h.ImageStatus(h.Ctx, &runtimeapi.ImageStatusRequest{Image: spec("registry.test/moving:1")})
	h.Must(err)
	if status.GetImage().GetId() != ids[1] {
		t.Errorf("the tag names %s, want %s", status.GetImage().GetId(), ids[1])
	}
	old, err := h.ImageStatus(h.Ctx, &runtimeapi.ImageStatusRequest{Image: spec(ids[0])})
	h.Must(err)
	if len(old.GetImage().GetRepoTags()) != 0 {
		t.Errorf("the image that lost its tag has %v", old.GetImage().GetRepoTags())
	}
	remove(h, ids...)
}

func TestImageFsInfo(t *testing.T) {
	h := suite.Test(t)
	info, err := h.ImageFsInfo(h.Ctx, &runtimeapi.ImageFsInfoRequest{})
	h.Must(err)
	if len(info.GetImageFilesystems()) != 1 {
		t.Fatalf("got %v", info)
	}
	fs := info.GetImageFilesystems()[0]
	if fs.GetUsedBytes().GetValue() < 1<<20 || fs.GetInodesUsed().GetValue() < 5 || fs.GetTimestamp() == 0 {
		t.Errorf("got %v", fs)
	}
	if !strings.HasPrefix(fs.GetFsId().GetMountpoint(), h.Dir) {
		t.Errorf("mountpoint %s", fs.GetFsId().GetMountpoint())
	}
}

func TestIndexPicksThePlatform(t *testing.T) {
	h := suite.Test(t)
	var adds []mutate.IndexAddendum
	for _, arch := range []string{"s390x", "amd64", "arm64"} {
		image, err := testimage.Build(testimage.Spec{Architecture: arch, Config: v1.Config{User: arch}})
		h.Must(err)
		adds = append(adds, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}}})
	}
	h.Must(h.Registry.PushIndex("many:1", mutate.AppendManifests(empty.Index, adds...)))
	h.Must(h.Pull(h.Ctx, "registry.test/many:1"))
	status, err := h.ImageStatus(h.Ctx, &runtimeapi.ImageStatusRequest{Image: spec("registry.test/many:1")})
	h.Must(err)
	if got := status.GetImage().GetUsername(); got != arch() {
		t.Errorf("got the image of %q, want %q", got, arch())
	}
	remove(h, "registry.test/many:1")

	h.Must(h.Registry.PushIndex("others:1", mutate.AppendManifests(empty.Index, adds[0])))
	err = h.Pull(h.Ctx, "registry.test/others:1")
	if err == nil || !strings.Contains(err.Error(), "linux/"+arch()) {
		t.Errorf("image for another platform: %v", err)
	}
}

func TestImageInUseKeepsItsContainerRunning(t *testing.T) {
	h := suite.Test(t)
	ref := h.Image("in-use", v1.Config{})
	c := h.Pod().Start(harness.Image(ref), harness.Say("sleep"))
	h.RemoveImage(h.Ctx, &runtimeapi.RemoveImageRequest{Image: spec(ref)}) //nolint:errcheck // CRI allows both answers; what must hold is below
	if got := c.Exec("cat /etc/note"); got != "from the image\n" {
		t.Errorf("got %q", got)
	}
}
