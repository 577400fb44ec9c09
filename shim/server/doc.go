// Package server is the shim process: one event loop that owns one container.
//
// # Life of a shim
//
//	waiting   a spare: an empty mount namespace is ready; the only connection
//	          is the daemon's socketpair. When that closes, the shim exits.
//	running   Start has been carried out: the shim holds the lock, listens in
//	          the container's directory, copies output to the log, serves any
//	          number of connections, and depends on none of them.
//	draining  the first process has exited. Output is read to its end, but for
//	          drainTime at most: in a PID namespace of its own nothing else is
//	          left that could write; in a shared one the shim kills what is left of
//	          the container first, so only a process that cannot die (blocked
//	          in the kernel) makes it wait.
//	done      the exit record is written, the exit announced, the process gone.
//
// # How it works
//
// One goroutine on the main thread, one epoll instance, no timer: pidfds tell
// of exits, SIGCHLD interrupts the wait for orphans that the kernel has
// handed to the shim (it is a child subreaper), and one wait4 loop reaps them all.
// Everything that is read or written without a limit on its time is
// non-blocking. A client that does not read is cut off. What recurs (execs,
// messages, output) leaves no garbage; after some idle time the buffers go back
// to the kernel.
//
// # What it does not do
//
// It writes nothing outside the container's directory, the log file, and the
// cgroups below the container's that it makes for execs. It decides nothing
// about restarts, time limits or signals to send: the daemon does. It does not
// use package net. Other goroutines than the loop touch nothing of the server: a
// joiner has a thread, as package container has.
package server
