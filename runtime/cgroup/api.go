package cgroup

import (
	"errors"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Mode is how the host mounts its hierarchies.
type Mode int

// The three modes.
const (
	V1     Mode = iota + 1 // v1 hierarchies only
	V2                     // one v2 hierarchy with all controllers
	Hybrid                 // v1 hierarchies, and v2 beside them with few or no controllers
)

// ErrNoController is matched by errors about a limit whose controller the
// host does not offer.
var ErrNoController = errors.New("controller not available")

// Group is one cgroup: the directories at one path in all hierarchies.
type Group struct{ path string }

// Detect returns the host's mode. It is found out once.
func Detect() Mode { return 0 }

// Create makes the group in all hierarchies and sets res. It is idempotent.
// Parents that are missing are made (and marked: see RemoveParents). With res
// nil it only makes the directories; otherwise devices are denied unless
// res.Devices or the OCI default list allows them. When it fails, it removes
// what it made.
func Create(path string, res *specs.LinuxResources) (*Group, error) {
	return nil, errors.ErrUnsupported
}

// Open returns the group at path without any input or output.
func Open(path string) *Group { return &Group{path} }

// V1Paths returns the group's directory in each v1 hierarchy.
func (g *Group) V1Paths() []string { return nil }

// V2Path returns the group's directory in the v2 hierarchy, or "".
func (g *Group) V2Path() string { return "" }

// Set changes the limits that res holds and leaves the others. On an error the
// previous values are written back. Devices are touched only when res.Devices is not empty.
func (g *Group) Set(res *specs.LinuxResources) error { return errors.ErrUnsupported }

// Stats reads what the group has used.
func (g *Group) Stats() (*Stats, error) { return nil, errors.ErrUnsupported }

// Limits reads the limits in force back.
func (g *Group) Limits() (*Limits, error) { return nil, errors.ErrUnsupported }

// OOMEventsPath returns the file whose line "oom_kill N" counts the processes
// of the group that the OOM killer took.
func (g *Group) OOMEventsPath() string { return "" }

// OOMKills reads that count.
func (g *Group) OOMKills() (uint64, error) { return 0, errors.ErrUnsupported }

// Kill sends SIGKILL to every process of the group and of the groups below it.
func (g *Group) Kill() error { return errors.ErrUnsupported }

// Freeze stops or continues every process of the group and of those below.
func (g *Group) Freeze(frozen bool) error { return errors.ErrUnsupported }

// Pids returns the processes of the group and of the groups below it.
func (g *Group) Pids() ([]int, error) { return nil, errors.ErrUnsupported }

// Exists says whether the group has a directory in at least one hierarchy.
func (g *Group) Exists() bool { return false }

// Remove removes the group and the groups below it from all hierarchies.
// A group that is not there is removed. It waits briefly for processes that
// are on their way out.
func (g *Group) Remove() error { return errors.ErrUnsupported }

// EnsureParents makes the group at path, and those above it, where missing,
// without limits: a pod's cgroup parent that no kubelet has made. Directories
// that it makes are marked as varve's in the cgroup file system itself.
func EnsureParents(path string) error { return errors.ErrUnsupported }

// RemoveParents removes the group at path and then those above it, as long as
// each is marked as varve's and is empty. Others are left alone: that is not an error.
func RemoveParents(path string) error { return errors.ErrUnsupported }
