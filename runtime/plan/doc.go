// Package plan holds the value that describes one container to be made, and
// the binary form in which the daemon hands it to a shim.
//
// It decides nothing and opens nothing: package compile makes a Plan from an
// OCI spec, package container carries it out. It stays small because every
// shim links it.
package plan
