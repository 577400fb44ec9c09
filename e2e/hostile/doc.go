// Package hostile makes requests that no client should send: it knows every RPC
// of the CRI from its descriptors, sets any field of a request by the path that
// an error names it with ("config.mounts[0].host_path"), and has values for each
// kind of field that have broken runtimes before.
//
// It sends nothing and judges nothing: that is what its users do.
package hostile
