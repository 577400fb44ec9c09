// Package leak looks for what belongs to nobody any more: mounts and pinned
// namespaces, cgroups, shims, state directories and layers of pods and
// containers that there are not. There should never be any.
//
// A look reads the mount table, some directories and the links of /proc, some
// milliseconds at a hundred pods, and is made when somebody wants to know and the
// last one is old. What is found counts when the look after finds it too: what
// an operation is just making or taking away is no leak.
//
// It removes nothing: what is left over is a fault that somebody should see. The
// start of the daemon removes what a crash has left.
package leak
