package cgroup

import "github.com/varve-cri/varve/runtime/internal/flat"

// Unlimited is the value of a limit that is not set.
const Unlimited = flat.Unlimited

// Limits is what a group is limited to. Zero values mean that the controller
// is not there; Unlimited and a quota of -1 mean no limit.
type Limits struct {
	CPUShares  uint64 // v1 scale; on v2 the nearest shares of cpu.weight
	CPUQuota   int64  // microseconds per period, -1 for none
	CPUPeriod  uint64
	CpusetCpus string
	CpusetMems string
	Memory     uint64 // bytes
	MemorySwap uint64 // memory and swap together, as in the OCI spec
	Pids       uint64
	Unified    map[string]string // v2: the group's memory.high, memory.min, memory.low when set
}
