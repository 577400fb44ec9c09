package shim

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/runtime/container"
	"github.com/varve-cri/varve/runtime/plan"
	"github.com/varve-cri/varve/shim/internal/group"
	"github.com/varve-cri/varve/shim/proto"
)

// StartRequest is what a shim needs to start one container.
type StartRequest struct {
	// Dir is the container's state directory (mode 0700), which exists.
	Dir string
	// Plan is the compiled plan; its cgroups and namespaces exist.
	Plan *plan.Plan
	// Root is the detached mount of the container's root; it may be nil only
	// for a plan with Process.Pause. The caller keeps its own descriptor and
	// closes it.
	Root *os.File
	// Images are the detached mounts of the plan's mounts of that type, in order, at
	// most proto.MaxImages. The caller keeps and closes them as it does Root.
	Images []*os.File
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
	dir, err := os.OpenFile(r.Dir, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, 0, fmt.Errorf("start %s: %w", r.Plan.ID, err)
	}
	defer dir.Close()
	text, err := memfd("plan", r.Plan.Encode())
	if err != nil {
		return nil, 0, fmt.Errorf("start %s: %w", r.Plan.ID, err)
	}
	defer text.Close()
	for {
		c, err := l.take(ctx)
		if err != nil {
			return nil, 0, fmt.Errorf("start %s: %w", r.Plan.ID, err)
		}
		pid, err := c.start(ctx, &r, append([]*os.File{dir, text, r.Root}, r.Images...))
		switch {
		case err == nil:
			return c, pid, nil
		case !errors.Is(err, errNotSent): // else the spare died while it waited
			return nil, 0, err
		}
	}
}

// start sends the work to a spare.
func (c *Client) start(ctx context.Context, r *StartRequest, files []*os.File) (int, error) {
	c.mu.Lock()
	c.dir = r.Dir
	c.mu.Unlock()
	m := &proto.Start{
		ID: r.Plan.ID, LogPath: r.LogPath, OOMEvents: r.OOMEventsPath, MaxLine: uint32(max(r.MaxLogLine, 0)),
		Stdin: r.Stdin, StdinOnce: r.StdinOnce, NoRoot: r.Root == nil,
	}
	var started proto.Started
	err := descriptors(files, func(fds []int) error {
		a, err := c.call(ctx, proto.VerbStart, m, fds...)
		proto.CloseAll(a.files)
		if err == nil {
			err = proto.Decode(a.body, &started)
		}
		return err
	})
	if err == nil {
		return int(started.PID), nil
	}
	c.abandon(r)
	var step *container.StepError
	if errors.As(err, &step) || errors.Is(err, errNotSent) {
		return 0, err
	}
	return 0, fmt.Errorf("start %s: shim %d: %w", r.Plan.ID, c.child, err)
}

// abortTime is how long a shim may take to undo a start by itself.
const abortTime = time.Second

// abandon ends a shim whose start has failed or is not wanted any more: by
// request, and if that takes too long (a mount source on a dead server) by
// force.
func (c *Client) abandon(r *StartRequest) {
	ctx, cancel := context.WithTimeout(context.Background(), abortTime)
	defer cancel()
	_ = c.ask(ctx, proto.VerbAbort, nil, nil)
	select {
	case <-c.Done():
	case <-ctx.Done():
		select {
		case <-c.Done(): // too: who was suspended finds both, and the number may be another's by now
		default:
			c.destroy(r)
		}
	}
	_ = c.Close()
}

// destroy kills a shim and everything that it has made. It is stopped first,
// so that no child can appear after its children were listed. A child that
// has not entered its cgroup yet is found as a child, any other in its cgroup.
// A directory that is held even then is another shim's, with its container.
func (c *Client) destroy(r *StartRequest) {
	_ = unix.Kill(c.child, unix.SIGSTOP)
	for _, pid := range children(c.child) {
		_ = unix.Kill(pid, unix.SIGKILL)
	}
	_ = unix.Kill(c.child, unix.SIGKILL)
	select {
	case <-c.Done():
	case <-time.After(2 * lockPatience):
	}
	if busy, err := held(r.Dir); err != nil || busy {
		return
	}
	for _, dir := range append([]string{r.Plan.Cgroup.V2}, r.Plan.Cgroup.V1...) {
		if dir != "" {
			_ = group.Kill(dir)
		}
	}
	_ = os.Remove(filepath.Join(r.Dir, proto.SocketFile))
}

// children lists the children of all threads of a process.
func children(pid int) []int {
	var pids []int
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, name := range lists {
		text, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		for _, word := range strings.Fields(string(text)) {
			if n, err := strconv.Atoi(word); err == nil {
				pids = append(pids, n)
			}
		}
	}
	return pids
}
