package plan

import (
	"fmt"
	"path"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	cdi "tags.cncf.io/container-device-interface/specs-go"

	"github.com/varve-cri/varve/cri/fault"
	"github.com/varve-cri/varve/cri/record"
)

// What CDI devices do comes last and wins over what the request and the image
// say, as it does in every runtime. It is the node's own configuration, but it
// keeps to what holds for requests: nothing lies over /proc, and what varve cannot
// do is refused by name instead of left out.

// checkEdits refuses what is not carried out. Hooks are programs of the host
// that want a bundle on the disk, which there is none of.
func checkEdits(edits []record.Edits) error {
	for i := range edits {
		e := &edits[i]
		never := func(format string, args ...any) error {
			return &fault.UnimplementedError{What: fmt.Sprintf("CDI device %s: ", e.From) + fmt.Sprintf(format, args...)}
		}
		switch {
		case len(e.Hooks) > 0:
			return never("its %s hook %s: hooks are", e.Hooks[0].HookName, e.Hooks[0].Path)
		case e.IntelRdt != nil:
			return never("its intelRdt is")
		case len(e.NetDevices) > 0:
			return never("its network device %s is", e.NetDevices[0].HostInterfaceName)
		}
	}
	return nil
}

// badEdit is what a specification says that cannot be.
func badEdit(e *record.Edits, format string, args ...any) error {
	return fault.Invalid("CDI device "+e.From, format, args...)
}

// editGroups are the groups that devices belong to.
func editGroups(edits []record.Edits, have []uint32) []uint32 {
	for i := range edits {
		for _, gid := range edits[i].AdditionalGIDs {
			if gid != 0 { // root's group comes with no device
				have = append(have, gid)
			}
		}
	}
	return unique(have)
}

// editEnv gives put the variables of the devices.
func editEnv(edits []record.Edits, put func(key, pair string)) error {
	for i := range edits {
		for _, pair := range edits[i].Env {
			key, value, _ := strings.Cut(pair, "=")
			if err := checkEnv("env", key, value); err != nil {
				return badEdit(&edits[i], "%v", err)
			}
			put(key, pair)
		}
	}
	return nil
}

// devices plans the mounts of CDI devices. Several devices may bring the same
// one: the last counts.
func (a *askedMounts) devices(in *ContainerInput, p *ContainerPlan) error {
	requested := len(a.mounts)
	from := map[string]string{} // destination -> whose mount is there
	for i := range in.Devices {
		e := &in.Devices[i]
		for _, m := range e.Mounts {
			mount, err := editMount(m)
			if err != nil {
				return badEdit(e, "mount of %s on %s: %v", m.HostPath, m.ContainerPath, err)
			}
			at, ok := a.at[mount.Destination]
			switch {
			case ok && at < requested:
				return badEdit(e, "its mount on %s is where config.mounts[%d] goes", mount.Destination, at)
			case ok:
				a.mounts[at] = mount
			default:
				a.add(mount)
			}
			from[mount.Destination] = e.From
		}
	}
	for i := requested; i < len(a.mounts); i++ {
		m := &a.mounts[i]
		if m.Type != "bind" {
			continue
		}
		field := "CDI device " + from[m.Destination]
		p.Sources = append(p.Sources, Source{Field: field, Path: m.Source, Propagation: propagationOf(m.Options)})
		if in.Pod.UserNS != nil {
			// Of a request's mounts the kubelet says whose they are to be.
			m.UIDMappings, m.GIDMappings = in.Pod.UserNS.mappings()
			a.volumes[m.Destination] = Volume{Field: field, HostPath: m.Source, UIDs: ranges(m.UIDMappings), GIDs: ranges(m.GIDMappings)}
		}
	}
	return nil
}

// bindOptions are the options of a bind mount that a specification may use.
var bindOptions = map[string]bool{
	"bind": true, "rbind": true, "defaults": true,
	"ro": true, "rw": true, "nosuid": true, "suid": true, "nodev": true, "dev": true, "noexec": true, "exec": true,
	"rro": true, "rnosuid": true, "rnodev": true, "rnoexec": true, "nosymfollow": true,
	"noatime": true, "relatime": true, "nodiratime": true, "strictatime": true,
	"private": true, "rprivate": true, "slave": true, "rslave": true, "shared": true, "rshared": true,
}

