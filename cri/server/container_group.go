package server

import (
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/varve-cri/varve/runtime/cgroup"
)

// pendingGroup is a container's cgroup while it is made beside the rest of
// CreateContainer and the client's way to StartContainer: some twenty
// directories and files in nine hierarchies, which nothing before the start
// needs.
type pendingGroup struct {
	limits *specs.LinuxResources
	done   chan struct{}
	group  *cgroup.Group // after done
	err    error         // after done
}

// beginGroup begins to make the container's cgroup. Its removal is on record
// as owed already.
func (c *container) beginGroup(name string, limits *specs.LinuxResources) {
	p := &pendingGroup{limits: limits, done: make(chan struct{})}
	c.group.Store(p)
	go func() {
		defer close(p.done)
		p.group, p.err = cgroup.Create(name, limits)
	}()
}

// takeGroup returns the container's cgroup with limits: the one that was made
// ahead, or, after a restart or a change of the limits, one made now.
func (c *container) takeGroup(name string, limits *specs.LinuxResources) (*cgroup.Group, error) {
	p := c.group.Swap(nil)
	if p == nil {
		return cgroup.Create(name, limits)
	}
	<-p.done
	if p.err != nil || p.limits == limits {
		return p.group, p.err
	}
	return cgroup.Create(name, limits)
}

// settleGroup returns the group of a container that has not started, with the
// limits that it has, or without any when it was not made ahead.
func (c *container) settleGroup(name string) (*cgroup.Group, error) {
	if p := c.group.Load(); p != nil {
		<-p.done
		if p.err == nil {
			return p.group, nil
		}
	}
	return cgroup.Create(name, nil)
}

// dropGroup removes the cgroup of a container that has never started.
func (c *container) dropGroup(name string) error {
	if p := c.group.Swap(nil); p != nil {
		<-p.done
	}
	group := cgroup.Open(name)
	if !group.Exists() {
		return nil
	}
	return group.Remove()
}
