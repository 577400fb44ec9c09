package plan

import (
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/fault"
)

// planContainer asks one function per section of the request; each returns a
// value, and this is where they meet.
func planContainer(in *ContainerInput) (*ContainerPlan, error) {
	if err := checkContainer(in); err != nil {
		return nil, err
	}
	c := in.Config
	sc := c.GetLinux().GetSecurityContext()
	p := &ContainerPlan{Stdin: c.Stdin, StdinOnce: c.StdinOnce}

	var err error
	var note string
	if p.StopSignal, note, err = stopSignal(c, in.Image.StopSignal); err != nil {
		return nil, err
	}
	p.note(note)
	if p.LogPath, err = logPath(in.PodConfig.GetLogDirectory(), c.LogPath); err != nil {
		return nil, err
	}
	if p.User, err = resolveUser(sc, in.Image.User, in.Passwd, in.Group); err != nil {
		return nil, err
	}
	if err := checkEdits(in.Devices); err != nil {
		return nil, err
	}
	p.User.Groups = editGroups(in.Devices, p.User.Groups)
	if err := in.Pod.UserNS.checkMapped(p.User); err != nil {
		return nil, err
	}
	if p.Seccomp, err = seccompChoice(sc, in.Handler); err != nil {
		return nil, err
	}
	proc, err := process(in, p)
	if err != nil {
		return nil, err
	}
	linux, err := linuxSection(in)
	if err != nil {
		return nil, err
	}
	mounts, err := containerMounts(in, p)
	if err != nil {
		return nil, err
	}
	p.Spec = &specs.Spec{
		Version: specs.Version,
		Process: proc,
		Root:    &specs.Root{Path: "rootfs", Readonly: sc.GetReadonlyRootfs()},
		Mounts:  mounts,
		Linux:   linux,
		// No annotations: neither a pod's nor an image's may become control
		// data of a runtime (CVE-2023-6476, CVE-2024-3154, CVE-2026-53488).
	}
	if err := selinux(in, p); err != nil {
		return nil, err
	}
	return p, devices(in, p)
}

func (p *ContainerPlan) note(s string) {
	if s != "" {
		p.Notes = append(p.Notes, s)
	}
}

// checkContainer is what no section owns.
func checkContainer(in *ContainerInput) error {
	c := in.Config
	sc := c.GetLinux().GetSecurityContext()
	switch {
	case c == nil:
		return fault.Invalid("config", "is missing")
	case in.PodConfig == nil:
		return fault.Invalid("sandbox_config", "is missing")
	case c.Metadata == nil:
		return fault.Invalid("config.metadata", "is missing")
	case c.Metadata.Name == "":
		return fault.Invalid("config.metadata.name", "is empty")
	case strings.ContainsAny(c.Metadata.Name, "\x00\n") || len(c.Metadata.Name) > 1024:
		return fault.Invalid("config.metadata.name", "%.40q is not a name", c.Metadata.Name)
	case c.Windows != nil:
		return fault.Invalid("config.windows", "this is a Linux node")
	case c.GetImage().GetImage() == "":
		return fault.Invalid("config.image.image", "is empty")
	case sc.GetPrivileged() && !in.PodConfig.GetLinux().GetSecurityContext().GetPrivileged():
		return fault.Invalid(securityField+"privileged", "the pod is not privileged")
	}
	for _, v := range slices.Sorted(maps.Keys(in.Image.Volumes)) {
		if err := checkVolume(v); err != nil {
			return err
		}
	}
	return nil
}

// checkVolume refuses images whose volumes name what is not theirs: /proc
// (CVE-2019-16884) or something outside (CVE-2022-23648). Nothing else is done
// for a volume: the path is in the container's own read-write layer.
func checkVolume(v string) error {
	const field = "image config.Volumes"
	for part := range strings.SplitSeq(v, "/") {
		if part == ".." {
			return fault.Invalid(field, "%q climbs", v)
		}
	}
	clean := path.Clean("/" + v)
	for _, kernel := range []string{"/proc", "/sys", "/dev"} {
		if within(clean, kernel) {
			return fault.Invalid(field, "%q is the kernel's", v)
		}
	}
	return nil
}

// within says whether p is dir or below it; both are clean.
func within(p, dir string) bool {
	return p == dir || dir == "/" || strings.HasPrefix(p, dir+"/")
}

// logPath joins the pod's directory and the container's path. The path must
// stay below (CVE-2025-0750).
func logPath(dir, file string) (string, error) {
	const field = "config.log_path"
	if dir == "" || file == "" {
		return "", nil
	}
	if path.IsAbs(file) || strings.ContainsAny(file, "\x00\n") {
		return "", fault.Invalid(field, "%q is not a relative path", file)
	}
	for part := range strings.SplitSeq(file, "/") {
		if part == ".." {
			return "", fault.Invalid(field, "%q climbs out of the log directory", file)
		}
	}
	clean := path.Clean(file)
	if clean == "." || strings.HasSuffix(file, "/") {
		return "", fault.Invalid(field, "%q names no file", file)
	}
	return path.Join("/", dir, clean), nil
}

