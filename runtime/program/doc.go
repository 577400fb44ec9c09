// Package program is the part of a start that runs between clone and execve:
// a flat list of raw system calls whose arguments are all ready. The list is
// a plain value: Container and Exec build it from a plan, String prints it,
// and Run forks a child that walks it.
//
// The child is a copy of a process with many threads of which only one is
// left, so it must not allocate, lock, or grow its stack: it does nothing but
// the calls. A call may keep its result in a register, pass a register on,
// and take some errors as "skip the next n". Any other error ends the child;
// the parent learns which call it was.
//
// The package does not open anything: every descriptor that a program uses is
// given to its builder.
package program
