package view

import (
	"encoding/json"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/record"
	"github.com/varve-cri/varve/cri/signal"
)

// The answers share maps and messages with the record: neither is ever changed
// in place, and an answer is only encoded.

// PodState is a pod's state as the CRI has it: ready or not.
func PodState(p *record.Pod) runtimeapi.PodSandboxState {
	if p.State == record.PodReady {
		return runtimeapi.PodSandboxState_SANDBOX_READY
	}
	return runtimeapi.PodSandboxState_SANDBOX_NOTREADY
}

// ContainerState is a container's state as the CRI has it.
func ContainerState(c *record.Container) runtimeapi.ContainerState {
	switch c.State {
	case record.Created, record.Starting:
		return runtimeapi.ContainerState_CONTAINER_CREATED
	case record.Running:
		return runtimeapi.ContainerState_CONTAINER_RUNNING
	case record.Exited:
		return runtimeapi.ContainerState_CONTAINER_EXITED
	case record.Removing:
		// It has ended or never ran; "unknown" would make the kubelet stop it.
		return runtimeapi.ContainerState_CONTAINER_EXITED
	default:
		return runtimeapi.ContainerState_CONTAINER_UNKNOWN
	}
}

// PodItem is a pod in a list.
func PodItem(p *record.Pod) *runtimeapi.PodSandbox {
	return &runtimeapi.PodSandbox{
		Id:             p.ID,
		Metadata:       p.Config.GetMetadata(),
		State:          PodState(p),
		CreatedAt:      p.CreatedAt,
		Labels:         p.Config.GetLabels(),
		Annotations:    p.Config.GetAnnotations(),
		RuntimeHandler: p.Handler,
	}
}

// PodStatus is a pod's status.
func PodStatus(p *record.Pod) *runtimeapi.PodSandboxStatus {
	options := p.Config.GetLinux().GetSecurityContext().GetNamespaceOptions()
	if options == nil {
		options = &runtimeapi.NamespaceOption{}
	}
	s := &runtimeapi.PodSandboxStatus{
		Id:             p.ID,
		Metadata:       p.Config.GetMetadata(),
		State:          PodState(p),
		CreatedAt:      p.CreatedAt,
		Network:        &runtimeapi.PodSandboxNetworkStatus{},
		Linux:          &runtimeapi.LinuxPodSandboxStatus{Namespaces: &runtimeapi.Namespace{Options: options}},
		Labels:         p.Config.GetLabels(),
		Annotations:    p.Config.GetAnnotations(),
		RuntimeHandler: p.Handler,
	}
	for i, ip := range p.Network.IPs {
		if i == 0 {
			s.Network.Ip = ip
			continue
		}
		s.Network.AdditionalIps = append(s.Network.AdditionalIps, &runtimeapi.PodIP{Ip: ip})
	}
	return s
}

// ContainerItem is a container in a list.
func ContainerItem(c *record.Container) *runtimeapi.Container {
	return &runtimeapi.Container{
		Id:           c.ID,
		PodSandboxId: c.PodID,
		Metadata:     c.Config.GetMetadata(),
		Image:        c.Config.GetImage(),
		ImageRef:     c.ImageRef,
		ImageId:      c.ImageID,
		State:        ContainerState(c),
		CreatedAt:    c.CreatedAt,
		Labels:       c.Config.GetLabels(),
		Annotations:  c.Config.GetAnnotations(),
	}
}

// ContainerStatus is a container's status.
func ContainerStatus(c *record.Container) *runtimeapi.ContainerStatus {
	mounts := c.Mounts
	if mounts == nil {
		mounts = c.Config.GetMounts()
	}
	s := &runtimeapi.ContainerStatus{
		Id:          c.ID,
		Metadata:    c.Config.GetMetadata(),
		State:       ContainerState(c),
		CreatedAt:   c.CreatedAt,
		StartedAt:   c.StartedAt,
		FinishedAt:  c.EndedAt,
		ExitCode:    c.ExitCode,
		Image:       c.Config.GetImage(),
		ImageRef:    c.ImageRef,
		ImageId:     c.ImageID,
		Reason:      c.Reason,
		Message:     c.Message,
		Labels:      c.Config.GetLabels(),
		Annotations: c.Config.GetAnnotations(),
		Mounts:      mounts,
		LogPath:     c.LogPath,
		User:        containerUser(c.User),
	}
	if c.Resources != nil {
		s.Resources = &runtimeapi.ContainerResources{Linux: c.Resources}
	}
	if sig, ok := signal.ByNumber(int(c.StopSig)); ok {
		s.StopSignal = sig.CRI
	}
	return s
}

func containerUser(u record.User) *runtimeapi.ContainerUser {
	groups := make([]int64, len(u.Groups))
	for i, g := range u.Groups {
		groups[i] = int64(g)
	}
	return &runtimeapi.ContainerUser{Linux: &runtimeapi.LinuxContainerUser{
		Uid: int64(u.UID), Gid: int64(u.GID), SupplementalGroups: groups,
	}}
}

// podInfo is the verbose part of a pod's status; tools expect "pid" in it.
type podInfo struct {
	PID          int             `json:"pid,omitempty"`
	State        record.PodState `json:"state"`
	Message      string          `json:"message,omitempty"`
	Handler      string          `json:"runtimeHandler"`
	Pins         record.Pins     `json:"pinnedNamespaces"`
	Directory    string          `json:"directory"`
	CgroupParent string          `json:"cgroupParent"`

	Resources *runtimeapi.LinuxContainerResources `json:"resources,omitempty"`
	Overhead  *runtimeapi.LinuxContainerResources `json:"overhead,omitempty"`

	IPs       []string        `json:"ips,omitempty"`
	CNIResult json.RawMessage `json:"cniResult,omitempty"`
	Duties    []record.Duty   `json:"duties,omitempty"`
}

// PodInfo is the info map of a verbose status: JSON under the key "info".
func PodInfo(p *record.Pod, dir string) (map[string]string, error) {
	i := podInfo{
		PID: p.PausePID, State: p.State, Message: p.Message, Handler: p.Handler, Pins: p.Pins, Directory: dir,
		CgroupParent: p.CgroupParent, IPs: p.Network.IPs, Duties: p.Duties,
	}
	l := p.CurrentLimits()
	i.Resources, i.Overhead = l.Resources, l.Overhead
	if json.Valid(p.Network.Result) {
		i.CNIResult = p.Network.Result
	}
	return info(i)
}

// containerInfo is the verbose part of a container's status.
type containerInfo struct {
	PID        int                   `json:"pid"`
	SandboxID  string                `json:"sandboxID"`
	State      record.ContainerState `json:"state"`
	Directory  string                `json:"directory"`
	CgroupPath string                `json:"cgroupPath"`
	ImageID    string                `json:"imageID"`
	StopSignal string                `json:"stopSignal,omitempty"`
	Duties     []record.Duty         `json:"duties,omitempty"`
}

// ContainerInfo is the info map of a verbose status: JSON under the key "info".
func ContainerInfo(c *record.Container, dir string) (map[string]string, error) {
	i := containerInfo{
		PID: c.PID, SandboxID: c.PodID, State: c.State, Directory: dir, CgroupPath: c.Cgroup,
		ImageID: c.ImageID, Duties: c.Duties,
	}
	if sig, ok := signal.ByNumber(int(c.StopSig)); ok {
		i.StopSignal = sig.String()
	}
	return info(i)
}

func info(v any) (map[string]string, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return map[string]string{"info": string(data)}, nil
}
