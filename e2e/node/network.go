package node

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// lockFile is held while a node picks its addresses or takes its network away,
// because those looks at the machine must not overlap.
const lockFile = "/run/lock/varve-node.lock"

func lock() (release func(), err error) {
	if err := os.MkdirAll(filepath.Dir(lockFile), 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(lockFile, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", lockFile, err)
	}
	return func() { f.Close() }, nil
}

// makeBridge picks a /24 of 10.128.0.0/10 by the seed, the next one when an
// address of the machine is in it, and makes the bridge with its address. The
// bridge is the reservation that other nodes see.
func (n *Node) makeBridge(seed []byte) error {
	release, err := lock()
	if err != nil {
		return err
	}
	defer release()
	start := int(seed[0])<<8 | int(seed[1])
	for i := range 64 * 256 {
		k := (start + i) % (64 * 256)
		gateway := netip.AddrFrom4([4]byte{10, byte(128 + k/256), byte(k % 256), 1})
		subnet := netip.PrefixFrom(gateway, 24).Masked()
		if taken(subnet) {
			continue
		}
		n.Subnet = subnet.String()
		mac := fmt.Sprintf("02:56:%02x:%02x:%02x:%02x", seed[2], seed[3], seed[4], seed[5])
		return run(
			// An address of its own: without one it changes with the ports,
			// and pods' neighbour tables go stale.
			[]string{"ip", "link", "add", n.Bridge, "address", mac, "type", "bridge"},
			[]string{"ip", "address", "add", gateway.String() + "/24", "dev", n.Bridge},
			[]string{"ip", "link", "set", n.Bridge, "up"},
		)
	}
	return fmt.Errorf("pick a subnet of 10.128.0.0/10: all are in use")
}

// taken says whether an interface of this machine has an address in the subnet,
// or one whose network holds it.
func taken(subnet netip.Prefix) bool {
	addrs, _ := net.InterfaceAddrs()
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Masked().Overlaps(subnet) {
			return true
		}
	}
	return false
}

func (n *Node) removeBridge() error {
	if _, err := net.InterfaceByName(n.Bridge); err != nil {
		return nil
	}
	return run([]string{"ip", "link", "del", n.Bridge})
}

// writeConflist writes the pods' network: what varve's default has, with the
// node's own names and addresses.
func (n *Node) writeConflist() error {
	list := map[string]any{
		"cniVersion": "1.0.0", "name": n.Network,
		"plugins": []any{
			map[string]any{
				"type": "bridge", "bridge": n.Bridge, "isGateway": true, "ipMasq": true, "hairpinMode": true,
				"ipam": map[string]any{
					"type": "host-local", "dataDir": n.Leases,
					"ranges": [][]map[string]string{{{"subnet": n.Subnet}}},
					"routes": []map[string]string{{"dst": "0.0.0.0/0"}},
				},
			},
			map[string]any{"type": "portmap", "capabilities": map[string]bool{"portMappings": true}},
		},
	}
	body, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		return err
	}
	dir := filepath.Join(n.Dir, "cni/net.d")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "10-varve.conflist"), body, 0o600)
}

var (
	// cniChains are the chains that the plugins make once for all pods.
	cniChains = []string{"CNI-HOSTPORT-DNAT", "CNI-HOSTPORT-MASQ", "CNI-HOSTPORT-SETMARK", "CNI-FORWARD", "CNI-ADMIN"}
	// podChain is a chain of one pod, of any CNI network.
	podChain = regexp.MustCompile(`(?m)^:CNI-([0-9a-f]{24}|DN-\w+|SN-\w+) `)
)

// removeRules removes the node's own firewall rules, which only a leak leaves,
// and the pods' chains that they were in.
func (n *Node) removeRules() error {
	saved, err := exec.Command("iptables-save").Output()
	if err != nil {
		return nil // no iptables, no rules
	}
	var edit strings.Builder
	chains := map[string]bool{} // "*table\nchain"
	table := ""
	for line := range strings.Lines(string(saved)) {
		switch {
		case strings.HasPrefix(line, "*"):
			table = line
			edit.WriteString(line)
		case strings.HasPrefix(line, "COMMIT"):
			edit.WriteString(line)
		case n.OwnsRule(line):
			edit.WriteString("-D " + line[len("-A "):])
			if chain := strings.Fields(line)[1]; podChain.MatchString(":" + chain + " ") {
				chains[table+chain] = true
			}
		}
	}
	for chain := range chains {
		table, name, _ := strings.Cut(chain, "\n")
		edit.WriteString(table + "\n-X " + name + "\nCOMMIT\n")
	}
	return restore(edit.String())
}

// sweepChains removes the plugins' shared chains when this was the last bridge
// that needed them: no plugin does that.
func sweepChains() error {
	saved, err := exec.Command("iptables-save").Output()
	if err != nil || podChain.Match(saved) || otherBridges() {
		return nil
	}
	var edit strings.Builder
	for line := range strings.Lines(string(saved)) {
		switch {
		case strings.HasPrefix(line, "*"), strings.HasPrefix(line, "COMMIT"):
			edit.WriteString(line)
		case strings.HasPrefix(line, "-A ") && mentions(line):
			edit.WriteString("-D " + line[len("-A "):])
		}
	}
	for _, chain := range cniChains { // after the rules that jump to it, in its own table
		for _, table := range []string{"*nat\n", "*filter\n"} {
			if at := strings.Index(string(saved), table); at >= 0 && strings.Contains(untilCommit(string(saved)[at:]), "\n:"+chain+" ") {
				edit.WriteString(table + "-X " + chain + "\nCOMMIT\n")
			}
		}
	}
	return restore(edit.String())
}

func untilCommit(s string) string {
	before, _, _ := strings.Cut(s, "\nCOMMIT")
	return before
}

// mentions says whether a rule is in, or jumps to, a chain that pods share.
func mentions(rule string) bool {
	for word := range strings.FieldsSeq(rule) {
		if slices.Contains(cniChains, word) {
			return true
		}
	}
	return false
}

// restore applies an edit in the language of iptables-restore.
func restore(edit string) error {
	cmd := exec.Command("iptables-restore", "--noflush")
	cmd.Stdin = strings.NewReader(edit)
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("remove firewall rules: %w: %s", err, said)
	}
	return nil
}

// otherBridges says whether another node's bridge, or one with a name that is
// usual for pods, is there.
func otherBridges() bool {
	for _, pattern := range []string{"vv????????", "varve0", "cni*"} {
		if bridges, _ := filepath.Glob("/sys/class/net/" + pattern + "/bridge"); len(bridges) > 0 {
			return true
		}
	}
	return false
}

// run runs commands in order until one fails.
func run(commands ...[]string) error {
	for _, argv := range commands {
		if said, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, strings.TrimSpace(string(said)))
		}
	}
	return nil
}
