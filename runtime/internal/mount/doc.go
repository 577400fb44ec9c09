// Package mount mounts by file descriptor: a mount is made or cloned without
// being visible anywhere, gets its attributes, and is attached to a target
// that is a descriptor too (Linux 5.2, attributes 5.12). No function takes a
// target by name, so no symbolic link can redirect one (CVE-2021-30465,
// CVE-2025-31133).
package mount
