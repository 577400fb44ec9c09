package request

import (
	"fmt"
	"net/netip"
	"strings"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Pod checks the configuration of a pod; field is where the request has it.
func Pod(field string, c *runtimeapi.PodSandboxConfig) error {
	if c == nil {
		return nil // whether it may be missing is the handler's to say
	}
	field += "."
	linux, sc := c.GetLinux(), c.GetLinux().GetSecurityContext()
	if err := firstOf(
		podNames(field+"metadata.", c.GetMetadata()),
		madePath(field+"log_directory", c.GetLogDirectory()),
		madePath(field+"linux.cgroup_parent", linux.GetCgroupParent()),
		numbers(field+"linux.overhead", linux.GetOverhead()),
		numbers(field+"linux.resources", linux.GetResources()),
		groups(field+"linux.security_context.supplemental_groups", sc.GetSupplementalGroups()),
		selinux(field+"linux.security_context.selinux_options", sc.GetSelinuxOptions()),
		dns(field+"dns_config", c.GetDnsConfig()),
	); err != nil {
		return err
	}
	return ports(field+"port_mappings", c.GetPortMappings())
}

func podNames(field string, m *runtimeapi.PodSandboxMetadata) error {
	return firstOf(name(field+"name", m.GetName()), name(field+"namespace", m.GetNamespace()), name(field+"uid", m.GetUid()))
}

// maxWord is how long one entry of resolv.conf may be: a domain name has no
// more than 253 bytes.
const maxWord = 1024

// dns checks what becomes lines of resolv.conf. An address may have a zone, and
// a zone any text: netip takes one with a line break in it.
func dns(field string, d *runtimeapi.DNSConfig) error {
	for i, s := range d.GetServers() {
		a, err := netip.ParseAddr(s)
		if err == nil && strings.ContainsFunc(a.Zone(), notZone) {
			return invalid(fmt.Sprintf("%s.servers[%d]", field, i), "%.60q is not an IP address", s)
		}
	}
	return firstOf(words(field+".searches", d.GetSearches()), words(field+".options", d.GetOptions()))
}

func words(field string, list []string) error {
	for i, v := range list {
		if len(v) > maxWord || strings.ContainsFunc(v, unprintable) {
			return invalid(fmt.Sprintf("%s[%d]", field, i), "%.60q is not one word", v)
		}
	}
	return nil
}

// notZone is what no name of an interface that can be typed has.
func notZone(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-._:@", r)
}

// ports refuses two mappings of one port of the host to different ports of the
// pod: only one could be. The same twice is one.
func ports(field string, list []*runtimeapi.PortMapping) error {
	type key struct {
		ip       string
		port     int32
		protocol runtimeapi.Protocol
	}
	seen := make(map[key]int, len(list))
	for i, m := range list {
		if a, err := netip.ParseAddr(m.GetHostIp()); err == nil && a.Zone() != "" {
			return invalid(fmt.Sprintf("%s[%d].host_ip", field, i), "%.60q: an address of the host has no zone", m.GetHostIp())
		}
		if m.GetHostPort() == 0 { // "no host port"
			continue
		}
		k := key{m.GetHostIp(), m.GetHostPort(), m.GetProtocol()}
		if first, twice := seen[k]; twice && list[first].GetContainerPort() != m.GetContainerPort() {
			return invalid(fmt.Sprintf("%s[%d].host_port", field, i), "%d is that of %s[%d] too", m.GetHostPort(), field, first)
		}
		seen[k] = i
	}
	return nil
}

// maxGroups is NGROUPS_MAX.
const maxGroups = 65536

func groups(field string, list []int64) error {
	if len(list) > maxGroups {
		return invalid(field, "%d groups, Linux has room for %d", len(list), maxGroups)
	}
	for i, g := range list {
		if g < 0 || g > 1<<31-1 {
			return invalid(fmt.Sprintf("%s[%d]", field, i), "%d is not between 0 and %d", g, 1<<31-1)
		}
	}
	return nil
}

// selinux checks the parts of a label, which a colon would move; the level has
// colons of its own.
func selinux(field string, o *runtimeapi.SELinuxOption) error {
	for _, p := range []struct{ name, value, not string }{
		{"user", o.GetUser(), ":"}, {"role", o.GetRole(), ":"}, {"type", o.GetType(), ":"}, {"level", o.GetLevel(), ""},
	} {
		if len(p.value) > 4096 || strings.ContainsAny(p.value, p.not+" /") || strings.ContainsFunc(p.value, unprintable) {
			return invalid(field+"."+p.name, "%.60q is not a part of a label", p.value)
		}
	}
	return nil
}
