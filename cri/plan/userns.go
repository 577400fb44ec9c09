package plan

import (
	"math"

	"github.com/opencontainers/runtime-spec/specs-go"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/fault"
)

// UserNamespace is how the ids in a pod's own user namespace map to the host's.
// Each side is one range, which begins with id 0.
type UserNamespace struct{ UID, GID IDRange }

// IDRange says what the ids 0 to Length-1 are to the host: Host and those after
// it.
type IDRange struct{ Host, Length uint32 }

const usernsField = "namespace_options.userns_options"

// userNamespace reads the options of a pod or a container. Without any, and
// with the mode NODE, it is the host's user namespace: nil. (The CRI says that
// none means POD, with mappings that nobody has; no runtime does that.)
func userNamespace(field string, u *runtimeapi.UserNamespace) (*UserNamespace, error) {
	switch u.GetMode() {
	case runtimeapi.NamespaceMode_POD:
		if u == nil {
			return nil, nil //nolint:nilnil // no namespace is no error
		}
	case runtimeapi.NamespaceMode_NODE:
		if len(u.Uids) > 0 || len(u.Gids) > 0 {
			return nil, fault.Invalid(field, "the host's user namespace has no mappings")
		}
		return nil, nil //nolint:nilnil // no namespace is no error
	default:
		return nil, fault.Invalid(field+".mode", "%s is neither POD nor NODE", u.GetMode())
	}
	var out UserNamespace
	var err error
	if out.UID, err = idRange(field+".uids", u.Uids); err != nil {
		return nil, err
	}
	if out.GID, err = idRange(field+".gids", u.Gids); err != nil {
		return nil, err
	}
	return &out, nil
}

func idRange(field string, list []*runtimeapi.IDMapping) (IDRange, error) {
	if len(list) != 1 {
		return IDRange{}, fault.Invalid(field, "%d mappings, and one is possible", len(list))
	}
	field += "[0]"
	m := list[0]
	switch {
	case m.GetContainerId() != 0:
		return IDRange{}, fault.Invalid(field+".container_id", "%d: id 0 would not be mapped", m.GetContainerId())
	case m.GetLength() == 0:
		return IDRange{}, fault.Invalid(field+".length", "is 0")
	case uint64(m.GetHostId())+uint64(m.GetLength()) > math.MaxUint32: // itself no id: it is -1
		return IDRange{}, fault.Invalid(field, "%d ids from %d on run over the highest id", m.GetLength(), m.GetHostId())
	}
	return IDRange{Host: m.GetHostId(), Length: m.GetLength()}, nil
}

// UserNamespaceOf is that of a pod whose configuration was planned before.
func UserNamespaceOf(pod *runtimeapi.PodSandboxConfig) *UserNamespace {
	u, err := userNamespace("", pod.GetLinux().GetSecurityContext().GetNamespaceOptions().GetUsernsOptions())
	if err != nil {
		return nil
	}
	return u
}

// podUserNamespace plans that of the pod. What the pod shares with the host it
// could do nothing with.
func podUserNamespace(p *PodPlan, req *runtimeapi.PodSandboxConfig) error {
	const field = securityField + usernsField
	opt := req.GetLinux().GetSecurityContext().GetNamespaceOptions()
	var err error
	if p.UserNS, err = userNamespace(field, opt.GetUsernsOptions()); p.UserNS == nil {
		return err
	}
	switch {
	case opt.GetPid() == runtimeapi.NamespaceMode_NODE:
		return fault.Invalid(field+".mode", "POD with the host's processes (pid NODE)")
	case opt.GetIpc() == runtimeapi.NamespaceMode_NODE:
		return fault.Invalid(field+".mode", "POD with the host's IPC (ipc NODE)")
	}
	return nil
}

// containerUserNamespace checks that a container asks for its pod's, if for any.
func containerUserNamespace(in *ContainerInput) error {
	const field = securityField + usernsField
	opt := in.Config.GetLinux().GetSecurityContext().GetNamespaceOptions().GetUsernsOptions()
	if opt == nil {
		return nil
	}
	asked, err := userNamespace(field, opt)
	switch have := in.Pod.UserNS; {
	case err != nil:
		return err
	case asked == nil && have != nil:
		return fault.Invalid(field+".mode", "NODE: the pod has a user namespace of its own")
	case asked != nil && have == nil:
		return fault.Invalid(field+".mode", "POD: the pod has no user namespace of its own")
	case asked != nil && *asked != *have:
		return fault.Invalid(field, "the mappings are not the pod's")
	}
	return nil
}

// checkMapped refuses a user that the namespace does not have.
func (u *UserNamespace) checkMapped(who User) error {
	if u == nil {
		return nil
	}
	if who.UID >= u.UID.Length {
		return fault.Invalid(securityField+"run_as_user", "%d is not mapped: the pod's user namespace has %d users", who.UID, u.UID.Length)
	}
	for _, g := range who.Groups {
		if g >= u.GID.Length {
			return fault.Invalid(securityField, "group %d is not mapped: the pod's user namespace has %d groups", g, u.GID.Length)
		}
	}
	return nil
}

// apply puts the namespace into the spec.
func (u *UserNamespace) apply(linux *specs.Linux, path string) {
	if u == nil {
		return
	}
	linux.Namespaces = append(linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace, Path: path})
	linux.UIDMappings, linux.GIDMappings = u.mappings()
}

func (u *UserNamespace) mappings() (uids, gids []specs.LinuxIDMapping) {
	return []specs.LinuxIDMapping{{HostID: u.UID.Host, Size: u.UID.Length}}, []specs.LinuxIDMapping{{HostID: u.GID.Host, Size: u.GID.Length}}
}

// Owner is what root in the namespace is to the host: 0 and 0 without one.
func (u *UserNamespace) Owner() (uid, gid uint32) {
	if u == nil {
		return 0, 0
	}
	return u.UID.Host, u.GID.Host
}
