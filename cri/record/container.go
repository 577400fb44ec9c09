package record

import (
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// ContainerState is what a container is in the middle of.
type ContainerState string

// The states of a container.
//
//	Created --Start--> Starting --Started--> Running --Exited--> Exited
//	                       \--StartFailed--------------------------^
//	Starting, Running --Lost--> Unknown --Exited--> Exited
//	Created, Exited, Unknown --MarkRemoving--> Removing
const (
	Created  ContainerState = "Created"
	Starting ContainerState = "Starting"
	Running  ContainerState = "Running"
	Exited   ContainerState = "Exited"
	Unknown  ContainerState = "Unknown" // its shim does not answer and left no exit record
	Removing ContainerState = "Removing"
)

// The reasons of an exit, as the kubelet and users read them.
const (
	ReasonCompleted = "Completed"
	ReasonError     = "Error"
	ReasonOOMKilled = "OOMKilled" // exactly so: the CRI asks for it
	// ReasonCannotRun is a command that is not there or cannot be executed. The
	// kubelet (1.37, convertToKubeContainerStatus) knows the word: it does not
	// look for a last message in the logs of such a container.
	ReasonCannotRun  = "ContainerCannotRun"
	ReasonStartError = "StartError" // any other step of a start failed
	ReasonUnknown    = "ContainerStatusUnknown"
)

// Container is all that is known of one container.
//
// A Container is copied by Clone and never changed once others can see it.
type Container struct {
	ID        string         `json:"id"`
	PodID     string         `json:"podId"`
	ImageID   string         `json:"imageId"`            // the image's id, as in Image.id
	ImageRef  string         `json:"imageRef,omitempty"` // digested reference, or the id where there is none
	State     ContainerState `json:"state"`
	CreatedAt int64          `json:"createdAt"`            // nanoseconds since 1970; > 0
	StartedAt int64          `json:"startedAt,omitempty"`  // 0 before the start
	EndedAt   int64          `json:"finishedAt,omitempty"` // 0 before the end
	ExitCode  int32          `json:"exitCode,omitempty"`
	Reason    string         `json:"reason,omitempty"`
	Message   string         `json:"message,omitempty"`
	PID       int            `json:"pid,omitempty"` // of the container's init while it runs
	LogPath   string         `json:"logPath,omitempty"`
	Cgroup    string         `json:"cgroup"`        // cgroup path, without the hierarchy's mount point
	User      User           `json:"user,omitzero"` // who the first process is
	StopSig   int32          `json:"stopSignal"`    // number of the signal that asks it to stop

	// Config is the request, byte for byte.
	Config *runtimeapi.ContainerConfig `json:"-"`
	// Resources is what applies now: the request's, as updated since. nil when
	// the request had none.
	Resources *runtimeapi.LinuxContainerResources `json:"-"`
	// Mounts is what the status shows. nil when it is just what Config has.
	Mounts []*runtimeapi.Mount `json:"-"`

	// Devices is what the CDI devices of the request do.
	Devices []Edits `json:"devices,omitempty"`
	// Pending is an update of the resources that has begun and not ended.
	Pending *Update `json:"pending,omitempty"`

	Duties []Duty `json:"duties,omitempty"`
}

// User is the identity of a container's first process.
type User struct {
	UID    uint32   `json:"uid,omitempty"`
	GID    uint32   `json:"gid,omitempty"`
	Groups []uint32 `json:"groups,omitempty"`
}

// Exit is how a container ended.
type Exit struct {
	Code    int32
	OOM     bool
	At      time.Time
	Message string
}

// Clone returns a copy that shares only what is never changed in place.
func (c *Container) Clone() *Container {
	d := *c
	d.Duties = append([]Duty(nil), c.Duties...)
	return &d
}

// Start is the event "a shim is asked to start it".
func (c *Container) Start() error {
	switch c.State {
	case Created:
		c.State = Starting
		return nil
	default:
		return containerStateError(c, "be started")
	}
}

// Started is the event "its first process runs".
func (c *Container) Started(pid int, at time.Time) error {
	switch c.State {
	case Starting, Unknown:
		c.State, c.PID, c.StartedAt = Running, pid, at.UnixNano()
		c.Reason, c.Message = "", ""
		return nil
	default:
		return containerStateError(c, "be marked started")
	}
}

// StartFailed is the event "its first process could not be made": the
// container has ended, with the code that Kubernetes shows (127 for a command
// that is not there, 126 for one that is not executable, else 128) and the
// reason that goes with it.
func (c *Container) StartFailed(code int32, message string, at time.Time) error {
	switch c.State {
	case Starting:
		c.State, c.Reason, c.Message = Exited, ReasonStartError, message
		if code == 126 || code == 127 {
			c.Reason = ReasonCannotRun
		}
		c.ExitCode, c.EndedAt, c.PID = code, at.UnixNano(), 0
		return nil
	default:
		return containerStateError(c, "fail to start")
	}
}

// Exit is the event "its first process has ended". A container that ends
// twice keeps its first end.
func (c *Container) Exit(e Exit) error {
	switch c.State {
	case Starting, Running, Unknown:
		c.State, c.PID, c.Pending = Exited, 0, nil
		c.ExitCode, c.EndedAt, c.Message = e.Code, e.At.UnixNano(), e.Message
		// The start is noted when the shim's answer is here; a quick program has
		// ended by then, and nothing ends before it starts.
		c.StartedAt = min(c.StartedAt, c.EndedAt)
		switch {
		case e.OOM:
			c.Reason = ReasonOOMKilled
		case e.Code == 0:
			c.Reason = ReasonCompleted
		default:
			c.Reason = ReasonError
		}
		return nil
	case Exited, Removing:
		return nil
	default:
		return containerStateError(c, "exit")
	}
}

// Lost is the event "its shim does not answer": whether it runs is not known.
func (c *Container) Lost(message string) error {
	switch c.State {
	case Starting, Running, Unknown:
		c.State, c.Reason, c.Message = Unknown, ReasonUnknown, message
		return nil
	default:
		return containerStateError(c, "be lost")
	}
}

// MarkRemoving is the event "removal begins". A container that runs must be
// stopped first.
func (c *Container) MarkRemoving() error {
	switch c.State {
	case Created, Exited, Unknown, Removing:
		c.State = Removing
		return nil
	default:
		return containerStateError(c, "be removed")
	}
}

// CheckRunning says whether something can be asked of its processes: exec,
// attach, a signal.
func (c *Container) CheckRunning(verb string) error {
	switch c.State {
	case Running:
		return nil
	default:
		return containerStateError(c, verb)
	}
}
