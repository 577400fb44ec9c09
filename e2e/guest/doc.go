// Package guest runs end-to-end tests on another kernel: user-mode Linux 6.1
// with nothing but cgroup v2, AppArmor and swap, which is what most nodes are
// and this machine may not be. hack/guest.sh makes the machine and says how
// else it can be used; package inside has the tests that only it can pass, and
// the command init is its first process.
//
// What it does not have: more than one processor, cpuset, huge pages, pressure
// stall information, nf_tables for IPv4.
package guest
