package pod

import (
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/e2e/harness"
)

func TestContainersTalkOverThePodsLoopback(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod(harness.OwnNetwork)
	pod.Start(harness.Say("serve 127.0.0.1:8080 hello over lo"))
	if got := pod.Output(harness.Say("get http://127.0.0.1:8080/")); got != "hello over lo\n" {
		t.Errorf("got %q", got)
	}
	// The same port in another pod is another loopback.
	other := h.Pod(harness.OwnNetwork)
	other.Start(harness.Say("serve 127.0.0.1:8080 the other"))
	if got := other.Output(harness.Say("get http://127.0.0.1:8080/")); got != "the other\n" {
		t.Errorf("got %q", got)
	}
}

func TestPodAddress(t *testing.T) {
	h := suite.Test(t)
	server, client := h.Pod(harness.OwnNetwork), h.Pod(harness.OwnNetwork)
	ip, err := netip.ParseAddr(server.Status().GetNetwork().GetIp())
	h.Must(err)
	if !netip.MustParsePrefix(h.Node.Subnet).Contains(ip) {
		t.Errorf("address %s is not in %s", ip, h.Node.Subnet)
	}
	server.Start(harness.Say("serve :80 from another pod"))
	if got := client.Output(harness.Say("get http://" + ip.String() + "/")); got != "from another pod\n" {
		t.Errorf("pod to pod: got %q", got)
	}
	if got := get(t, "http://"+ip.String()+"/"); got != "from another pod\n" {
		t.Errorf("host to pod: got %q", got)
	}
	if got := client.Output(harness.Say("addrs")); !strings.Contains(got, "lo up|loopback") || !strings.Contains(got, "eth0 up") {
		t.Errorf("interfaces of a pod:\n%s", got)
	}
	if got := h.Pod().Status().GetNetwork().GetIp(); got != "" {
		t.Errorf("a pod on the host's network has the address %q of its own", got)
	}
}

func TestPortMapping(t *testing.T) {
	h := suite.Test(t)
	port := harness.FreePort(t)
	pod := h.Pod(harness.OwnNetwork, func(c *runtimeapi.PodSandboxConfig) {
		c.PortMappings = []*runtimeapi.PortMapping{
			{ContainerPort: 80, HostPort: int32(port)},
			{ContainerPort: 81}, // no host port: allowed, and nothing to do
		}
	})
	pod.Start(harness.Say("serve :80 through a host port"))
	if got := get(t, fmt.Sprintf("http://127.0.0.1:%d/", port)); got != "through a host port\n" {
		t.Errorf("got %q", got)
	}
}

// get tries for a while, because the server is starting.
func get(t *testing.T, url string) string {
	t.Helper()
	client := http.Client{Timeout: 10 * time.Second}
	var body []byte
	harness.Eventually(t, url+" answers", func() bool {
		answer, err := client.Get(url)
		if err != nil {
			return false
		}
		defer answer.Body.Close()
		body, err = io.ReadAll(answer.Body)
		return err == nil
	})
	return string(body)
}

func TestNameFiles(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod(harness.OwnNetwork, func(c *runtimeapi.PodSandboxConfig) {
		c.Hostname = "some-pod"
		c.DnsConfig = &runtimeapi.DNSConfig{
			Servers: []string{"10.0.0.10", "fd00::10"}, Searches: []string{"ns.svc.test", "svc.test"}, Options: []string{"ndots:5"},
		}
	})
	got := pod.Output(harness.Say("hostname + cat /etc/hostname /etc/resolv.conf /etc/hosts"))
	for _, want := range []string{
		"some-pod\nsome-pod\n", "nameserver 10.0.0.10\n", "nameserver fd00::10\n",
		"search ns.svc.test svc.test\n", "options ndots:5\n", "127.0.0.1", "localhost",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("output lacks %q:\n%s", want, got)
		}
	}
	host, err := os.Hostname()
	h.Must(err)
	if got := h.Pod().Output(harness.Say("hostname")); got != host+"\n" {
		t.Errorf("hostname of a pod on the host's network is %q, want the host's %q", got, host)
	}
}
