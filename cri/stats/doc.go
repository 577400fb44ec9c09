// Package stats answers what containers and pods use: it reads cgroups and the
// counters of networks, has read-write layers measured now and then, and turns it
// all into the messages of the CRI. Which containers there are it does not know.
package stats
