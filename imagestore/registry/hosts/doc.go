// Package hosts reads a directory of per-registry configuration in containerd's
// layout, so that the files of an existing node carry over: for each registry a
// directory named after it, with a hosts.toml or with certificates named as
// docker names them, and _default for registries without one.
//
// The files are looked at anew for every lookup and read again when they
// changed. It differs from containerd on purpose in one point: a key or value
// that it does not know is an error that names it, not a line in a log after
// which the pull goes elsewhere.
//
// It makes no connections and knows no credentials.
package hosts
