package server

import (
	"os"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/e2e/testimage"
)

// data pulls an image of files that is no use but as a volume, and returns its id.
func (n *node) data(name string, files ...testimage.File) string {
	n.t.Helper()
	img, err := testimage.Build(testimage.Spec{Config: v1.Config{}, Layers: [][]testimage.File{files}})
	if err != nil {
		n.t.Fatal(err)
	}
	if err := built.registry.Push(name+":1", img); err != nil {
		n.t.Fatal(err)
	}
	r, err := n.PullImage(n.ctx(), &runtimeapi.PullImageRequest{Image: &runtimeapi.ImageSpec{Image: "registry.test/" + name + ":1"}})
	if err != nil {
		n.t.Fatal(err)
	}
	return r.GetImageRef()
}

func imageVolume(cc *runtimeapi.ContainerConfig, path, image, sub string) {
	cc.Mounts = append(cc.Mounts, &runtimeapi.Mount{ContainerPath: path, Image: &runtimeapi.ImageSpec{Image: image}, ImageSubPath: sub, Readonly: true})
}

// An image volume is there, read-only, in all containers that ask for it, over a
// restart before the start and while the container runs, and also when the image
// was removed after the creation. Nothing of it is in the host's mount table.
func TestImageVolume(t *testing.T) {
	n := newNode(t)
	n.pull()
	id := n.data("volume-data", testimage.Dir("d"), testimage.File{Name: "d/file", Body: "from the volume"}, testimage.Symlink("abs", "/d"))
	pc := podConfig(t)
	pod := n.pod(pc)
	with := func(name string) *runtimeapi.ContainerConfig {
		cc := containerConfig(pc, name, "sleep")
		imageVolume(cc, "/v/all", id, "")
		imageVolume(cc, "/v/part", "registry.test/volume-data:1", "abs")
		imageVolume(cc, "/v/file", id, "d/file")
		imageVolume(cc, "/v/self", probe, "etc") // its own image
		return cc
	}
	look := func(c string) {
		t.Helper()
		out, err := n.exec(c, "cat", "/v/all/d/file", "/v/part/file", "/v/file", "/v/self/note")
		if err != nil || string(out.GetStdout()) != strings.Repeat("from the volume", 3)+"from the image\n" {
			t.Errorf("%v, %v", out, err)
		}
		if out, err := n.exec(c, "write", "/v/all/d/file", "x"); err != nil || !strings.Contains(string(out.GetStderr()), "read-only") {
			t.Errorf("a write: %v, %v", out, err)
		}
	}
	first := n.run(pod, pc, with("first"))
	second, err := n.create(pod, pc, with("second"))
	if err != nil {
		t.Fatal(err)
	}
	mounts := n.status(second).GetMounts()
	if len(mounts) != 4 || slices.ContainsFunc(mounts[:3], func(m *runtimeapi.Mount) bool {
		return m.GetImage().GetImage() != id || m.GetImage().GetImageRef() != id
	}) {
		t.Errorf("status: %v", mounts)
	}
	look(first)
	// Gone from the list at once; what uses it goes on.
	for _, ref := range []string{id, probe} {
		if _, err := n.RemoveImage(n.ctx(), &runtimeapi.RemoveImageRequest{Image: &runtimeapi.ImageSpec{Image: ref}}); err != nil {
			t.Fatal(err)
		}
	}
	if list, err := n.ListImages(n.ctx(), &runtimeapi.ListImagesRequest{}); err != nil || len(list.GetImages()) > 0 {
		t.Errorf("listed: %v, %v", list, err)
	}
	n.crash()
	n.restart()
	look(first)
	if _, err := n.StartContainer(n.ctx(), &runtimeapi.StartContainerRequest{ContainerId: second}); err != nil {
		t.Fatal(err)
	}
	look(second)
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || strings.Contains(string(table), n.cfg.RootDir) {
		t.Errorf("the host's mount table knows it: %v", err)
	}
}

func TestImageVolumeRefused(t *testing.T) {
	n := newNode(t)
	n.pull()
	id := n.data("volume-refused", testimage.Dir("d"), testimage.Symlink("out", "/etc/hostname"), testimage.Symlink("up", "../../../../../etc"))
	pc := podConfig(t)
	pod := n.pod(pc)
	for name, c := range map[string]struct {
		image, path, sub string
		code             codes.Code
		words            []string
	}{
		"missing-image":    {"registry.test/none:1", "/v", "", codes.NotFound, []string{"ImageVolumeMountFailed: ", "config.mounts[0].image", "registry.test/none:1"}},
		"missing-sub-path": {id, "/v", "none", codes.InvalidArgument, []string{"ImageVolumeMountFailed: ", `image_sub_path "none"`}},
		"link-out":         {id, "/v", "out", codes.InvalidArgument, []string{"ImageVolumeMountFailed: "}},
		"link-up":          {id, "/v", "up", codes.InvalidArgument, []string{"ImageVolumeMountFailed: "}},
		"climbs":           {id, "/v", "../x", codes.InvalidArgument, []string{"climbs"}},
		"over-proc":        {id, "/proc/self", "", codes.InvalidArgument, []string{"/proc/self"}},
	} {
		cc := containerConfig(pc, name, "sleep")
		imageVolume(cc, c.path, c.image, c.sub)
		_, err := n.create(pod, pc, cc)
		want(t, err, c.code, c.words...)
		if err != nil && strings.Contains(strings.TrimPrefix(err.Error(), "rpc error: "), "desc = ImageVolumeMountFailed") != (c.words[0] == "ImageVolumeMountFailed: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if layers := n.images.ListRW(); len(layers) > 0 {
		t.Errorf("refused containers left %v", layers)
	}
}
