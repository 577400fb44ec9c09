// Package proto is the language between the daemon and a shim.
//
// # Concepts
//
// The two ends share a SOCK_SEQPACKET socket: the kernel keeps messages apart
// and whole, so there is no framing and no reassembly. Files travel with the
// message that needs them (SCM_RIGHTS). The shim speaks first: a Hello with its
// version. Then the daemon sends requests, each with a number of its own; the
// shim answers each with one reply or one failure of the same number, in any
// order, and sends events, which have the number 0, when something happens.
// Requests are at most MaxRequest bytes, everything from the shim MaxReply.
//
//	byte 0     kind: request 1, reply 2, failure 3, event 4
//	byte 1     verb
//	bytes 2-3  number of files (little endian)
//	bytes 4-7  number of the request
//	from 8     the body: fields in a fixed order, numbers as varints, text
//	           behind its length
//
// # Messages
//
//	verb        request (files)                        reply (files)        since
//	Hello       event, the shim's first: version, pid                       1
//	Start       Start (dir, plan memfd[, root mount    Started              1
//	            [, image mounts]])
//	State       -                                      State                1
//	Signal      Signal: init, an exec, or all          -                    1
//	Resize      Resize                                 -                    1
//	ReopenLog   -                                      -                    1
//	CloseStdin  -                                      -                    1
//	Attach      Attach (in, out, err as flagged)       Attached             1
//	Detach      Detach                                 -                    1
//	Exec        Exec (in, out, err as flagged          ExecStarted          1
//	            [, the process in a memfd])            ([terminal])
//	Kill        Kill: all that an exec started         -                    1
//	Shutdown    -  kills everything in the container   -                    1
//	Abort       -  the same, and leaves no record      -                    1
//	Exited      event: Exited                                               1
//	ExecExited  event: ExecExited                                           1
//	Detached    event: Detached                                             1
//
// # How it may change
//
// New verbs may be added at any time: a shim answers a verb that it does not
// know with the failure CodeUnsupported. New fields may be added at the end of
// a body: a field that is missing reads as zero, and what is left over is
// ignored. So both directions of version skew work. Any other change needs a
// new Version, which an older peer refuses by name.
//
// # What this package does not do
//
// It does no I/O beyond one message on a descriptor that it is given, never
// blocks, and knows nothing of what the verbs do.
package proto
