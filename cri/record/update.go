package record

import (
	"encoding/json"
	"fmt"

	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/runtime/cgroup"
)

// Limits is what a container or a pod is limited to, as it was asked for. A
// container has no overhead.
type Limits struct {
	Resources, Overhead *runtimeapi.LinuxContainerResources
}

// Update is a change of limits that has begun. A daemon that starts and finds
// one in a record knows that the one before it ended in the middle, and brings
// kernel and record together again.
type Update struct {
	Next   Limits       `json:"next"`
	Before cgroup.Saved `json:"before"` // what the kernel had
}

// MarshalJSON encodes the limits as a message of the CRI, which is lossless.
func (l Limits) MarshalJSON() ([]byte, error) {
	b, err := proto.Marshal(&runtimeapi.UpdatePodSandboxResourcesRequest{Resources: l.Resources, Overhead: l.Overhead})
	if err != nil {
		return nil, fmt.Errorf("limits: %w", err)
	}
	return json.Marshal(b)
}

// UnmarshalJSON decodes what MarshalJSON made.
func (l *Limits) UnmarshalJSON(text []byte) error {
	var b []byte
	if err := json.Unmarshal(text, &b); err != nil {
		return fmt.Errorf("limits: %w", err)
	}
	var m runtimeapi.UpdatePodSandboxResourcesRequest
	if err := proto.Unmarshal(b, &m); err != nil {
		return fmt.Errorf("limits: %w", err)
	}
	l.Resources, l.Overhead = m.Resources, m.Overhead
	return nil
}

// CheckUpdate says whether the container's limits can be changed.
func (c *Container) CheckUpdate() error {
	switch c.State {
	case Created, Starting, Running:
		return nil
	default:
		return containerStateError(c, "be updated")
	}
}

// BeginUpdate is the event "the kernel is about to be told other limits".
func (c *Container) BeginUpdate(u *Update) error {
	if err := c.CheckUpdate(); err != nil {
		return err
	}
	c.Pending = u
	return nil
}

// Update is the event "other limits apply".
func (c *Container) Update(r *runtimeapi.LinuxContainerResources) error {
	if err := c.CheckUpdate(); err != nil {
		return err
	}
	c.Resources, c.Pending = r, nil
	return nil
}

// EndUpdate is the event "the limits are as they were".
func (c *Container) EndUpdate() error {
	c.Pending = nil
	return nil
}

// CurrentLimits is what the pod was asked for to be limited to, last.
func (p *Pod) CurrentLimits() Limits {
	if p.Limits != nil {
		return *p.Limits
	}
	return Limits{Resources: p.Config.GetLinux().GetResources(), Overhead: p.Config.GetLinux().GetOverhead()}
}

// CheckUpdate says whether the pod's limits can be changed.
func (p *Pod) CheckUpdate() error {
	switch p.State {
	case PodReady:
		return nil
	default:
		return podStateError(p, "be updated")
	}
}

// BeginUpdate is the event "the kernel is about to be told other limits".
func (p *Pod) BeginUpdate(u *Update) error {
	if err := p.CheckUpdate(); err != nil {
		return err
	}
	p.Pending = u
	return nil
}

// Update is the event "other limits apply".
func (p *Pod) Update(l Limits) error {
	p.Limits, p.Pending = &l, nil
	return nil
}

// EndUpdate is the event "the limits are as they were".
func (p *Pod) EndUpdate() error {
	p.Pending = nil
	return nil
}
