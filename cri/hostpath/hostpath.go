package hostpath

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/moby/sys/mountinfo"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/fault"
	"github.com/varve-cri/varve/cri/plan"
	"github.com/varve-cri/varve/cri/step"
)

// maxProbes is how many looks at host paths may hang at a time. Each holds a
// thread in the kernel that nothing can get out.
const maxProbes = 256

// errBusy is a look that was not begun.
var errBusy error = busy{}

type busy struct{}

func (busy) Error() string { return "too many host paths do not answer" }

// GRPCStatus gives the code.
func (b busy) GRPCStatus() *status.Status { return status.New(codes.ResourceExhausted, b.Error()) }

// Checker looks at host paths. The zero value with a Limit is ready.
type Checker struct {
	Limit  time.Duration // of one request's looks together
	probes atomic.Int64  // looks that have not come back
}

// Check looks at the host paths of a request. A path on a file system that
// does not answer is an error that names it after the limit, and keeps nobody
// else waiting.
func (c *Checker) Check(ctx context.Context, sources []plan.Source) error {
	if len(sources) == 0 {
		return nil
	}
	var at atomic.Int32
	stuck := func() plan.Source { return sources[at.Load()] }
	return c.look(ctx, stuck, func() error {
		for i := range sources {
			at.Store(int32(i))
			if ctx.Err() == nil { // else it is another step's time
				step.Note(ctx, "host path "+sources[i].Path)
			}
			if err := check(sources[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

// look does what may hang on a thread of its own, and waits for it until the
// limit. The error then names what it hangs on.
func (c *Checker) look(ctx context.Context, at func() plan.Source, do func() error) error {
	if c.probes.Add(1) > maxProbes {
		c.probes.Add(-1)
		return fmt.Errorf("%s: %s: %w", at().Field, at().Path, errBusy)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, c.Limit, fmt.Errorf("no answer within %v: %w", c.Limit, context.DeadlineExceeded))
	defer cancel()
	done := make(chan error, 1)
	go func() {
		defer c.probes.Add(-1)
		done <- do()
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("%s: %s: %w", at().Field, at().Path, context.Cause(ctx))
	}
}

// check looks at one path.
func check(src plan.Source) error {
	_, err := os.Stat(src.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return invalid(src.Field, "%s does not exist on the host", src.Path)
	}
	if err != nil {
		return invalid(src.Field, "%v", err)
	}
	if src.Propagation == runtimeapi.MountPropagation_PROPAGATION_PRIVATE {
		return nil
	}
	return checkPropagation(src)
}

// checkPropagation reads the mount table, which only the few containers pay
// for that ask for propagation.
func checkPropagation(src plan.Source) error {
	path, err := filepath.EvalSymlinks(src.Path)
	if err != nil {
		return invalid(src.Field, "%v", err)
	}
	mounts, err := mountinfo.GetMounts(mountinfo.ParentsFilter(path))
	if err != nil {
		return fmt.Errorf("%s: %s: mount table: %w", src.Field, src.Path, err)
	}
	var on *mountinfo.Info
	for _, m := range mounts {
		if on == nil || len(m.Mountpoint) >= len(on.Mountpoint) {
			on = m
		}
	}
	if on == nil {
		return nil
	}
	shared := strings.Contains(on.Optional, "shared:")
	slave := strings.Contains(on.Optional, "master:")
	switch {
	case src.Propagation == runtimeapi.MountPropagation_PROPAGATION_BIDIRECTIONAL && !shared:
		return invalid(src.Field, "%s: bidirectional propagation needs a shared mount on the host, %s is none", src.Path, on.Mountpoint)
	case !shared && !slave:
		return invalid(src.Field, "%s: propagation from the host needs a shared or slave mount, %s is neither", src.Path, on.Mountpoint)
	}
	return nil
}

func invalid(field, format string, args ...any) error {
	return &fault.InvalidError{Field: field, Problem: fmt.Sprintf(format, args...)}
}
