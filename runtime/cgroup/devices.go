package cgroup

import (
	"os"
	"slices"

	devices "github.com/opencontainers/cgroups/devices/config"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

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
		if len(rules) == 1 && deniesAll(d) {
			continue // said already; specs begin with it
		}
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

// deniesAll says whether d is "no device at all".
func deniesAll(d specs.LinuxDeviceCgroup) bool {
	return !d.Allow && (d.Type == "" || d.Type == "a") && d.Major == nil && d.Minor == nil && (d.Access == "" || d.Access == "rwm")
}

// onlyAllows says whether rules are "nothing, but these": what nearly every
// container has.
func onlyAllows(rules []*devices.Rule) bool {
	for _, r := range rules[1:] {
		if !r.Allow || r.Type == devices.WildcardDevice {
			return false
		}
	}
	return !rules[0].Allow && rules[0].Type == devices.WildcardDevice
}

// setFreshDevices writes such rules to a v1 group that was just made. The
// library would compare them with the group's list, write each through a file
// of its own and read the list again, which is a sixth of a container's whole
// cgroup work; a group without processes and children needs none of that.
func setFreshDevices(dir string, rules []*devices.Rule) error {
	if err := writeFile(dir, "devices.deny", "a"); err != nil {
		return err
	}
	path := dir + "/devices.allow"
	fd, err := openRetry(path, unix.O_WRONLY)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for i, r := range rules[1:] {
		if slices.ContainsFunc(rules[1:1+i], func(before *devices.Rule) bool { return *before == *r }) {
			continue
		}
		text := r.CgroupString()
		if _, err := unix.Write(fd, []byte(text)); err != nil {
			return &os.PathError{Op: "write " + quoted(text) + " to", Path: path, Err: err}
		}
	}
	return nil
}