// linuxSection is the spec's Linux part but for devices.
func linuxSection(in *ContainerInput) (*specs.Linux, error) {
	c := in.Config
	sc := c.GetLinux().GetSecurityContext()
	if err := containerUserNamespace(in); err != nil {
		return nil, err
	}
	namespaces, err := containerNamespaces(in)
	if err != nil {
		return nil, err
	}
	res, err := Resources("config.linux.resources", c.GetLinux().GetResources(), in.Host)
	if err != nil {
		return nil, err
	}
	masked, readonly, err := kernelPaths(sc, in)
	if err != nil {
		return nil, err
	}
	linux := &specs.Linux{
		Namespaces:    namespaces,
		Resources:     res,
		CgroupsPath:   path.Join("/", in.Pod.CgroupParent, in.ID),
		MaskedPaths:   masked,
		ReadonlyPaths: readonly,
	}
	in.Pod.UserNS.apply(linux, in.Pod.UserNSPath)
	return linux, nil
}

// containerNamespaces: mount and cgroup are the container's own, network, ipc
// and uts the pod's, and pid is what the container asks for.
func containerNamespaces(in *ContainerInput) ([]specs.LinuxNamespace, error) {
	sc := in.Config.GetLinux().GetSecurityContext()
	out := []specs.LinuxNamespace{{Type: specs.MountNamespace}}
	if !sc.GetPrivileged() {
		// A privileged container sees the host's cgroups, as everywhere.
		out = append(out, specs.LinuxNamespace{Type: specs.CgroupNamespace})
	}
	for _, ns := range []struct {
		kind specs.LinuxNamespaceType
		path string
	}{
		{specs.NetworkNamespace, in.Pod.NetNS}, {specs.IPCNamespace, in.Pod.IPCNS}, {specs.UTSNamespace, in.Pod.UTSNS},
	} {
		if ns.path != "" {
			out = append(out, specs.LinuxNamespace{Type: ns.kind, Path: ns.path})
		}
	}
	// The other modes are the pod's to decide.
	opt := sc.GetNamespaceOptions()
	if err := checkShared(opt, in.PodConfig.GetLinux().GetSecurityContext().GetNamespaceOptions()); err != nil {
		return nil, err
	}
	const field = securityField + "namespace_options.pid"
	switch mode := PIDMode(in.Config, in.PodConfig); mode {
	case runtimeapi.NamespaceMode_NODE:
		return out, nil
	case runtimeapi.NamespaceMode_CONTAINER:
		return append(out, specs.LinuxNamespace{Type: specs.PIDNamespace}), nil
	case runtimeapi.NamespaceMode_POD:
		if in.Pod.PIDNS == "" {
			return nil, fault.Invalid(field, "POD: the pod has no shared PID namespace")
		}
		return append(out, specs.LinuxNamespace{Type: specs.PIDNamespace, Path: in.Pod.PIDNS}), nil
	case runtimeapi.NamespaceMode_TARGET:
		if opt.GetTargetId() == "" {
			return nil, fault.Invalid(securityField+"namespace_options.target_id", "is empty with pid TARGET")
		}
		if in.Pod.TargetPIDNS == "" {
			return nil, &fault.PreconditionError{Object: "container " + opt.GetTargetId(), Problem: "has no PID namespace to share: it does not run"}
		}
		return append(out, specs.LinuxNamespace{Type: specs.PIDNamespace, Path: in.Pod.TargetPIDNS}), nil
	default:
		return nil, fault.Invalid(field, "%d is not known", mode)
	}
}

// checkShared refuses a container that asks for a namespace of the host's which
// its pod does not have: who allowed the pod has not allowed that.
func checkShared(opt, pod *runtimeapi.NamespaceOption) error {
	for _, ns := range []struct {
		name      string
		asks, has runtimeapi.NamespaceMode
	}{{"network", opt.GetNetwork(), pod.GetNetwork()}, {"ipc", opt.GetIpc(), pod.GetIpc()}, {"pid", opt.GetPid(), pod.GetPid()}} {
		if ns.asks == runtimeapi.NamespaceMode_NODE && ns.has != runtimeapi.NamespaceMode_NODE {
			return fault.Invalid(securityField+"namespace_options."+ns.name, "NODE: the pod does not have the host's")
		}
	}
	return nil
}

// PIDMode is the PID namespace of a container: its own wish, or the pod's when
// it has no options of its own.
func PIDMode(c *runtimeapi.ContainerConfig, pod *runtimeapi.PodSandboxConfig) runtimeapi.NamespaceMode {
	if opt := c.GetLinux().GetSecurityContext().GetNamespaceOptions(); opt != nil {
		return opt.GetPid()
	}
	return pod.GetLinux().GetSecurityContext().GetNamespaceOptions().GetPid()
}
