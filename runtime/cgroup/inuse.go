package cgroup

import (
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/runtime/internal/flat"
)

// InUseError says that a memory limit is below what the group uses and cannot
// give up.
type InUseError struct {
	Limit, Usage uint64 // bytes
}

func (e *InUseError) Error() string {
	return fmt.Sprintf("set memory: the limit %d is below the %d bytes in use: %v", e.Limit, e.Usage, unix.EBUSY)
}

// Unwrap is what v1 kernels say of such a limit.
func (e *InUseError) Unwrap() error { return unix.EBUSY }

// reclaimTries is how often the kernel is asked for the same memory: it gives
// what it finds in one go, and the processes go on taking.
const reclaimTries = 5

// makeRoom frees memory until a lower limit fits, or says that it does not. v2
// needs this: there a write to memory.max below the usage succeeds, and the
// kernel then kills processes of the group until they fit
// (mm/memcontrol.c, memory_max_write). What the processes take between here
// and that write is a small window that no interface closes. A v1 kernel frees
// what it can by itself and answers EBUSY when that is too little.
func (g *Group) makeRoom(limit int64) error {
	if limit <= 0 || g.host.mode != V2 {
		return nil
	}
	var usage uint64
	for range reclaimTries {
		var err error
		if usage, err = g.usage(); err != nil || usage <= uint64(limit) {
			return nil //nolint:nilerr // the group or the controller is gone: the limit itself will say so
		}
		// Linux 5.19. Before, or when not all could be had (EAGAIN), what counts
		// is what is in use after it.
		_ = writeFile(g.v2, "memory.reclaim", strconv.FormatUint(usage-uint64(limit), 10))
	}
	if usage, err := g.usage(); err == nil && usage > uint64(limit) {
		return &InUseError{Limit: uint64(limit), Usage: usage}
	}
	return nil
}

// inUse explains a memory limit that a v1 kernel has refused.
func (g *Group) inUse(limit int64, err error) error {
	if limit <= 0 || g.host.mode == V2 {
		return err
	}
	if usage, uerr := g.usage(); uerr == nil && usage > uint64(limit) {
		return &InUseError{Limit: uint64(limit), Usage: usage}
	}
	return err
}

// usage is the bytes charged to the group now.
func (g *Group) usage() (n uint64, err error) {
	dir, file := g.v2, "memory.current"
	if g.host.mode != V2 {
		dir, file = g.v1Dir("memory"), "memory.usage_in_bytes"
	}
	err = withFile(dir, file, func(b []byte) { n = flat.Number(b) })
	return n, err
}
