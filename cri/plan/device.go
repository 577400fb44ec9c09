package plan

import (
	"fmt"
	"path"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/varve-cri/varve/cri/fault"
)

// devices adds the device nodes and the rules of the device cgroup: first
// nothing is allowed (a list without a denial would allow all: GHSA-g54h), then
// making any node, the harmless ones, and what the request names. A privileged
// container may use all and sees the host's. The spec's default nodes are the
// runtime's to make. In a user namespace privileged is privileged there: the
// host's devices would be the host.
func devices(in *ContainerInput, p *ContainerPlan) error {
	linux := p.Spec.Linux
	if in.Config.GetLinux().GetSecurityContext().GetPrivileged() && in.Pod.UserNS == nil {
		linux.Resources.Devices = []specs.LinuxDeviceCgroup{{Allow: true, Access: "rwm"}}
		all, err := in.Host.Devices.All()
		if err != nil {
			return err
		}
		linux.Devices = all
	} else {
		linux.Resources.Devices = defaultDeviceRules()
	}
	at := map[string]int{}
	for i, d := range linux.Devices {
		at[d.Path] = i
	}
	add := func(dev specs.LinuxDevice, access string) {
		if j, ok := at[dev.Path]; ok {
			linux.Devices[j] = dev
		} else {
			at[dev.Path] = len(linux.Devices)
			linux.Devices = append(linux.Devices, dev)
		}
		if access == "" || dev.Type == "p" {
			return
		}
		linux.Resources.Devices = append(linux.Resources.Devices, specs.LinuxDeviceCgroup{
			Allow: true, Type: dev.Type, Major: &dev.Major, Minor: &dev.Minor, Access: access,
		})
	}
	for i, d := range in.Config.Devices {
		field := fmt.Sprintf("config.devices[%d].", i)
		access, err := deviceAccess(field+"permissions", d.GetPermissions())
		if err != nil {
			return err
		}
		found, err := findDevices(field, d.GetHostPath(), d.GetContainerPath(), in.Host.Devices)
		if err != nil {
			return err
		}
		for _, dev := range found {
			add(dev, access)
		}
	}
	return editDevices(in, p.User, add)
}

// findDevices looks at one entry of the request and moves what it finds from
// the host's path to the container's.
func findDevices(field, from, to string, finder DeviceFinder) ([]specs.LinuxDevice, error) {
	if !path.IsAbs(from) || strings.Contains(from, "\x00") {
		return nil, fault.Invalid(field+"host_path", "%q is not an absolute path", from)
	}
	if to == "" {
		to = from
	}
	if !path.IsAbs(to) || strings.Contains(to, "\x00") || path.Clean(to) == "/" || within(path.Clean(to), "/proc") {
		return nil, fault.Invalid(field+"container_path", "%q is not a path for a device", to)
	}
	from, to = path.Clean(from), path.Clean(to)
	found, err := finder.Find(from)
	if err != nil {
		return nil, fault.Invalid(field+"host_path", "%v", err)
	}
	for i := range found {
		found[i].Path = path.Join(to, strings.TrimPrefix(found[i].Path, from))
	}
	return found, nil
}

func deviceAccess(field, permissions string) (string, error) {
	if permissions == "" {
		return "rwm", nil
	}
	if strings.Trim(permissions, "rwm") != "" || len(permissions) > 3 {
		return "", fault.Invalid(field, "%q is not made of r, w and m", permissions)
	}
	return permissions, nil
}

func defaultDeviceRules() []specs.LinuxDeviceCgroup {
	rules := []specs.LinuxDeviceCgroup{
		{Allow: false, Access: "rwm"},
		// Making a node is harmless: opening it is what the rules are about.
		{Allow: true, Type: "c", Access: "m"},
		{Allow: true, Type: "b", Access: "m"},
	}
	const every = -1
	for _, d := range [][2]int64{
		{1, 3}, {1, 5}, {1, 7}, {1, 8}, {1, 9}, // null, zero, full, random, urandom
		{5, 0}, {5, 1}, {5, 2}, // tty, console, ptmx
		{136, every}, // pts
	} {
		rule := specs.LinuxDeviceCgroup{Allow: true, Type: "c", Major: &d[0], Access: "rwm"}
		if d[1] != every {
			rule.Minor = &d[1]
		}
		rules = append(rules, rule)
	}
	return rules
}
