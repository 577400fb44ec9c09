// Varve-shim owns one running container. It is started by the daemon with one
// end of a socketpair as descriptor 3 and is of no use otherwise; see package
// shim/server.
package main

import (
	"os"
	"runtime"

	"github.com/varve-cri/varve/shim/server"
)

// socket is the descriptor that the launcher passes.
const socket = 3

// The event loop must stay on the main thread.
func init() { runtime.LockOSThread() }

func main() {
	if len(os.Args) > 2 {
		os.Stderr.WriteString("usage: varve-shim [oom_score_adj], started by varved\n")
		os.Exit(2)
	}
	// It runs from memory, so that the kernel names it for a descriptor.
	_ = os.WriteFile("/proc/self/comm", []byte("varve-shim"), 0)
	o := server.Options{Socket: socket}
	if len(os.Args) == 2 {
		o.OOMScoreAdj = os.Args[1]
	}
	if err := server.Run(o); err != nil {
		os.Stderr.WriteString("varve-shim: " + err.Error() + "\n")
		os.Exit(1)
	}
}
