// Package crilog writes the log file of one container in the format that the
// kubelet reads:
//
//	2026-11-23T10:00:00.000000000Z stdout F a whole line
//	2026-11-23T10:00:00.000000000Z stderr P a part of a line, more follows
//
// A line longer than the limit is split into parts (P), the last of which is
// whole (F). What a stream wrote after its last newline is a part, too, when
// the stream ends, so that readers put out exactly the bytes that came in.
//
// The file is opened for appending and written in large pieces. Reopen goes
// over to a new file at the same path, which is how the kubelet rotates. A
// write that fails costs the bytes that it had, is counted, and never stops
// the container.
//
// The package does not rotate, does not limit the rate, does not sync, never
// makes a directory, and is not for use by several goroutines.
package crilog
