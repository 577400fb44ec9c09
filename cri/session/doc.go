// Package session joins a client with a container: a command that runs beside
// it (ExecSync and Exec) or its own streams (Attach).
//
// The process gets pipes or a terminal directly from the shim. The daemon holds
// their other ends and copies only while a client streams; with ExecSync it
// only reads. Nothing here is buffered without a bound: a client that does not
// read stops the command that writes, as a pipe does, and is let go by the
// shim when it is attached to the container itself.
//
// # When a session ends
//
// A command has ended when its process has and all that was written before is
// delivered. What it left behind may hold its outputs open, so they are read for
// a drain time at most (GHSA-7jxh-36q5-gcqv). When the context ends, which says
// that the client has gone, a command is killed with everything it started; a
// client that was attached is only detached.
//
// # What it does not do
//
// It knows no protocol of the network (cri/streaming does), finds no containers
// and plans no processes (cri/server does).
package session
