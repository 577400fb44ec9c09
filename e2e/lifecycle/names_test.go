package lifecycle

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/e2e/harness"
)

// The kernel takes 64 bytes of host name; the kubelet's setHostnameAsFQDN
// allows as many.
func TestHostnames(t *testing.T) {
	h := suite.Test(t)
	long := strings.Repeat("a", 31) + "." + strings.Repeat("b", 32)
	pod := h.Pod(harness.OwnNetwork, func(c *runtimeapi.PodSandboxConfig) { c.Hostname = long })
	if got := pod.Output(harness.Say("hostname + cat /etc/hostname + env HOSTNAME")); got != strings.Repeat(long+"\n", 3) {
		t.Errorf("got %q", got)
	}
	ip := pod.Status().GetNetwork().GetIp()
	if got := pod.Output(harness.Say("cat /etc/hosts")); !strings.Contains(got, ip+"\t"+long+"\n") || !strings.Contains(got, "127.0.0.1\tlocalhost\n") {
		t.Errorf("hosts:\n%s", got)
	}
	for _, bad := range []string{long + "c", "two words", "line\nbreak", "slash/"} {
		config := h.PodConfig(harness.OwnNetwork, func(c *runtimeapi.PodSandboxConfig) { c.Hostname = bad })
		_, err := h.RunPodSandbox(h.Ctx, &runtimeapi.RunPodSandboxRequest{Config: config})
		h.WantCode(err, codes.InvalidArgument, "config.hostname")
	}
	// Without a name of its own the pod's name makes one.
	pod = h.Pod(harness.OwnNetwork, func(c *runtimeapi.PodSandboxConfig) { c.Hostname, c.Metadata.Name = "", "some_pod!" })
	if got := pod.Output(harness.Say("hostname")); got != "some_pod\n" {
		t.Errorf("got %q", got)
	}
	host, err := os.Hostname()
	h.Must(err)
	pod = h.Pod(func(c *runtimeapi.PodSandboxConfig) { c.Hostname = "ignored" })
	if got := pod.Output(harness.Say("hostname")); got != host+"\n" {
		t.Errorf("on the host's network: got %q", got)
	}
}

func TestResolvConf(t *testing.T) {
	h := suite.Test(t)
	hosts, err := os.ReadFile("/etc/resolv.conf")
	h.Must(err)
	many := &runtimeapi.DNSConfig{Options: []string{"ndots:5", "timeout:1", "edns0", "trust-ad"}}
	for i := range 32 { // as many as the kubelet lets through, and 2048 bytes of them
		many.Searches = append(many.Searches, strings.Repeat(string(rune('a'+i%26)), 55)+".example")
	}
	for what, tc := range map[string]struct {
		dns  *runtimeapi.DNSConfig
		want string
	}{
		"none":    {nil, string(hosts)},
		"empty":   {&runtimeapi.DNSConfig{}, string(hosts)},
		"servers": {&runtimeapi.DNSConfig{Servers: []string{"10.0.0.10", "fd00::10", "fe80::1%eth0"}}, "nameserver 10.0.0.10\nnameserver fd00::10\nnameserver fe80::1%eth0\n"},
		"root":    {&runtimeapi.DNSConfig{Searches: []string{"."}, Options: []string{"ndots:0"}}, "search .\noptions ndots:0\n"},
		"many":    {many, "search " + strings.Join(many.Searches, " ") + "\noptions ndots:5 timeout:1 edns0 trust-ad\n"},
	} {
		for _, network := range []harness.PodChange{harness.OwnNetwork, func(*runtimeapi.PodSandboxConfig) {}} {
			pod := h.Pod(network, func(c *runtimeapi.PodSandboxConfig) { c.DnsConfig = tc.dns })
			if got := pod.Output(harness.Say("cat /etc/resolv.conf")); got != tc.want {
				t.Errorf("%s: got %q, want %q", what, got, tc.want)
			}
		}
	}
	for field, dns := range map[string]*runtimeapi.DNSConfig{
		"servers[0]":  {Servers: []string{"ns.example"}},
		"servers[1]":  {Servers: []string{"10.0.0.1", "fe80::1%x\nnameserver 6.6.6.6"}},
		"searches[0]": {Searches: []string{"a b"}},
		"options[1]":  {Options: []string{"ndots:1", "x\nnameserver 6.6.6.6"}},
	} {
		config := h.PodConfig(func(c *runtimeapi.PodSandboxConfig) { c.DnsConfig = dns })
		_, err := h.RunPodSandbox(h.Ctx, &runtimeapi.RunPodSandboxRequest{Config: config})
		h.WantCode(err, codes.InvalidArgument, "config.dns_config."+field)
	}
}

