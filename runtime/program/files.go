package program

import "github.com/varve-cri/varve/runtime/plan"

// firstFree is the lowest number that a descriptor of Files and the error
// pipe may have: below it the child puts what survives into the execve: 0, 1,
// 2, the error pipe and the program to execute.
const (
	errPipeFD = 3
	exeFD     = 4
	firstFree = 5
)

// FirstFree is the lowest number that a descriptor given to a program may
// have.
const FirstFree = firstFree

// Files are the descriptors that a program uses, all opened by its caller;
// -1 stands for one that is not there.
type Files struct {
	Proc        int // a detached mount of the caller's own procfs, to write below self/
	Null, Empty int // a null device and an empty directory on a read-only mount, O_PATH, in the child's mount namespace: sources of masks
	ProcTarget  int // the directory on which procfs is mounted
	ProcMount   int // start from outside: the detached procfs that is mounted there
	BelowProc   []BelowProc
	Cgroups     []int // tasks of plan.Cgroup.V1
	Init        int   // exec: pidfd of the process whose namespaces are joined
	User        int   // start: the user namespace to join
	PIDs        int   // start from outside: the PID namespace to begin in
	In, Out     int
	Err         int
	Terminal    int // slave side; replaces In, Out and Err
	Exe         int // a program to execute by descriptor instead of Path

	Known map[string]Kind // what some of the masked paths in procfs are
}

// Kind is what is known of a path.
type Kind uint8

// The zero Kind is not knowing: then the child looks.
const (
	Directory Kind = iota + 1
	Other
)

// BelowProc is a bind mount on something inside procfs, which is possible
// only once that is mounted.
type BelowProc struct {
	Target string // relative to /proc
	Source int    // detached mount
}

// None is a Files without any descriptor.
func None() Files {
	return Files{
		Proc: -1, Null: -1, Empty: -1, ProcTarget: -1, ProcMount: -1, Init: -1, User: -1, PIDs: -1,
		In: -1, Out: -1, Err: -1, Terminal: -1, Exe: -1,
	}
}

// Host is what a program must know of the process that runs it.
type Host struct {
	Bounding uint64 // its capability bounding set
	All      uint64 // every capability of the kernel: the bounding set in a user namespace that was just joined
}

// Command is what is executed: the path found for p.Args[0].
type Command struct {
	Path    string
	Process *plan.Process

	// Outside is for a PID namespace in which others are: the child does all its
	// work outside of it, where none of them sees it, and another one that it makes
	// there has nothing left to do but to execute the program (CVE-2016-9962). For
	// that moment the container has two processes. A start needs Files.PIDs.
	Outside bool
}