func editMount(m *cdi.Mount) (specs.Mount, error) {
	none := specs.Mount{}
	target, err := mountTarget("containerPath", m.ContainerPath)
	if err != nil {
		return none, err
	}
	out := specs.Mount{Destination: target, Type: m.Type, Source: m.HostPath, Options: m.Options}
	switch m.Type {
	case "tmpfs":
		return out, nil
	case "", "none", "bind":
		out.Type = "bind"
	default:
		return none, fmt.Errorf("its type %q is neither bind nor tmpfs", m.Type)
	}
	if !path.IsAbs(m.HostPath) || strings.Contains(m.HostPath, "\x00") {
		return none, fmt.Errorf("hostPath: %q is not an absolute path", m.HostPath)
	}
	for _, o := range m.Options {
		if !bindOptions[o] {
			return none, fmt.Errorf("its option %q is not known", o)
		}
	}
	return out, nil
}

func propagationOf(options []string) runtimeapi.MountPropagation {
	p := runtimeapi.MountPropagation_PROPAGATION_PRIVATE
	for _, o := range options {
		switch strings.TrimPrefix(o, "r") {
		case "slave":
			p = runtimeapi.MountPropagation_PROPAGATION_HOST_TO_CONTAINER
		case "shared":
			p = runtimeapi.MountPropagation_PROPAGATION_BIDIRECTIONAL
		}
	}
	return p
}

// editDevices gives add the device nodes, each with the access to it.
func editDevices(in *ContainerInput, user User, add func(specs.LinuxDevice, string)) error {
	for i := range in.Devices {
		e := &in.Devices[i]
		for _, n := range e.DeviceNodes {
			d, err := editDevice(n, in.Host.Devices)
			if err != nil {
				return badEdit(e, "device node %s: %v", n.Path, err)
			}
			// Who the container runs as may use what it was given.
			if d.UID == nil {
				d.UID = &user.UID
			}
			if d.GID == nil {
				d.GID = &user.GID
			}
			access := n.Permissions
			switch access {
			case "":
				access = "rwm"
			case "none":
				access = ""
			}
			add(d, access)
		}
	}
	return nil
}

// editDevice completes a node by the host's, but for one whose type and number
// are given: its driver need not be there yet.
func editDevice(n *cdi.DeviceNode, finder DeviceFinder) (specs.LinuxDevice, error) {
	d := specs.LinuxDevice{
		Path: path.Clean(n.Path), Type: n.Type, Major: n.Major, Minor: n.Minor, UID: n.UID, GID: n.GID,
	}
	if d.Type == "u" {
		d.Type = "c" // the same, by an older name
	}
	if n.FileMode != nil {
		mode := n.FileMode.Perm()
		d.FileMode = &mode
	}
	if !path.IsAbs(n.Path) || strings.Contains(n.Path, "\x00") || d.Path == "/" || within(d.Path, "/proc") {
		return d, fmt.Errorf("%q is not a path for a device", n.Path)
	}
	if d.Type == "p" || d.Type != "" && d.Major != 0 {
		return d, nil
	}
	from := n.HostPath
	if from == "" {
		from = n.Path
	}
	if !path.IsAbs(from) {
		return d, fmt.Errorf("hostPath: %q is not an absolute path", from)
	}
	found, err := finder.Find(path.Clean(from))
	switch {
	case err != nil:
		return d, err
	case len(found) != 1 || found[0].Path != path.Clean(from):
		return d, fmt.Errorf("%s is a directory", from)
	case d.Type != "" && d.Type != found[0].Type:
		return d, fmt.Errorf("%s is of type %s on the host, not %s", from, found[0].Type, d.Type)
	}
	d.Type, d.Major, d.Minor = found[0].Type, found[0].Major, found[0].Minor
	if d.FileMode == nil {
		d.FileMode = found[0].FileMode
	}
	return d, nil
}
