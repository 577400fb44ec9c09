package plan

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	crierrors "k8s.io/cri-api/pkg/errors"

	"github.com/varve-cri/varve/cri/fault"
)

// containerMounts is the default mounts, without those that the request or one
// of its devices has one of its own for, and then theirs, ordered so that a mount
// comes after those of the directories above it.
func containerMounts(in *ContainerInput, p *ContainerPlan) ([]specs.Mount, error) {
	asked := &askedMounts{at: map[string]int{}, volumes: map[string]Volume{}}
	if err := asked.request(in, p); err != nil {
		return nil, err
	}
	if err := asked.devices(in, p); err != nil {
		return nil, err
	}
	slices.SortStableFunc(asked.mounts, func(a, b specs.Mount) int {
		return cmp.Compare(strings.Count(a.Destination, "/"), strings.Count(b.Destination, "/"))
	})
	for _, m := range asked.mounts {
		if v, ok := asked.volumes[m.Destination]; ok {
			p.Volumes = append(p.Volumes, v)
		}
	}
	if len(p.Volumes) > maxVolumes {
		return nil, fault.Invalid("config.mounts", "%d image and idmapped volumes, more than %d", len(p.Volumes), maxVolumes)
	}
	out := slices.DeleteFunc(defaultMounts(in), func(m specs.Mount) bool {
		for dir := m.Destination; dir != "/"; dir = path.Dir(dir) {
			// One below another that is replaced (/dev/shm, when the request
			// mounts the host's /dev) is not wanted either.
			if _, ok := asked.at[dir]; ok {
				return true
			}
		}
		return false
	})
	return append(out, asked.mounts...), nil
}

func defaultMounts(in *ContainerInput) []specs.Mount {
	sc := in.Config.GetLinux().GetSecurityContext()
	kernel := []string{"nosuid", "noexec", "nodev"}
	// The CRI's third effect of privileged: sysfs and procfs are writable.
	sys := slices.Concat(kernel, []string{"ro"})
	if sc.GetPrivileged() {
		sys = slices.Concat(kernel, []string{"rw"})
	}
	cgroup := sys
	if in.Handler.Cgroup.Writable {
		cgroup = slices.Concat(kernel, []string{"rw"})
	}
	shm := in.Pod.Shm
	if shm == "" {
		shm = "/dev/shm"
	}
	out := []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: kernel},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
		// gid 5 is tty in every distribution: without it grantpt fails for
		// users that are not root.
		{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
		{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: kernel},
		{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: sys},
		{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: slices.Concat(cgroup, []string{"relatime"})},
		{Destination: "/dev/shm", Type: "bind", Source: shm, Options: []string{"rbind", "rw", "nosuid", "noexec", "nodev", "rprivate"}},
	}
	mode := "rw"
	if sc.GetReadonlyRootfs() {
		mode = "ro"
	}
	for _, f := range []struct{ target, source string }{
		{"/etc/hosts", in.Pod.Hosts}, {"/etc/resolv.conf", in.Pod.ResolvConf}, {"/etc/hostname", in.Pod.HostnameFile},
	} {
		if f.source != "" {
			out = append(out, specs.Mount{
				Destination: f.target, Type: "bind", Source: f.source,
				Options: []string{"bind", mode, "nosuid", "noexec", "nodev", "rprivate"},
			})
		}
	}
	return out
}

// askedMounts are the mounts that are not a container's own.
type askedMounts struct {
	mounts  []specs.Mount
	at      map[string]int    // index in mounts, by destination
	volumes map[string]Volume // by destination
}

func (a *askedMounts) add(m specs.Mount) {
	a.at[m.Destination] = len(a.mounts)
	a.mounts = append(a.mounts, m)
}

