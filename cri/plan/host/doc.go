// Package host reads the facts of this node that a plan depends on, once, at
// the daemon's start. It decides nothing but what "auto" comes to in the
// configuration's limits, and it says so in words, for the log.
//
// It does not look at cgroups: who does fills in those two facts.
package host
