// Package node makes throw-away varve nodes: a varved whose everything (socket,
// state, images, network, cgroups) belongs to one directory, several side by
// side. hack/node.sh is its command line. Down takes a node away and names all
// that leaked; package harness uses both in tests.
//
// A node shares with its machine: the kernel, ip_forward, the firewall's
// tables, and the CNI plugins' programs.
package node
