package shim

import (
	"context"
	"errors"
	"os"

	"github.com/varve-cri/varve/runtime/plan"
)

// DefaultSpares is how many spare shims wait when the configuration is silent.
const DefaultSpares = 8

// LauncherConfig says how shims are spawned.
type LauncherConfig struct {
	// Binary is the path of the varve-shim program.
	Binary string
	// Spares is how many shims wait for work: 0 means DefaultSpares, a
	// negative number none at all.
	Spares int
	// LogPath is the file that gets the shims' own complaints (their stderr).
	// It is emptied when it has grown beyond 1 MiB. Empty discards them.
	LogPath string
	// OOMScoreAdj is the shims' own oom_score_adj; nil leaves the daemon's. A
	// value that the kernel refuses (no CAP_SYS_RESOURCE) is left alone.
	OOMScoreAdj *int
}

// Launcher keeps spare shims and starts containers in them. Its methods may be
// called from many goroutines at once.
type Launcher struct{ cfg LauncherConfig }

// NewLauncher checks the configuration and begins to fill the pool of spares
// in the background.
func NewLauncher(cfg LauncherConfig) (*Launcher, error) { return &Launcher{cfg: cfg}, nil }

// Close ends the pool: spares exit, running containers stay.
func (l *Launcher) Close() error { return nil }

// StartRequest is what a shim needs to start one container.
type StartRequest struct {
	// Dir is the container's state directory (mode 0700), which exists.
	Dir string
	// Plan is the compiled plan; its cgroups and namespaces exist.
	Plan *plan.Plan
	// Root is the detached mount of the container's root. The caller keeps
	// its own descriptor and closes it.
	Root *os.File
	// LogPath is the container's log file on the host; its directory exists.
	// Empty discards the output.
	LogPath string
	// Stdin keeps a pipe (or the terminal) open for attached input; StdinOnce
	// closes it when the first attachment's input ends.
	Stdin, StdinOnce bool
	// OOMEventsPath is the cgroup file with the line "oom_kill N"; may be empty.
	OOMEventsPath string
	// MaxLogLine is the longest content of one log record; 0 means 16 KiB.
	MaxLogLine int
}

// Start starts the container in a spare shim (or in a new one when none
// waits) and returns the connection to it and the pid of its first process. A
// container that could not be made returns a *container.StepError. Whatever
// the error, also when ctx ended, nothing of the attempt is left behind: no
// shim, no process, no socket.
func (l *Launcher) Start(ctx context.Context, r StartRequest) (*Client, int, error) {
	return nil, 0, errors.ErrUnsupported
}
