// Package idmap makes mounts show other owners than their files have on the
// disk: a user namespace with the mapping, and mount_setattr(MOUNT_ATTR_IDMAP)
// with it on a detached mount (Linux 5.12).
//
// It runs no program to get the user namespace, keeps none, and pins none. It
// does not decide who may ask for which mapping.
package idmap
