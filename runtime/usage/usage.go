package usage

import (
	"time"

	"github.com/varve-cri/varve/runtime/internal/flat"
)

// Unlimited is the value of a limit that is not set.
const Unlimited = flat.Unlimited

// Usage is what a group and the groups below it have used, at one time. What a
// missing controller would tell is zero.
type Usage struct {
	Time   time.Time
	CPU    CPU
	Memory Memory
	Tasks  Tasks
	IO     IO
	Huge   []Huge // Detail only
}

// CPU is processor use since the group was made. Total is always read, the rest
// with Detail.
type CPU struct {
	Total, User, System       uint64 // nanoseconds
	Periods, ThrottledPeriods uint64 // of the quota
	Throttled                 uint64 // nanoseconds in which the quota held it back
	BurstPeriods, Burst       uint64 // periods, and nanoseconds, above the quota
	PSI                       PSI
}

// Memory is memory in bytes, as cAdvisor computes it.
type Memory struct {
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
	PSI          PSI

	Mapped, Dirty, Writeback    uint64
	ActiveFile, InactiveFile    uint64
	OwnFaults, OwnMajorFaults   uint64 // v1: without the groups below
	RefaultAnon, RefaultFile    uint64 // evicted pages that were needed again
	Scanned, Reclaimed          uint64 // pages that reclaim looked at and took; v2 only
	Kernel, Peak                uint64 // Detail
	HighEvents, MaxEvents, OOMs uint64 // Detail; OOMs are processes killed, on v1 without the groups below
}

// Tasks counts processes and threads.
type Tasks struct {
	Current uint64
	Limit   uint64 // Detail; Unlimited when there is none
}

// IO is block input and output.
type IO struct {
	PSI     PSI
	Devices []Device // Detail; those that were used
}

// Device is one block device's part.
type Device struct {
	Major, Minor                        uint32
	ReadBytes, WriteBytes, DiscardBytes uint64
	Reads, Writes                       uint64
}

// Huge is the use of one size of huge pages, which is written as in "2MB". A
// peak is kept by v1 only.
type Huge struct {
	Size        string
	Usage, Peak uint64
}

// PSI is pressure stall information (Linux 4.20).
type PSI struct {
	Known      bool // the kernel keeps it
	Some, Full Stall
}

// Stall is one line of a pressure file.
type Stall struct {
	Avg10, Avg60, Avg300 float64 // percent
	Total                uint64  // nanoseconds
}
