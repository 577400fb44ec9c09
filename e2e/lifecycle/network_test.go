package lifecycle

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/e2e/harness"
	"github.com/varve-cri/varve/e2e/node"
)

// ports runs a pod with port mappings.
func ports(h *harness.Test, list ...*runtimeapi.PortMapping) *harness.Pod {
	h.T.Helper()
	return h.Pod(harness.OwnNetwork, func(c *runtimeapi.PodSandboxConfig) { c.PortMappings = list })
}

// free is a port that nobody uses, of TCP and UDP alike.
func free(h *harness.Test) int32 {
	h.T.Helper()
	return int32(harness.FreePort(h.T))
}

// get asks a web server once.
func get(url string) (string, error) {
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	return string(body), err
}

func getSoon(h *harness.Test, url, want string) {
	h.T.Helper()
	var got string
	var err error
	for end := time.Now().Add(node.Patience(time.Minute)); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if got, err = get(url); err == nil && got == want {
			return
		}
	}
	h.T.Errorf("%s: got %q, %v", url, got, err)
}

// askUDP sends a datagram until one is answered.
func askUDP(address string) (string, error) {
	conn, err := net.Dial("udp", address)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	buf := make([]byte, 2048)
	for end := time.Now().Add(node.Patience(time.Minute)); time.Now().Before(end); {
		if _, err = conn.Write([]byte("?")); err == nil {
			_ = conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
			var n int
			if n, err = conn.Read(buf); err == nil {
				return string(buf[:n]), nil
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	return "", err
}

func TestHostPorts(t *testing.T) {
	h := suite.Test(t)
	web, dns, local, sctp := free(h), free(h), free(h), free(h)
	pod := ports(h,
		&runtimeapi.PortMapping{ContainerPort: 80, HostPort: web},
		&runtimeapi.PortMapping{ContainerPort: 80, HostPort: web},                                    // said twice
		&runtimeapi.PortMapping{ContainerPort: 53, HostPort: web, Protocol: runtimeapi.Protocol_UDP}, // the same number is another port
		&runtimeapi.PortMapping{ContainerPort: 53, HostPort: dns, Protocol: runtimeapi.Protocol_UDP},
		&runtimeapi.PortMapping{ContainerPort: 80, HostPort: local, HostIp: "127.0.0.1"},
		&runtimeapi.PortMapping{ContainerPort: 99, HostPort: sctp, Protocol: runtimeapi.Protocol_SCTP},
		&runtimeapi.PortMapping{ContainerPort: 81}, &runtimeapi.PortMapping{ContainerPort: 82, HostPort: 0}, // no port of the host
	)
	pod.Start(harness.Say("serve :80 web"))
	pod.Start(harness.Say("serveudp :53 name"))
	gateway := strings.TrimSuffix(h.Node.Subnet, "0/24") + "1" // an address of the host
	for _, address := range []string{"127.0.0.1", gateway} {
		getSoon(h, fmt.Sprintf("http://%s:%d/", address, web), "web\n")
		for _, port := range []int32{web, dns} {
			if got, err := askUDP(fmt.Sprintf("%s:%d", address, port)); got != "name" {
				t.Errorf("udp %s:%d: %q, %v", address, port, got, err)
			}
		}
	}
	getSoon(h, fmt.Sprintf("http://127.0.0.1:%d/", local), "web\n")
	if got, err := get(fmt.Sprintf("http://%s:%d/", gateway, local)); err == nil {
		t.Errorf("a port of 127.0.0.1 answers at %s: %q", gateway, got)
	}
	rules, err := exec.Command("iptables-save", "-t", "nat").CombinedOutput()
	h.Must(err)
	want := fmt.Sprintf("-p sctp -m sctp --dport %d -j DNAT --to-destination %s:99", sctp, pod.Status().GetNetwork().GetIp())
	if !strings.Contains(string(rules), want) {
		t.Errorf("no rule %s", want)
	}
	if n := strings.Count(string(rules), fmt.Sprintf("-p tcp -m tcp --dport %d -j DNAT", web)); n != 1 {
		t.Errorf("%d rules for a port that was said twice", n)
	}
	for _, gone := range []string{":81", ":82"} {
		if strings.Contains(string(rules), pod.Status().GetNetwork().GetIp()+gone) {
			t.Errorf("a container port without a host port is mapped: %s", gone)
		}
	}
	pod.Stop()
	if got, err := get(fmt.Sprintf("http://127.0.0.1:%d/", web)); err == nil {
		t.Errorf("the port of a stopped pod answers: %q", got)
	}
}

func TestHostPortsRefused(t *testing.T) {
	h := suite.Test(t)
	for field, list := range map[string][]*runtimeapi.PortMapping{
		"port_mappings[0].host_port":      {{ContainerPort: 80, HostPort: 65536}},
		"port_mappings[0].container_port": {{ContainerPort: 0, HostPort: 80}},
		"port_mappings[1].host_ip":        {{ContainerPort: 80}, {ContainerPort: 80, HostPort: 8080, HostIp: "example.org"}},
		"port_mappings[0].host_ip":        {{ContainerPort: 80, HostPort: 8080, HostIp: "fe80::1%eth0\n"}},
		"port_mappings[0].protocol":       {{ContainerPort: 80, HostPort: 8080, Protocol: 77}},
		"port_mappings[1].host_port":      {{ContainerPort: 80, HostPort: 8080}, {ContainerPort: 81, HostPort: 8080}},
	} {
		config := h.PodConfig(harness.OwnNetwork, func(c *runtimeapi.PodSandboxConfig) { c.PortMappings = list })
		_, err := h.RunPodSandbox(h.Ctx, &runtimeapi.RunPodSandboxRequest{Config: config})
		h.WantCode(err, codes.InvalidArgument, "config."+field)
	}
	// On the host's network there is nothing to map, and nothing to mind.
	config := h.PodConfig(func(c *runtimeapi.PodSandboxConfig) {
		c.PortMappings = []*runtimeapi.PortMapping{{ContainerPort: 80, HostPort: 80}}
	})
	_, err := h.RunPodSandbox(h.Ctx, &runtimeapi.RunPodSandboxRequest{Config: config})
	h.Must(err)
}
