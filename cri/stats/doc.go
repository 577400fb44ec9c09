// Package stats turns what cgroups say into the messages of the CRI. It is
// pure: it reads nothing itself.
package stats