// The kubelet writes /etc/hosts itself, host aliases and all, and mounts it; a
// volume of memory at /dev/shm has its own size. A request's mount wins.
func TestMountsWinOverThePodsOwn(t *testing.T) {
	h := suite.Test(t)
	dir := t.TempDir()
	aliases := "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n10.1.2.3\tfoo.remote\tbar.remote\n"
	mounts := func(c *runtimeapi.ContainerConfig) {
		for target, text := range map[string]string{"/etc/hosts": aliases, "/etc/resolv.conf": "nameserver 9.9.9.9\n", "/etc/hostname": "mounted\n"} {
			file := filepath.Join(dir, filepath.Base(target))
			h.Must(os.WriteFile(file, []byte(text), 0o644))
			c.Mounts = append(c.Mounts, &runtimeapi.Mount{ContainerPath: target, HostPath: file})
		}
		h.Must(os.MkdirAll(dir+"/shm", 0o777))
		c.Mounts = append(c.Mounts, &runtimeapi.Mount{ContainerPath: "/dev/shm", HostPath: dir + "/shm"})
	}
	c := h.Pod(harness.OwnNetwork).Start(harness.Say("sleep"), mounts)
	if got := c.Exec("cat /etc/hosts /etc/resolv.conf /etc/hostname"); got != aliases+"nameserver 9.9.9.9\nmounted\n" {
		t.Errorf("got %q", got)
	}
	if got := c.Exec("lookup bar.remote"); got != "10.1.2.3\n" {
		t.Errorf("lookup of an alias: %q", got)
	}
	c.Exec("write /dev/shm/there volume")
	if body, err := os.ReadFile(dir + "/shm/there"); err != nil || string(body) != "volume" {
		t.Errorf("%q, %v", body, err)
	}
}

// shm is the options of /dev/shm's mount.
func shm(c *harness.Container) string {
	for line := range strings.Lines(c.Exec("cat /proc/mounts")) {
		if fields := strings.Fields(line); fields[1] == "/dev/shm" {
			return fields[2] + " " + fields[3]
		}
	}
	return "none"
}

func TestShm(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod(harness.OwnNetwork)
	a, b := pod.Start(harness.Say("sleep")), pod.Start(harness.Say("sleep"))
	if got := shm(a); !strings.HasPrefix(got, "tmpfs rw,nosuid,nodev,noexec") || !strings.Contains(got, "size=65536k") {
		t.Errorf("/dev/shm is %s", got)
	}
	a.Exec("write /dev/shm/x shared")
	if got := b.Exec("cat /dev/shm/x"); got != "shared" {
		t.Errorf("got %q", got)
	}
	answer, err := a.TryExec(0, "fill", "/dev/shm/full", "65")
	h.Must(err)
	if answer.GetExitCode() == 0 || !strings.Contains(string(answer.GetStderr()), "no space left") {
		t.Errorf("65 MiB: exit code %d: %s", answer.GetExitCode(), answer.GetStderr())
	}
	if got := h.Pod(harness.OwnNetwork).Output(harness.Say("ls /dev/shm")); got != "" {
		t.Errorf("another pod's /dev/shm holds %q", got)
	}
}

func TestReadOnlyRoot(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod(harness.OwnNetwork)
	c := pod.Start(harness.Say("sleep"), harness.Security(func(s *runtimeapi.LinuxContainerSecurityContext) { s.ReadonlyRootfs = true }),
		func(c *runtimeapi.ContainerConfig) { c.WorkingDir = "/not/in/the/image" })
	for _, file := range []string{"/x", "/etc/hosts", "/etc/resolv.conf", "/etc/hostname", "/not/in/the/image/x"} {
		answer, err := c.TryExec(0, "write", file, "x")
		h.Must(err)
		if answer.GetExitCode() == 0 || !strings.Contains(string(answer.GetStderr()), "read-only") {
			t.Errorf("%s can be written: %s", file, answer.GetStderr())
		}
	}
	c.Exec("write /dev/shm/x ok")
	if got := c.Exec("cwd"); got != "/not/in/the/image\n" {
		t.Errorf("working directory %q", got)
	}
}
