package record

import (
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// PodState is what a pod is in the middle of.
type PodState string

// The states of a pod. Preparing and Removing are seen after a crash only: the
// next start takes such a pod down.
const (
	PodPreparing PodState = "Preparing" // the record is written, the rest is being made
	PodReady     PodState = "Ready"     // network and namespaces are up
	PodNotReady  PodState = "NotReady"  // stopped, or its network is lost
	PodRemoving  PodState = "Removing"  // being removed: nothing may start in it
)

// Pod is all that is known of one pod.
//
// A Pod is copied by Clone and never changed once others can see it.
type Pod struct {
	ID        string   `json:"id"`
	Handler   string   `json:"handler,omitempty"`
	CreatedAt int64    `json:"createdAt"` // nanoseconds since 1970; > 0
	State     PodState `json:"state"`
	Message   string   `json:"message,omitempty"` // why the state is what it is

	// Config is the request, byte for byte: annotations are returned unaltered.
	Config *runtimeapi.PodSandboxConfig `json:"-"`

	Pins         Pins    `json:"pins,omitzero"`
	PausePID     int     `json:"pausePid,omitempty"` // init of the shared PID namespace; 0 without one
	Network      Network `json:"network,omitzero"`
	CgroupParent string  `json:"cgroupParent"`        // the pod's cgroup; containers are its children
	OwnCgroup    bool    `json:"ownCgroup,omitempty"` // varve made CgroupParent and removes it

	// Limits is what the pod is limited to, when that was updated since it was made.
	Limits *Limits `json:"limits,omitempty"`
	// Pending is an update of the limits that has begun and not ended.
	Pending *Update `json:"pending,omitempty"`

	// Duties is what is owed to the host when the pod goes: each is written
	// down before the thing that it undoes is done.
	Duties []Duty `json:"duties,omitempty"`
}

// Pins says which namespaces are pinned in the pod's directory.
type Pins struct {
	Net bool `json:"net,omitempty"`
	IPC bool `json:"ipc,omitempty"`
	UTS bool `json:"uts,omitempty"`
	// User is the user namespace, which the others belong to.
	User bool `json:"user,omitempty"`
}

// Network is the outcome of the network's ADD.
type Network struct {
	IPs    []string `json:"ips,omitempty"`    // the first is the pod's primary address
	Result []byte   `json:"result,omitempty"` // the CNI result as returned, for CHECK and verbose status
}

// Clone returns a copy that shares only what is never changed in place.
func (p *Pod) Clone() *Pod {
	c := *p
	c.Duties = append([]Duty(nil), p.Duties...)
	return &c
}

// MarkReady is the event "everything of the pod is up".
func (p *Pod) MarkReady() error {
	switch p.State {
	case PodPreparing:
		p.State, p.Message = PodReady, ""
		return nil
	default:
		return podStateError(p, "become ready")
	}
}

// MarkStopped is the event "the pod is stopped or must count as stopped". It
// is allowed in every state, because stopping is idempotent; a pod that is
// being removed stays so.
func (p *Pod) MarkStopped(why string) error {
	switch p.State {
	case PodPreparing, PodReady:
		p.State, p.Message = PodNotReady, why
		return nil
	case PodNotReady, PodRemoving:
		return nil
	default:
		return podStateError(p, "be stopped")
	}
}

// MarkRemoving is the event "removal begins". A ready pod must be stopped first.
func (p *Pod) MarkRemoving() error {
	switch p.State {
	case PodPreparing, PodNotReady, PodRemoving:
		p.State = PodRemoving
		return nil
	default:
		return podStateError(p, "be removed")
	}
}

// CheckStartable says whether a container may be made or started in the pod.
func (p *Pod) CheckStartable() error {
	switch p.State {
	case PodReady:
		return nil
	default:
		return podStateError(p, "take a container")
	}
}
