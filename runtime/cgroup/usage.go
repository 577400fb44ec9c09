package cgroup

import "time"

// Unlimited is the value of a limit that is not set.
const Unlimited = ^uint64(0)

// Stats is what a group and the groups below it have used, at one time.
type Stats struct {
	Time   time.Time
	CPU    CPUStats
	Memory MemoryStats
	Pids   PidsStats
	IO     IOStats
}

// CPUStats is processor use since the group was made.
type CPUStats struct {
	Usage     uint64 // nanoseconds
	Throttled uint64 // nanoseconds in which the quota held it back
	PSI       *PSI   // nil when the kernel does not keep it
}

// MemoryStats is memory in bytes, as cAdvisor computes it.
type MemoryStats struct {
	Usage        uint64 // all that is charged to the group, page cache included
	WorkingSet   uint64 // Usage without inactive file pages
	RSS          uint64 // anonymous memory and swap cache
	Cache        uint64
	PageFaults   uint64
	MajorFaults  uint64
	Limit        uint64 // Unlimited when there is none
	Swap         uint64
	SwapLimit    uint64 // of swap alone; Unlimited when there is none or swap is not accounted
	SwapAccounts bool   // the kernel accounts swap
	PSI          *PSI
}

// PidsStats counts tasks.
type PidsStats struct {
	Current uint64
	Limit   uint64
}

// IOStats is block input and output, summed over all devices.
type IOStats struct {
	ReadBytes, WriteBytes uint64
	ReadOps, WriteOps     uint64
	PSI                   *PSI
}

// PSI is pressure stall information (Linux 4.20).
type PSI struct {
	Some, Full Stall
}

// Stall is one line of a pressure file.
type Stall struct {
	Avg10, Avg60, Avg300 float64 // percent
	Total                uint64  // nanoseconds
}

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
