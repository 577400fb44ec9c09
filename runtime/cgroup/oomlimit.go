package cgroup

import (
	"errors"

	"github.com/varve-cri/varve/runtime/internal/flat"
)

// OOMLimit says, of a group that the OOM killer took a process from, whether it
// was for the group's own limit, and what that is; otherwise it was for that of
// a group above, or the machine was out of memory. On v2 the kernel says it
// (memory.events.local, Linux 5.2); on v1 a group that never came to its limit
// was not killed for it.
func (g *Group) OOMLimit() (limit uint64, own bool, err error) {
	if err := g.check("read the memory limit"); err != nil {
		return 0, false, err
	}
	if g.host.mode != V2 {
		return g.oomLimitV1()
	}
	oom := uint64(0)
	err = withFile(g.v2, "memory.events.local", func(b []byte) {
		flat.Fields(b, func(key string, v uint64) {
			if key == "oom" {
				oom = v
			}
		})
	})
	err = errors.Join(err, withFile(g.v2, "memory.max", func(b []byte) { limit = flat.Number(b) }))
	return limit, oom > 0, err
}

// chargeBatch is by how much less than its limit a group may have used at most
// when it comes to it: memory is charged in steps (mm/memcontrol.c,
// MEMCG_CHARGE_BATCH, 64 pages).
const chargeBatch = 64 << 12

// oomLimitV1 goes by the largest usage: memory.failcnt, which would say it,
// stays 0 on Linux 6.18.
func (g *Group) oomLimitV1() (limit uint64, own bool, err error) {
	var most uint64
	dir := g.v1Dir("memory")
	err = errors.Join(
		withFile(dir, "memory.limit_in_bytes", func(b []byte) { limit = flat.Number(b) }),
		withFile(dir, "memory.max_usage_in_bytes", func(b []byte) { most = flat.Number(b) }),
	)
	return limit, most+chargeBatch >= limit, err
}
