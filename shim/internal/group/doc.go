// Package group has the few things that a shim does to a cgroup directory: make
// a child for an exec, signal or kill what is in it, and remove it. Controllers
// and limits are the daemon's (runtime/cgroup). It works on v1 and v2
// directories alike, by their host paths.
package group
