package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/moby/sys/capability"
	"github.com/opencontainers/runtime-spec/specs-go"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// defaultCapabilities are what a container has that asks for nothing: the set
// that images are built for.
var defaultCapabilities = []string{
	"CAP_AUDIT_WRITE", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_MKNOD",
	"CAP_NET_BIND_SERVICE", "CAP_NET_RAW", "CAP_SETFCAP", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_CHROOT",
}

// capabilities computes the five sets.
//
// The rules are the CRI's: drop takes from all sets, add gives to all but
// ambient, add_ambient gives to all; what is dropped by name stays dropped
// though it is added, and "ALL" is weaker than a name. One thing is different:
// what is added is not made inheritable, because an inheritable capability
// survives the exec of a file that has it (CVE-2022-24769 and its family). Only
// what is ambient must be inheritable too, or the kernel refuses it.
func capabilities(sc *runtimeapi.LinuxContainerSecurityContext, host *Host) (*specs.LinuxCapabilities, string, error) {
	if sc.GetPrivileged() {
		all := slices.Clone(host.Capabilities)
		slices.Sort(all)
		return sets(all, nil), "", nil
	}
	const field = securityField + "capabilities."
	c := sc.GetCapabilities()
	add, err := capNames(field+"add_capabilities", c.GetAddCapabilities())
	if err != nil {
		return nil, "", err
	}
	drop, err := capNames(field+"drop_capabilities", c.GetDropCapabilities())
	if err != nil {
		return nil, "", err
	}
	ambient, err := capNames(field+"add_ambient_capabilities", c.GetAddAmbientCapabilities())
	if err != nil {
		return nil, "", err
	}
	if ambient["ALL"] {
		ambient = toSet(host.Capabilities)
	}
	have := toSet(defaultCapabilities)
	if add["ALL"] {
		have = toSet(host.Capabilities)
	}
	if drop["ALL"] {
		clear(have)
	}
	return finishCapabilities(have, add, ambient, drop, host)
}

// finishCapabilities applies what is named one by one, and leaves out what
// this daemon does not have itself: it cannot give it.
func finishCapabilities(have, add, ambient, drop map[string]bool, host *Host) (*specs.LinuxCapabilities, string, error) {
	for _, named := range []map[string]bool{add, ambient} {
		for name := range named {
			if name != "ALL" {
				have[name] = true
			}
		}
	}
	for name := range drop {
		delete(have, name)
		delete(ambient, name)
	}
	var missing []string
	for name := range have {
		if slices.Contains(host.Capabilities, name) {
			continue
		}
		delete(have, name)
		delete(ambient, name)
		if add[name] || slices.Contains(defaultCapabilities, name) {
			missing = append(missing, name)
		}
	}
	slices.Sort(missing)
	note := ""
	if len(missing) > 0 {
		list := strings.Join(missing, ", ")
		if !host.Restrict.Capabilities {
			return nil, "", invalid(securityField+"capabilities", "the daemon itself does not have %s", list)
		}
		note = list + " left out: the daemon itself does not have it (limits.restrictCapabilities)"
	}
	return sets(sorted(have), sorted(ambient)), note, nil
}

func sets(all, ambient []string) *specs.LinuxCapabilities {
	return &specs.LinuxCapabilities{
		Bounding: all, Effective: all, Permitted: all, Inheritable: ambient, Ambient: ambient,
	}
}

func toSet(list []string) map[string]bool {
	set := make(map[string]bool, len(list))
	for _, s := range list {
		set[s] = true
	}
	return set
}

func sorted(set map[string]bool) []string {
	if len(set) == 0 {
		return nil
	}
	list := make([]string, 0, len(set))
	for s := range set {
		list = append(list, s)
	}
	slices.Sort(list)
	return list
}

// knownCapabilities is every name that Linux has.
var knownCapabilities = func() map[string]bool {
	known := map[string]bool{"ALL": true}
	for _, c := range capability.ListKnown() {
		known["CAP_"+strings.ToUpper(c.String())] = true
	}
	return known
}()

// capNames brings names into the form CAP_X; "ALL" stays.
func capNames(field string, names []string) (map[string]bool, error) {
	out := make(map[string]bool, len(names))
	for i, raw := range names {
		name := strings.TrimPrefix(strings.ToUpper(raw), "CAP_")
		if name != "ALL" {
			name = "CAP_" + name
		}
		if !knownCapabilities[name] {
			return nil, invalid(fmt.Sprintf("%s[%d]", field, i), "%q is not a capability", raw)
		}
		out[name] = true
	}
	return out, nil
}
