// Package hostpath looks at the host paths that a container's mounts name:
// that they are there, and that they are on mounts which can propagate as the
// request asks. It opens and changes nothing. A look can hang for ever in the
// kernel (a dead NFS server), so that none is waited for without a limit.
package hostpath
