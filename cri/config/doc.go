// Package config is the daemon's configuration: one YAML document in the
// kubelet's style, and a directory of drop-ins merged over it.
//
// It is strict: an unknown field, a duplicate key or a value out of range is
// an error that names the file and the field. It reads files and nothing else:
// what "auto" comes to on this machine is decided by who uses the value.
package config
