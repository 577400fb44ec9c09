// Package pod tests pods on a real node: their life, namespaces, network, files
// and lists. It has no code but tests.
package pod
