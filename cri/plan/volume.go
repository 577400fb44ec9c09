package plan

import (
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	protobuf "google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/fault"
	"github.com/varve-cri/varve/shim/proto"
)

// maxVolumes is how many image volumes a container can have: each is a
// descriptor in the message that starts it.
const maxVolumes = proto.MaxImages

// imageMount plans the mount of an image (KEP-4639). Its type is "image": it
// arrives as a descriptor, because it is in no mount table.
func imageMount(field string, m *runtimeapi.Mount, id string, host *Host) (specs.Mount, error) {
	none := specs.Mount{}
	target, err := mountTarget(field+"container_path", m.GetContainerPath())
	if err != nil {
		return none, err
	}
	switch {
	case m.HostPath != "":
		return none, fault.Invalid(field+"image", "is set beside host_path")
	case m.Image.GetImage() == "":
		return none, fault.Invalid(field+"image.image", "is empty")
	case !m.Readonly:
		return none, fault.Invalid(field+"readonly", "is not set: an image volume is read-only")
	case m.Propagation == runtimeapi.MountPropagation_PROPAGATION_BIDIRECTIONAL:
		return none, fault.Invalid(field+"propagation", "mounts do not spread from an image volume")
	}
	for _, kernel := range []string{"/proc", "/sys", "/dev"} {
		// An image's file could pass for the kernel's (CVE-2019-16884).
		if within(target, kernel) {
			return none, fault.Invalid(field+"container_path", "%s: no image may be mounted there", target)
		}
	}
	if err := checkSubPath(field+"image_sub_path", m.ImageSubPath); err != nil {
		return none, err
	}
	options, err := mountOptions(field, m, host)
	if err != nil {
		return none, err
	}
	// There is nothing below an image, and nothing spreads to it or from it.
	options = append([]string{"ro"}, options[3:]...)
	uids, gids, err := mountMappings(field, m)
	if err != nil {
		return none, err
	}
	return specs.Mount{
		Destination: target, Type: "image", Source: path.Join(id, m.ImageSubPath), Options: options, UIDMappings: uids, GIDMappings: gids,
	}, nil
}

// checkSubPath refuses what no client means. What stays is resolved inside the
// image, whatever its links say.
func checkSubPath(field, sub string) error {
	if len(sub) > 4095 || strings.Contains(sub, "\x00") {
		return fault.Invalid(field, "%.40q is not a path", sub)
	}
	if slices.Contains(strings.Split(sub, "/"), "..") {
		return fault.Invalid(field, "%q climbs", sub)
	}
	return nil
}

// toldMount is an image volume as the status tells it: the kubelet finds the
// images that are in use by Image.image, which must be an image's id, and shows
// Image.image_ref (KEP-5365).
func toldMount(m *runtimeapi.Mount, id string) *runtimeapi.Mount {
	told := protobuf.CloneOf(m)
	if told.Image.UserSpecifiedImage == "" && told.Image.Image != id {
		told.Image.UserSpecifiedImage = told.Image.Image
	}
	told.Image.Image, told.Image.ImageRef = id, id
	return told
}
