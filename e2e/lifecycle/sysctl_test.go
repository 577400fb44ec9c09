package lifecycle

import (
	"os"
	"testing"

	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/e2e/harness"
)

// Sysctls of the pod's own namespaces, in both spellings, and nothing of the
// host's is changed.
func TestSysctls(t *testing.T) {
	h := suite.Test(t)
	files := map[string][2]string{ // by key: file, value
		"net.core.somaxconn":                 {"/proc/sys/net/core/somaxconn", "1234"},
		"net/ipv4/ip_local_port_range":       {"/proc/sys/net/ipv4/ip_local_port_range", "2000\t3000"},
		"net.ipv4.conf.lo.arp_ignore":        {"/proc/sys/net/ipv4/conf/lo/arp_ignore", "3"},
		"net.ipv6.conf.all.accept_redirects": {"/proc/sys/net/ipv6/conf/all/accept_redirects", "0"},
		"kernel.shmmni":                      {"/proc/sys/kernel/shmmni", "77"},
		"kernel.sem":                         {"/proc/sys/kernel/sem", "250\t32000\t32\t99"},
		"fs.mqueue.msg_max":                  {"/proc/sys/fs/mqueue/msg_max", "5"},
		"kernel.domainname":                  {"/proc/sys/kernel/domainname", "example.org"},
	}
	before := map[string]string{}
	sysctls := map[string]string{}
	for key, f := range files {
		body, err := os.ReadFile(f[0])
		h.Must(err)
		before[f[0]], sysctls[key] = string(body), f[1]
	}
	pod := h.Pod(harness.OwnNetwork, func(c *runtimeapi.PodSandboxConfig) { c.Linux.Sysctls = sysctls })
	c := pod.Start(harness.Say("sleep"))
	for key, f := range files {
		if got := c.Exec("cat " + f[0]); got != f[1]+"\n" {
			t.Errorf("%s is %q, want %q", key, got, f[1])
		}
		if body, err := os.ReadFile(f[0]); err != nil || string(body) != before[f[0]] {
			t.Errorf("%s of the host is %q, was %q, %v", key, body, before[f[0]], err)
		}
	}
}

// What is refused, by whom ever, is named as the request's field.
func TestSysctlsRefused(t *testing.T) {
	h := suite.Test(t)
	node := func(c *runtimeapi.PodSandboxConfig) {
		c.Linux.SecurityContext.NamespaceOptions.Network = runtimeapi.NamespaceMode_NODE
		c.Linux.SecurityContext.NamespaceOptions.Ipc = runtimeapi.NamespaceMode_NODE
	}
	for _, tc := range []struct {
		key, value string
		change     harness.PodChange
	}{
		{"net.ipv4.no_such_thing", "1", harness.OwnNetwork},                         // says the kernel
		{"net.ipv4.ip_forward", "perhaps", harness.OwnNetwork},                      // says the kernel
		{"kernel.shm_rmid_forced", "1+kernel.core_pattern=|/x", harness.OwnNetwork}, // CVE-2022-0811
		{"kernel.core_pattern", "|/x", harness.OwnNetwork},
		{"kernel.hostname", "other", harness.OwnNetwork},
		{"vm.swappiness", "1", harness.OwnNetwork},
		{"net.core.somaxconn", "1", node}, // CVE-2022-0532
		{"kernel.shmmni", "1", node},
		{"kernel.domainname", "x", node},
	} {
		config := h.PodConfig(tc.change, func(c *runtimeapi.PodSandboxConfig) { c.Linux.Sysctls = map[string]string{tc.key: tc.value} })
		_, err := h.RunPodSandbox(h.Ctx, &runtimeapi.RunPodSandboxRequest{Config: config})
		h.WantCode(err, codes.InvalidArgument, "config.linux.sysctls["+tc.key+"]")
	}
}
