package lifecycle

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/e2e/harness"
)

// dualStack gives the node another network until the test ends: a bridge of its
// own, with a range of addresses of each family, "4" or "6", in their order. It
// returns the prefixes.
func network(h *harness.Test, families ...string) (v4, v6 netip.Prefix) {
	h.T.Helper()
	// The node's own subnet is free of others; half of it is enough here.
	v4 = netip.MustParsePrefix(strings.TrimSuffix(h.Node.Subnet, "0/24") + "128/25")
	octets := v4.Addr().As4()
	v6 = netip.MustParsePrefix(fmt.Sprintf("fd56:56:%x:%x::/64", octets[1], octets[2]))
	bridge := h.Node.Bridge + "x6"
	var ranges [][]map[string]string
	var routes []map[string]string
	for _, family := range families {
		prefix, all := v4, "0.0.0.0/0"
		if family == "6" {
			prefix, all = v6, "::/0"
		}
		ranges, routes = append(ranges, []map[string]string{{"subnet": prefix.String()}}), append(routes, map[string]string{"dst": all})
	}
	list := map[string]any{
		"cniVersion": "1.0.0", "name": h.Node.Network + "-dual",
		"plugins": []any{
			map[string]any{
				"type": "bridge", "bridge": bridge, "isGateway": true, "ipMasq": true, "hairpinMode": true,
				"ipam": map[string]any{
					"type": "host-local", "dataDir": h.Node.Leases, "ranges": ranges,
					"routes": routes,
				},
			},
			map[string]any{"type": "portmap", "capabilities": map[string]bool{"portMappings": true}},
		},
	}
	body, err := json.Marshal(list)
	h.Must(err)
	const forwarding = "/proc/sys/net/ipv6/conf/all/forwarding"
	before, err := os.ReadFile(forwarding)
	h.Must(err)
	conf := filepath.Join(h.Dir, "cni/net.d/00-dual.conflist")
	h.Must(os.WriteFile(conf, body, 0o600))
	h.T.Cleanup(func() {
		h.Drain(h.Ctx) //nolint:errcheck // the test's own cleanup says it
		h.Must(os.Remove(conf))
		h.Must(os.RemoveAll(filepath.Join(h.Node.Leases, h.Node.Network+"-dual")))
		if said, err := exec.Command("ip", "link", "del", bridge).CombinedOutput(); err != nil {
			h.T.Errorf("%v: %s", err, said)
		}
		h.Must(os.WriteFile(forwarding, before, 0o644)) // the plugin has switched it on
		sweep6(h.T)
	})
	return v4, v6
}

// sweep6 removes the chains that portmap makes once for all pods; no plugin
// does that, and no other test uses IPv6.
func sweep6(t *testing.T) {
	saved, err := exec.Command("ip6tables-save", "-t", "nat").Output()
	if err != nil {
		t.Error(err)
		return
	}
	if strings.Contains(string(saved), ":CNI-DN-") {
		return // another node's pods, in another run of this test
	}
	edit := "*nat\n"
	for line := range strings.Lines(string(saved)) {
		if strings.HasPrefix(line, "-A ") && strings.Contains(line, "CNI-HOSTPORT") {
			edit += "-D " + line[len("-A "):]
		}
	}
	for line := range strings.Lines(string(saved)) {
		if chain, _, ok := strings.Cut(line, " "); ok && strings.HasPrefix(chain, ":CNI-HOSTPORT") {
			edit += "-X " + chain[1:] + "\n"
		}
	}
	cmd := exec.Command("ip6tables-restore", "--noflush")
	cmd.Stdin = strings.NewReader(edit + "COMMIT\n")
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, said)
	}
}

// A pod of a network with two families has an address of each: told by its
// status, in its own hosts file, and good for talking.
func TestDualStack(t *testing.T) {
	for _, families := range [][]string{{"4", "6"}, {"6", "4"}} {
		t.Run(strings.Join(families, ""), func(t *testing.T) {
			h := suite.Test(t)
			v4, v6 := network(h, families...)
			port, port6 := free(h), free(h)
			gateway6 := v6.Addr().Next().String()
			server := h.Pod(harness.OwnNetwork, func(c *runtimeapi.PodSandboxConfig) {
				c.PortMappings = []*runtimeapi.PortMapping{{ContainerPort: 80, HostPort: port}, {ContainerPort: 80, HostPort: port6, HostIp: gateway6}}
			})
			status := server.Status().GetNetwork()
			// IPv4 first, whatever the plugins say first; the kubelet puts them into
			// the order of the node's own addresses.
			if len(status.GetAdditionalIps()) != 1 || !v4.Contains(netip.MustParseAddr(status.GetIp())) || !v6.Contains(netip.MustParseAddr(status.GetAdditionalIps()[0].GetIp())) {
				t.Fatalf("addresses %v, want one of %s and one of %s", status, v4, v6)
			}
			ip4, ip6 := status.GetIp(), status.GetAdditionalIps()[0].GetIp()
			server.Start(harness.Say("serve :80 both"))
			client := h.Pod(harness.OwnNetwork)
			for _, url := range []string{"http://" + ip4 + "/", "http://[" + ip6 + "]/"} {
				if got := client.Output(harness.Args("get", url)); got != "both\n" {
					t.Errorf("pod to pod, %s: %q", url, got)
				}
				getSoon(h, url, "both\n")
			}
			getSoon(h, fmt.Sprintf("http://127.0.0.1:%d/", port), "both\n")
			// IPv6 has no way from ::1 into a pod; another address of the host will do.
			getSoon(h, fmt.Sprintf("http://[%s]:%d/", gateway6, port), "both\n")
			getSoon(h, fmt.Sprintf("http://[%s]:%d/", gateway6, port6), "both\n")
			if got, err := get(fmt.Sprintf("http://127.0.0.1:%d/", port6)); err == nil {
				t.Errorf("a port of %s answers at 127.0.0.1: %q", gateway6, got)
			}
			name := server.Config.GetHostname()
			hosts := server.Output(harness.Say("cat /etc/hosts"))
			if !strings.Contains(hosts, ip4+"\t"+name+"\n") || !strings.Contains(hosts, ip6+"\t"+name+"\n") {
				t.Errorf("hosts:\n%s", hosts)
			}
			h.Kill(t)
			h.Restart(t)
			if got := server.Status().GetNetwork(); got.GetIp() != ip4 || len(got.GetAdditionalIps()) != 1 || got.GetAdditionalIps()[0].GetIp() != ip6 {
				t.Errorf("after a restart: %v", got)
			}
			server.Stop()
			if got := server.Status().GetNetwork(); got.GetIp() != "" || len(got.GetAdditionalIps()) != 0 {
				t.Errorf("of a stopped pod: %v", got)
			}
		})
	}
}

// A cluster of IPv6 alone.
func TestOnlyIPv6(t *testing.T) {
	h := suite.Test(t)
	_, v6 := network(h, "6")
	pod := h.Pod(harness.OwnNetwork)
	status := pod.Status().GetNetwork()
	if len(status.GetAdditionalIps()) != 0 || !v6.Contains(netip.MustParseAddr(status.GetIp())) {
		t.Fatalf("addresses %v, want one of %s", status, v6)
	}
	pod.Start(harness.Say("serve :80 six"))
	if got := h.Pod(harness.OwnNetwork).Output(harness.Args("get", "http://["+status.GetIp()+"]/")); got != "six\n" {
		t.Errorf("got %q", got)
	}
}
