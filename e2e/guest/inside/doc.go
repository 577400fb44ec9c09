// Package inside tests what only a machine with one cgroup v2 hierarchy, swap
// and AppArmor shows: that limits hold, that swap and pressure are counted,
// that profiles confine. hack/guest.sh runs it in such a machine; on a node
// that is one already, go test does.
//
// Where the limits are written is e2e/resource's; here is what they do.
package inside
