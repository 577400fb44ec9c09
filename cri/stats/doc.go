// Package stats answers what containers and pods use: it reads cgroups and the
// counters of networks, has read-write layers and processes measured now and then,
// in the background, and turns it into the messages of the CRI. What it must
// remember of each container and pod is in a Gauge.
//
// It runs nothing by itself: what nobody asks for is not measured. Which containers
// there are it does not know.
package stats
