package cgroup

import (
	devices "github.com/opencontainers/cgroups/devices/config"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	// The library leaves devices alone unless this is linked in.
	_ "github.com/opencontainers/cgroups/devices"
)

// commonDevices is what every OCI runtime allows whatever the spec says: making
// any node, and using those that the specification puts into each /dev.
var commonDevices = []*devices.Rule{
	{Type: devices.CharDevice, Major: devices.Wildcard, Minor: devices.Wildcard, Permissions: "m", Allow: true},
	{Type: devices.BlockDevice, Major: devices.Wildcard, Minor: devices.Wildcard, Permissions: "m", Allow: true},
	{Type: devices.CharDevice, Major: 1, Minor: 3, Permissions: "rwm", Allow: true},                  // null
	{Type: devices.CharDevice, Major: 1, Minor: 5, Permissions: "rwm", Allow: true},                  // zero
	{Type: devices.CharDevice, Major: 1, Minor: 7, Permissions: "rwm", Allow: true},                  // full
	{Type: devices.CharDevice, Major: 1, Minor: 8, Permissions: "rwm", Allow: true},                  // random
	{Type: devices.CharDevice, Major: 1, Minor: 9, Permissions: "rwm", Allow: true},                  // urandom
	{Type: devices.CharDevice, Major: 5, Minor: 0, Permissions: "rwm", Allow: true},                  // tty
	{Type: devices.CharDevice, Major: 5, Minor: 2, Permissions: "rwm", Allow: true},                  // ptmx
	{Type: devices.CharDevice, Major: 136, Minor: devices.Wildcard, Permissions: "rwm", Allow: true}, // pts/*
}

// deviceRules is the whole list of rules for a container: nothing is allowed to
// begin with, then the spec's rules in their order, then the common devices.
// The first rule is explicit, because rules without it once meant "allow all"
// (GHSA-g54h-m393-cpwq).
func deviceRules(spec []specs.LinuxDeviceCgroup) []*devices.Rule {
	rules := make([]*devices.Rule, 0, 1+len(spec)+len(commonDevices))
	rules = append(rules, &devices.Rule{Type: devices.WildcardDevice, Major: devices.Wildcard, Minor: devices.Wildcard, Permissions: "rwm"})
	for _, d := range spec {
		r := &devices.Rule{Type: devices.WildcardDevice, Major: devices.Wildcard, Minor: devices.Wildcard, Permissions: "rwm", Allow: d.Allow}
		if d.Type != "" {
			r.Type = devices.Type(d.Type[0])
		}
		if d.Type == "u" { // an unbuffered character device, in mknod's words
			r.Type = devices.CharDevice
		}
		set(&r.Major, d.Major)
		set(&r.Minor, d.Minor)
		if d.Access != "" {
			r.Permissions = devices.Permissions(d.Access)
		}
		rules = append(rules, r)
	}
	return append(rules, commonDevices...)
}
