package cgroup

import (
	"fmt"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// usualDevices is what a container's specification says of devices: nothing is
// allowed, then the harmless ones are.
func usualDevices() []specs.LinuxDeviceCgroup {
	rules := []specs.LinuxDeviceCgroup{
		{Allow: false, Access: "rwm"},
		{Allow: true, Type: "c", Access: "m"},
		{Allow: true, Type: "b", Access: "m"},
		{Allow: true, Type: "c", Major: ptr(int64(136)), Access: "rwm"},
	}
	for _, d := range [][2]int64{{1, 3}, {1, 5}, {1, 7}, {1, 8}, {1, 9}, {5, 0}, {5, 1}, {5, 2}} {
		rules = append(rules, specs.LinuxDeviceCgroup{Allow: true, Type: "c", Major: &d[0], Minor: &d[1], Access: "rwm"})
	}
	return rules
}

func BenchmarkLifecycle(b *testing.B) {
	full := resources()
	full.Devices = usualDevices()
	shares := &specs.LinuxResources{CPU: &specs.LinuxCPU{Shares: ptr(uint64(2))}}
	for what, res := range map[string]*specs.LinuxResources{"plain": nil, "shares": shares, "full": full} {
		b.Run(what, func(b *testing.B) {
			top := name(b)
			must(b, ensureParents(top))
			i := 0
			for b.Loop() {
				i++
				g, err := Create(fmt.Sprintf("%s/%d", top, i), res)
				must(b, err)
				must(b, g.Remove())
			}
		})
	}
}

func BenchmarkMkdirOnly(b *testing.B) {
	g := Open(name(b))
	for b.Loop() {
		var m made
		for i, dir := range g.v1 {
			must(b, m.dir(dir, g.host.v1[i].mount, false))
		}
		must(b, m.dir(g.v2, g.host.v2, false))
		must(b, m.undo())
	}
}

func BenchmarkSet(b *testing.B) {
	g, err := Create(name(b), resources())
	must(b, err)
	for b.Loop() {
		must(b, g.Set(&specs.LinuxResources{CPU: &specs.LinuxCPU{Shares: ptr(uint64(700))}, Memory: &specs.LinuxMemory{Limit: ptr(int64(64 << 20))}}))
	}
}

// BenchmarkKill kills groups whose process has gone already: the price of
// making sure at the end of each container.
func BenchmarkKill(b *testing.B) {
	g, err := Create(name(b), nil)
	must(b, err)
	for b.Loop() {
		must(b, g.Kill())
	}
}
