package audit

import (
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// interfaces lists the ports of the node's bridge: host ends of pods' links.
func interfaces(s Scope) []string {
	if s.Bridge == "" {
		return nil
	}
	entries, _ := os.ReadDir(filepath.Join("/sys/class/net", s.Bridge, "brif"))
	var found []string
	for _, e := range entries {
		found = append(found, "interface "+e.Name()+" on "+s.Bridge)
	}
	return found
}

// leases lists the addresses that the host-local plugin gave out: one file
// named for the address for each.
func leases(s Scope) []string {
	if s.Leases == "" {
		return nil
	}
	entries, _ := os.ReadDir(filepath.Join(s.Leases, s.Network))
	var found []string
	for _, e := range entries {
		if _, err := netip.ParseAddr(e.Name()); err == nil {
			found = append(found, "address lease "+e.Name())
		}
	}
	return found
}

func layers(s Scope) []string {
	if s.Layers == "" {
		return nil
	}
	entries, _ := os.ReadDir(s.Layers)
	var found []string
	for _, e := range entries {
		found = append(found, "read-write layer "+e.Name())
	}
	return found
}

// rules lists firewall rules that name the network or an address of it. The
// plugins write a comment with the network's name into most of their rules.
func rules(s Scope) []string {
	body, err := exec.Command("iptables-save").Output()
	if err != nil {
		return nil
	}
	var found []string
	for line := range strings.Lines(string(body)) {
		if s.OwnsRule(line) {
			found = append(found, "firewall rule "+strings.TrimSpace(line))
		}
	}
	return found
}

// OwnsRule says whether a line of iptables-save is a rule of the node's network.
func (s Scope) OwnsRule(rule string) bool {
	prefix, err := netip.ParsePrefix(s.Subnet)
	if err != nil || !strings.HasPrefix(rule, "-A ") {
		return false
	}
	for word := range strings.FieldsSeq(rule) {
		if strings.Trim(word, `"\`) == s.Network {
			return true
		}
		host, _, _ := strings.Cut(word, ":") // --to-destination ADDRESS:PORT
		host, _, _ = strings.Cut(host, "/")
		if a, err := netip.ParseAddr(host); err == nil && prefix.Contains(a) {
			return true
		}
	}
	return false
}
