package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/config"
	"github.com/varve-cri/varve/cri/fault"
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
func capabilities(sc *runtimeapi.LinuxContainerSecurityContext, handler config.Handler, host *Host) (*specs.LinuxCapabilities, string, error) {
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
	byDefault := handlerCapabilities(handler)
	have := toSet(byDefault)
	if add["ALL"] {
		have = toSet(host.Capabilities)
	}
	if drop["ALL"] {
		clear(have)
	}
	for name := range add {
		if name != "ALL" {
			have[name] = true
		}
	}
	for name := range ambient {
		have[name] = true
	}
	for name := range drop {
		delete(have, name)
		delete(ambient, name)
	}
	wanted := maps.Clone(add)
	maps.Copy(wanted, toSet(byDefault))
	return possible(have, ambient, wanted, host)
}

// handlerCapabilities is what the containers of a handler have that ask for
// nothing.
func handlerCapabilities(h config.Handler) []string {
	if h.DefaultCapabilities == nil {
		return defaultCapabilities
	}
	out := make([]string, 0, len(h.DefaultCapabilities))
	for _, raw := range h.DefaultCapabilities {
		name, _ := config.Capability(raw) // the configuration is valid
		out = append(out, name)
	}
	return out
}

// possible leaves out what this daemon does not have itself: it cannot give it.
// That is told of those that are wanted by name.
func possible(have, ambient, wanted map[string]bool, host *Host) (*specs.LinuxCapabilities, string, error) {
	var missing []string
	for name := range have {
		if slices.Contains(host.Capabilities, name) {
			continue
		}
		delete(have, name)
		delete(ambient, name)
		if wanted[name] {
			missing = append(missing, name)
		}
	}
	slices.Sort(missing)
	note := ""
	if len(missing) > 0 {
		list := strings.Join(missing, ", ")
		if !host.Restrict.Capabilities {
			return nil, "", fault.Invalid(securityField+"capabilities", "the daemon itself does not have %s", list)
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

// capNames brings names into the form CAP_X; "ALL" stays.
func capNames(field string, names []string) (map[string]bool, error) {
	out := make(map[string]bool, len(names))
	for i, raw := range names {
		name, ok := config.Capability(raw)
		if name == "CAP_ALL" {
			name, ok = "ALL", true
		}
		if !ok {
			return nil, fault.Invalid(fmt.Sprintf("%s[%d]", field, i), "%q is not a capability", raw)
		}
		out[name] = true
	}
	return out, nil
}
