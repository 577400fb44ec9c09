package plan

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/fault"
)

func imageOf(ref string) *runtimeapi.ImageSpec { return &runtimeapi.ImageSpec{Image: ref} }

// Image volumes are mounts of their own type, and the plan lists their images in
// the spec's order, which is that of the depth.
func TestImageVolumes(t *testing.T) {
	asked := &runtimeapi.Mount{
		ContainerPath: "/deep/er/model", Image: imageOf("registry.test/model:1"), ImageSubPath: "weights", Readonly: true,
		MountOptions: []string{"noexec", "nodev"}, Propagation: runtimeapi.MountPropagation_PROPAGATION_HOST_TO_CONTAINER,
	}
	before := proto.CloneOf(asked)
	p, err := Container(input(func(in *ContainerInput) {
		in.Config.Mounts = []*runtimeapi.Mount{
			asked,
			{ContainerPath: "/host", HostPath: "/h"},
			{ContainerPath: "/data", Image: imageOf("sha256:22"), Readonly: true, RecursiveReadOnly: true},
		}
		in.Volumes = map[int]string{0: "sha256:11", 2: "sha256:22"}
	}))
	if err != nil {
		t.Fatal(err)
	}
	var images []specs.Mount
	for _, m := range p.Spec.Mounts {
		if m.Type == "image" {
			images = append(images, m)
		}
	}
	wantMounts := []specs.Mount{
		{Destination: "/data", Type: "image", Source: "sha256:22", Options: []string{"ro"}},
		{Destination: "/deep/er/model", Type: "image", Source: "sha256:11/weights", Options: []string{"ro", "noexec", "nodev"}},
	}
	wantVolumes := []Volume{
		{Field: "config.mounts[2].image", ImageID: "sha256:22"},
		{Field: "config.mounts[0].image", ImageID: "sha256:11", SubPath: "weights"},
	}
	if !reflect.DeepEqual(images, wantMounts) || !reflect.DeepEqual(p.Volumes, wantVolumes) {
		t.Errorf("mounts %+v\nvolumes %+v", images, p.Volumes)
	}
	if len(p.Sources) != 1 || p.Sources[0].Path != "/h" {
		t.Errorf("host paths %+v", p.Sources)
	}
	// The status tells ids, by which the kubelet knows images in use, and the names
	// that people gave.
	told := p.Mounts[0].GetImage()
	if told.GetImage() != "sha256:11" || told.GetImageRef() != "sha256:11" || told.GetUserSpecifiedImage() != "registry.test/model:1" || p.Mounts[0].GetImageSubPath() != "weights" {
		t.Errorf("status: %v", p.Mounts[0])
	}
	if told := p.Mounts[2].GetImage(); told.GetImageRef() != "sha256:22" || told.GetUserSpecifiedImage() != "" {
		t.Errorf("status: %v", told)
	}
	if !proto.Equal(asked, before) {
		t.Errorf("the request was changed: %v", asked)
	}
}

func TestImageVolumeErrors(t *testing.T) {
	for want, m := range map[string]*runtimeapi.Mount{
		"image: is set beside":             {ContainerPath: "/a", HostPath: "/h", Image: imageOf("i"), Readonly: true},
		"image.image: is empty":            {ContainerPath: "/a", Image: imageOf(""), Readonly: true},
		"readonly: is not set":             {ContainerPath: "/a", Image: imageOf("i")},
		"propagation: mounts do not":       {ContainerPath: "/a", Image: imageOf("i"), Readonly: true, Propagation: runtimeapi.MountPropagation_PROPAGATION_BIDIRECTIONAL},
		"recursive_read_only: is set with": {ContainerPath: "/a", Image: imageOf("i"), Readonly: true, RecursiveReadOnly: true, Propagation: 1},
		"uidMappings":                      {ContainerPath: "/a", Image: imageOf("i"), Readonly: true, UidMappings: []*runtimeapi.IDMapping{{}}},
		"mount_options[0]":                 {ContainerPath: "/a", Image: imageOf("i"), Readonly: true, MountOptions: []string{"rw"}},
		"image_sub_path: \"a/../../b\"":    {ContainerPath: "/a", Image: imageOf("i"), Readonly: true, ImageSubPath: "a/../../b"},
		"image_sub_path: \"a\\x00b\"":      {ContainerPath: "/a", Image: imageOf("i"), Readonly: true, ImageSubPath: "a\x00b"},
		// CVE-2019-16884, CVE-2019-19921
		"container_path: /proc: nothing":          {ContainerPath: "/proc", Image: imageOf("i"), Readonly: true},
		"container_path: /proc/self/attr":         {ContainerPath: "/x/../proc/self/attr", Image: imageOf("i"), Readonly: true},
		"container_path: /proc/cpuinfo: no":       {ContainerPath: "/proc/cpuinfo", Image: imageOf("i"), Readonly: true},
		"container_path: /sys/fs/cgroup: no":      {ContainerPath: "/sys/fs/cgroup", Image: imageOf("i"), Readonly: true},
		"container_path: /dev: no image":          {ContainerPath: "/dev/", Image: imageOf("i"), Readonly: true},
		"container_path: the root":                {ContainerPath: "/", Image: imageOf("i"), Readonly: true},
		"container_path: /first is that":          {ContainerPath: "/first", Image: imageOf("i"), Readonly: true},
		"container_path: \"data\" is not an abso": {ContainerPath: "data", Image: imageOf("i"), Readonly: true},
	} {
		_, err := Container(input(func(in *ContainerInput) {
			in.Config.Mounts = []*runtimeapi.Mount{{ContainerPath: "/first", HostPath: "/f"}, m}
			in.Volumes = map[int]string{1: "sha256:11"}
		}))
		var bad *fault.InvalidError
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), "config.mounts[1]."+want) {
			t.Errorf("error %v, want %s", err, want)
		}
	}
	_, err := Container(input(func(in *ContainerInput) {
		in.Volumes = map[int]string{}
		for i := range maxVolumes + 1 {
			in.Config.Mounts = append(in.Config.Mounts, &runtimeapi.Mount{ContainerPath: fmt.Sprint("/v", i), Image: imageOf("i"), Readonly: true})
			in.Volumes[i] = "sha256:11"
		}
	}))
	if err == nil || !strings.Contains(err.Error(), "volumes, more than") {
		t.Errorf("too many volumes: %v", err)
	}
}

// The kubelet's word comes first, however deep the reason is, and the code is the
// reason's.
func TestVolumeErrorIsTold(t *testing.T) {
	err := fmt.Errorf("create: %w", &fault.VolumeError{Field: "config.mounts[0].image", Err: fault.Invalid("image_sub_path", "is not there")})
	code, known := fault.Code(err)
	if code != codes.InvalidArgument || !known || !strings.HasPrefix(fault.Message(err), "ImageVolumeMountFailed: ") {
		t.Errorf("%v %t: %s", code, known, fault.Message(err))
	}
}
