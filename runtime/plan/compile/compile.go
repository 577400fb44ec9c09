package compile

import (
	"fmt"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/varve-cri/varve/runtime/plan"
	"golang.org/x/sys/unix"
)

// Options are the parts of a plan that others have made.
type Options struct {
	Seccomp      []byte // compiled filter; empty is none
	SeccompFlags uint32
	CgroupV1     []string // host directories of the container's cgroup, one per v1 hierarchy
	CgroupV2     string   // likewise in the v2 hierarchy
}

// Compile returns the plan of the container id that spec describes. An error
// names the field, as in "linux.maskedPaths[3]: ...".
func Compile(id string, spec *specs.Spec, opt Options) (*plan.Plan, error) {
	if err := unsupported(spec); err != nil {
		return nil, err
	}
	linux := spec.Linux
	if linux == nil {
		linux = &specs.Linux{}
	}
	p := &plan.Plan{
		ID: id, Hostname: spec.Hostname, Domainname: spec.Domainname,
		Links:  plan.StandardLinks(),
		Cgroup: plan.Cgroup{V1: opt.CgroupV1, V2: opt.CgroupV2},
	}
	var err error
	if p.Namespaces, err = namespaces(linux.Namespaces); err != nil {
		return nil, err
	}
	if err := hostname(p); err != nil {
		return nil, err
	}
	if p.Root, err = root(spec); err != nil {
		return nil, err
	}
	if err := mounts(p, spec.Mounts); err != nil {
		return nil, err
	}
	if err := label(p, linux.MountLabel); err != nil {
		return nil, err
	}
	if p.Devices, err = devices(linux.Devices); err != nil {
		return nil, err
	}
	if p.Masked, err = paths("linux.maskedPaths", linux.MaskedPaths); err != nil {
		return nil, err
	}
	if p.Readonly, err = paths("linux.readonlyPaths", linux.ReadonlyPaths); err != nil {
		return nil, err
	}
	proc, err := Process(spec.Process, opt.Seccomp)
	if err != nil {
		return nil, err
	}
	p.Process = *proc
	p.Process.SeccompFlags = opt.SeccompFlags
	owners, err := userNamespace(linux)
	if err != nil {
		return nil, err
	}
	return p, owners.apply(p)
}

// unsupported refuses what varve does not carry out.
func unsupported(spec *specs.Spec) error {
	refuse := func(field string, set bool) error {
		if set {
			return fmt.Errorf("%s: not supported", field)
		}
		return nil
	}
	checks := []error{
		refuse("hooks", hookCount(spec.Hooks) > 0),
		refuse("windows", spec.Windows != nil),
		refuse("solaris", spec.Solaris != nil),
		refuse("vm", spec.VM != nil),
		refuse("zos", spec.ZOS != nil),
	}
	if l := spec.Linux; l != nil {
		checks = append(checks,
			refuse("linux.sysctl", len(l.Sysctl) > 0),
			refuse("linux.intelRdt", l.IntelRdt != nil),
			refuse("linux.personality", l.Personality != nil),
			refuse("linux.timeOffsets", len(l.TimeOffsets) > 0),
			refuse("linux.netDevices", len(l.NetDevices) > 0),
			refuse("linux.memoryPolicy", l.MemoryPolicy != nil),
		)
	}
	for _, err := range checks {
		if err != nil {
			return err
		}
	}
	return nil
}

func hookCount(h *specs.Hooks) int {
	if h == nil {
		return 0
	}
	return len(h.Prestart) + //nolint:staticcheck // deprecated, and refused like the others
		len(h.CreateRuntime) + len(h.CreateContainer) + len(h.StartContainer) +
		len(h.Poststart) + len(h.Poststop)
}

var namespaceTypes = map[specs.LinuxNamespaceType]plan.NamespaceType{
	specs.PIDNamespace:     unix.CLONE_NEWPID,
	specs.NetworkNamespace: unix.CLONE_NEWNET,
	specs.MountNamespace:   unix.CLONE_NEWNS,
	specs.IPCNamespace:     unix.CLONE_NEWIPC,
	specs.UTSNamespace:     unix.CLONE_NEWUTS,
	specs.CgroupNamespace:  unix.CLONE_NEWCGROUP,
	specs.UserNamespace:    unix.CLONE_NEWUSER,
}

func namespaces(list []specs.LinuxNamespace) ([]plan.Namespace, error) {
	seen := map[plan.NamespaceType]bool{}
	var out []plan.Namespace
	for i, n := range list {
		field := fmt.Sprintf("linux.namespaces[%d]", i)
		t, ok := namespaceTypes[n.Type]
		switch {
		case !ok:
			return nil, fmt.Errorf("%s.type: %q is not supported", field, n.Type)
		case seen[t]:
			return nil, fmt.Errorf("%s.type: %q is there twice", field, n.Type)
		case n.Path != "" && t == unix.CLONE_NEWNS:
			return nil, fmt.Errorf("%s.path: the mount namespace is always new", field)
		}
		if n.Path != "" {
			if err := absolute(field+".path", n.Path); err != nil {
				return nil, err
			}
		}
		seen[t] = true
		out = append(out, plan.Namespace{Type: t, Path: n.Path})
	}
	if !seen[unix.CLONE_NEWNS] {
		return nil, fmt.Errorf("linux.namespaces: no mount namespace, which a container always has")
	}
	return out, nil
}

// hostname refuses to name a UTS namespace that is not the container's own:
// a shared one has its name already.
func hostname(p *plan.Plan) error {
	for _, n := range p.Namespaces {
		if n.Type == unix.CLONE_NEWUTS && n.Path == "" {
			return nil
		}
	}
	switch {
	case p.Hostname != "":
		return fmt.Errorf("hostname: %q needs a new uts namespace", p.Hostname)
	case p.Domainname != "":
		return fmt.Errorf("domainname: %q needs a new uts namespace", p.Domainname)
	}
	return nil
}

func root(spec *specs.Spec) (plan.Root, error) {
	var r plan.Root
	if spec.Root != nil {
		r.Readonly = spec.Root.Readonly
	}
	if spec.Linux == nil || spec.Linux.RootfsPropagation == "" {
		return r, nil
	}
	p, ok := propagation[spec.Linux.RootfsPropagation]
	if !ok {
		return r, fmt.Errorf("linux.rootfsPropagation: unknown %q", spec.Linux.RootfsPropagation)
	}
	r.Propagation = p
	return r, nil
}