// request plans config.mounts.
func (a *askedMounts) request(in *ContainerInput, p *ContainerPlan) error {
	for i, m := range in.Config.Mounts {
		field := fmt.Sprintf("config.mounts[%d].", i)
		var mount specs.Mount
		var err error
		if m.GetImage() == nil {
			mount, err = requestMount(field, m, in.Host)
		} else {
			mount, err = imageMount(field, m, in.Volumes[i], in.Host)
		}
		if err != nil {
			return err
		}
		if in.Pod.UserNS != nil && m.Propagation == runtimeapi.MountPropagation_PROPAGATION_BIDIRECTIONAL {
			return fault.Invalid(field+"propagation", "%s: mounts do not spread from a user namespace to the host", m.Propagation)
		}
		if first, ok := a.at[mount.Destination]; ok {
			return fault.Invalid(field+"container_path", "%s is that of config.mounts[%d] too", mount.Destination, first)
		}
		a.add(mount)
		if m.GetImage() != nil {
			a.volumes[mount.Destination] = Volume{
				Field: field + "image", ImageID: in.Volumes[i], SubPath: m.ImageSubPath,
				UIDs: ranges(mount.UIDMappings), GIDs: ranges(mount.GIDMappings),
			}
			p.Mounts = append(p.Mounts, toldMount(m, in.Volumes[i]))
			continue
		}
		if len(mount.UIDMappings) > 0 {
			a.volumes[mount.Destination] = Volume{
				Field: field + "host_path", HostPath: m.HostPath, UIDs: ranges(mount.UIDMappings), GIDs: ranges(mount.GIDMappings),
			}
		}
		p.Sources = append(p.Sources, Source{Field: field + "host_path", Path: m.HostPath, Propagation: m.Propagation})
		p.Mounts = append(p.Mounts, m)
	}
	return nil
}

func requestMount(field string, m *runtimeapi.Mount, host *Host) (specs.Mount, error) {
	none := specs.Mount{}
	target, err := mountTarget(field+"container_path", m.GetContainerPath())
	if err != nil {
		return none, err
	}
	switch {
	case m.ImageSubPath != "":
		return none, fault.Invalid(field+"image_sub_path", "is set without image")
	case m.HostPath == "":
		return none, fault.Invalid(field+"host_path", "is empty")
	case !path.IsAbs(m.HostPath) || strings.Contains(m.HostPath, "\x00"):
		return none, fault.Invalid(field+"host_path", "%q is not an absolute path", m.HostPath)
	}
	options, err := mountOptions(field, m, host)
	if err != nil {
		return none, err
	}
	uids, gids, err := mountMappings(field, m)
	if err != nil {
		return none, err
	}
	return specs.Mount{Destination: target, Type: "bind", Source: m.HostPath, Options: options, UIDMappings: uids, GIDMappings: gids}, nil
}

func mountOptions(field string, m *runtimeapi.Mount, host *Host) ([]string, error) {
	propagation, ok := map[runtimeapi.MountPropagation]string{
		runtimeapi.MountPropagation_PROPAGATION_PRIVATE:           "rprivate",
		runtimeapi.MountPropagation_PROPAGATION_HOST_TO_CONTAINER: "rslave",
		runtimeapi.MountPropagation_PROPAGATION_BIDIRECTIONAL:     "rshared",
	}[m.Propagation]
	if !ok {
		return nil, fault.Invalid(field+"propagation", "%d is not known", m.Propagation)
	}
	mode := "rw"
	if m.Readonly {
		mode = "ro"
	}
	if m.RecursiveReadOnly {
		switch {
		case !m.Readonly:
			return nil, fault.Invalid(field+"recursive_read_only", "is set without readonly")
		case m.Propagation != runtimeapi.MountPropagation_PROPAGATION_PRIVATE:
			return nil, fault.Invalid(field+"recursive_read_only", "is set with propagation %s", m.Propagation)
		case !host.RecursiveRO:
			return nil, &fault.UnimplementedError{Prefix: crierrors.ErrRROUnsupported.Error(), What: field + "recursive_read_only: needs Linux 5.12,"}
		}
		mode = "rro"
	}
	options := []string{"rbind", propagation, mode}
	for i, o := range m.MountOptions {
		switch o {
		case "noexec", "nodev", "nosuid":
			options = append(options, o)
		default:
			return nil, fault.Invalid(fmt.Sprintf("%smount_options[%d]", field, i), "%q is not noexec, nodev or nosuid", o)
		}
	}
	return options, nil
}

// procFiles are the files of /proc that lxcfs and its like stand in for; they
// say nothing that security rests on.
var procFiles = []string{
	"/proc/cpuinfo", "/proc/diskstats", "/proc/loadavg", "/proc/meminfo", "/proc/slabinfo", "/proc/stat", "/proc/swaps", "/proc/uptime",
}

func mountTarget(field, target string) (string, error) {
	if !path.IsAbs(target) || strings.Contains(target, "\x00") {
		return "", fault.Invalid(field, "%q is not an absolute path", target)
	}
	clean := path.Clean(target)
	switch {
	case clean == "/":
		return "", fault.Invalid(field, "the root cannot be mounted over")
	case within(clean, "/proc") && !slices.Contains(procFiles, clean):
		// A forged /proc would take the writes that confine the process
		// (CVE-2019-19921, CVE-2023-27561, CVE-2025-52881).
		return "", fault.Invalid(field, "%s: nothing may be mounted over /proc", clean)
	}
	return clean, nil
}
