package compile

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/varve-cri/varve/runtime/plan"
)

// devices returns the standard nodes and those of the spec, which may
// replace a standard one.
func devices(list []specs.LinuxDevice) ([]plan.Device, error) {
	out := plan.StandardDevices()
	for i := range list {
		d, err := device(fmt.Sprintf("linux.devices[%d]", i), &list[i])
		if err != nil {
			return nil, err
		}
		same := func(have plan.Device) bool { return have.Path == d.Path }
		if at := slices.IndexFunc(out, same); at >= 0 {
			out[at] = d
			continue
		}
		out = append(out, d)
	}
	return out, nil
}

func device(field string, in *specs.LinuxDevice) (plan.Device, error) {
	d := plan.Device{Path: path.Clean(in.Path), Mode: 0o666}
	if err := absolute(field+".path", in.Path); err != nil {
		return d, err
	}
	switch in.Type {
	case "c", "u":
		d.Kind = plan.CharDevice
	case "b":
		d.Kind = plan.BlockDevice
	case "p":
		d.Kind = plan.FIFO
	default:
		return d, fmt.Errorf("%s.type: %q is none of c, b, u, p", field, in.Type)
	}
	const most = 1<<32 - 1
	if in.Major < 0 || in.Major > most || in.Minor < 0 || in.Minor > most {
		return d, fmt.Errorf("%s: number %d:%d out of range", field, in.Major, in.Minor)
	}
	d.Major, d.Minor = uint32(in.Major), uint32(in.Minor)
	if in.FileMode != nil {
		d.Mode = uint32(in.FileMode.Perm())
	}
	if in.UID != nil {
		d.UID = *in.UID
	}
	if in.GID != nil {
		d.GID = *in.GID
	}
	return d, nil
}

// paths checks a list of paths of the container.
func paths(field string, list []string) ([]string, error) {
	var out []string
	for i, p := range list {
		if err := absolute(fmt.Sprintf("%s[%d]", field, i), p); err != nil {
			return nil, err
		}
		out = append(out, path.Clean(p))
	}
	return out, nil
}

func absolute(field, p string) error {
	switch {
	case p == "":
		return fmt.Errorf("%s: missing", field)
	case !path.IsAbs(p):
		return fmt.Errorf("%s: %q is not an absolute path", field, p)
	case strings.ContainsRune(p, 0):
		return fmt.Errorf("%s: %q holds a zero byte", field, p)
	}
	return nil
}
