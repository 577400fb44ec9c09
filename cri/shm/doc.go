// Package shm mounts the /dev/shm that the containers of a pod share. It is
// made when the first container needs it, and it is the one mount beside the
// pinned namespaces that the host sees. Containers bind it; the package knows
// nothing of them.
package shm
