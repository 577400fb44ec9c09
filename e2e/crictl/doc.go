// Package crictl runs every command of crictl against a node (commands.sh).
// crictl itself is no part of varve: where there is none in PATH, the test says
// so and does nothing.
package crictl
