// Package inroot opens and makes paths inside a container's root, given by
// descriptor: symbolic links, absolute ones too, are followed as a process in
// that root would, and can never lead outside (openat2 RESOLVE_IN_ROOT, Linux
// 5.6), nor through the magic links of procfs (CVE-2024-21626).
//
// It does not protect against a file tree that another process changes
// meanwhile in any other way than that: what it returns is inside the root.
package inroot
