// Package hosts reads a directory of per-registry configuration in containerd's
// layout, so that the files of an existing node carry over: for each registry a
// directory named after it, with a hosts.toml or with certificates named as
// docker names them, and _default for registries without one.
//
// The files are looked at anew for every lookup and read again when they
// changed. On purpose it is not containerd's in these points: a key or value that
// it does not know is an error that names it, not a line in a log after which the
// pull goes elsewhere; the capabilities at the root hold for the registry itself
// also when there is no server; a host's headers go to no other host, a token
// server's included.
//
// It makes no connections and knows no credentials.
package hosts
