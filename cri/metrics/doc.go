// Package metrics tells Prometheus what the daemon does: requests by method and
// code, the time of each step, pulls, what the image store holds, pods,
// containers, shims, spares, and what was found to belong to nobody.
//
// Counting is atomics on what was found when the daemon began; everything else
// is asked for when somebody scrapes, and Prometheus' own registry is made then,
// too: a daemon that is never scraped pays for neither.
//
// It decides nothing and keeps no history; statistics of containers are
// cri/stats', for the kubelet.
package metrics
