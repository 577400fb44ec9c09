// Command init is the first process of a guest machine (hack/guest.sh). It
// makes of a bare kernel what a node is: mounts, one cgroup v2 hierarchy with
// every controller, swap, huge pages, AppArmor, a loopback. Then it runs the
// jobs it finds on its disk one after the other, sends what they say to a
// serial line, and turns the machine off.
//
// It is no init for anything else: it starts no service and keeps no log.
package main
