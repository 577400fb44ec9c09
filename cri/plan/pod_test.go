package plan

import (
	"errors"
	"strings"
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/config"
	"github.com/varve-cri/varve/cri/fault"
)

// podRequest is a pod as the kubelet asks for one; edit changes it.
func podRequest(edit func(*runtimeapi.PodSandboxConfig)) *runtimeapi.PodSandboxConfig {
	c := &runtimeapi.PodSandboxConfig{
		Metadata:     &runtimeapi.PodSandboxMetadata{Name: "web", Namespace: "default", Uid: "1-2-3"},
		Hostname:     "web-0",
		LogDirectory: "/var/log/pods/default_web_1-2-3/",
		DnsConfig:    &runtimeapi.DNSConfig{Servers: []string{"10.96.0.10", "fd00::a"}, Searches: []string{"default.svc.cluster.local", "svc.cluster.local"}, Options: []string{"ndots:5"}},
		PortMappings: []*runtimeapi.PortMapping{
			{ContainerPort: 80, HostPort: 8080}, {ContainerPort: 53, HostPort: 53, Protocol: runtimeapi.Protocol_UDP, HostIp: "127.0.0.1"}, {ContainerPort: 81},
		},
		Linux: &runtimeapi.LinuxPodSandboxConfig{
			CgroupParent: "/kubepods/besteffort/pod1-2-3",
			SecurityContext: &runtimeapi.LinuxSandboxSecurityContext{
				NamespaceOptions: &runtimeapi.NamespaceOption{Pid: runtimeapi.NamespaceMode_CONTAINER},
			},
			Sysctls: map[string]string{"net.ipv4.ip_local_port_range": "1024 65535", "kernel/shm_rmid_forced": "1", "net/ipv4/conf/eth0.1/rp_filter": "0"},
		},
	}
	edit(c)
	return c
}

func namespaces(c *runtimeapi.PodSandboxConfig) *runtimeapi.NamespaceOption {
	return c.Linux.SecurityContext.NamespaceOptions
}

func TestPodGolden(t *testing.T) {
	cfg := config.Default()
	for name, edit := range map[string]func(*runtimeapi.PodSandboxConfig){
		"kubelet": func(*runtimeapi.PodSandboxConfig) {},
		"host-network": func(c *runtimeapi.PodSandboxConfig) {
			namespaces(c).Network = runtimeapi.NamespaceMode_NODE
			c.Hostname, c.Linux.Sysctls = "", nil
		},
		"host-all": func(c *runtimeapi.PodSandboxConfig) {
			n := namespaces(c)
			n.Network, n.Ipc, n.Pid = runtimeapi.NamespaceMode_NODE, runtimeapi.NamespaceMode_NODE, runtimeapi.NamespaceMode_NODE
			n.UsernsOptions = &runtimeapi.UserNamespace{Mode: runtimeapi.NamespaceMode_NODE}
			c.Linux.Sysctls = nil
		},
		"by-hand": func(c *runtimeapi.PodSandboxConfig) {
			*c = runtimeapi.PodSandboxConfig{Metadata: &runtimeapi.PodSandboxMetadata{Name: "my pod!"}}
		},
	} {
		p, err := Pod(podRequest(edit), "", cfg)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		golden(t, "pod/"+name, struct {
			*PodPlan
			Resolv, Name, Cgroup string
		}{p, string(p.ResolvConf), string(p.HostnameFile), p.Cgroup("ID")})
	}
	golden(t, "pod/hosts", strings.Split(string(Hosts("web-0", []string{"10.0.0.2", "fd00::2"})), "\n"))
}

func TestPodErrors(t *testing.T) {
	for want, edit := range map[string]func(*runtimeapi.PodSandboxConfig){
		"config.metadata: is missing":    func(c *runtimeapi.PodSandboxConfig) { c.Metadata = nil },
		"config.metadata.name: is empty": func(c *runtimeapi.PodSandboxConfig) { c.Metadata.Name = "" },
		"config.metadata.uid":            func(c *runtimeapi.PodSandboxConfig) { c.Metadata.Uid = "a\nb" },
		"config.windows":                 func(c *runtimeapi.PodSandboxConfig) { c.Windows = &runtimeapi.WindowsPodSandboxConfig{} },
		"namespace_options.network: CONTAINER": func(c *runtimeapi.PodSandboxConfig) {
			namespaces(c).Network = runtimeapi.NamespaceMode_CONTAINER
		},
		"namespace_options.ipc: TARGET":  func(c *runtimeapi.PodSandboxConfig) { namespaces(c).Ipc = runtimeapi.NamespaceMode_TARGET },
		"namespace_options.pid: TARGET":  func(c *runtimeapi.PodSandboxConfig) { namespaces(c).Pid = runtimeapi.NamespaceMode_TARGET },
		"userns_options.mode: CONTAINER": func(c *runtimeapi.PodSandboxConfig) { namespaces(c).UsernsOptions = &runtimeapi.UserNamespace{Mode: 1} },
		"userns_options: the host's user": func(c *runtimeapi.PodSandboxConfig) {
			namespaces(c).UsernsOptions = &runtimeapi.UserNamespace{Mode: 2, Uids: []*runtimeapi.IDMapping{{}}}
		},
		"run_as_group: is set without": func(c *runtimeapi.PodSandboxConfig) { c.Linux.SecurityContext.RunAsGroup = &runtimeapi.Int64Value{} },
		"run_as_user: 2147483648": func(c *runtimeapi.PodSandboxConfig) {
			c.Linux.SecurityContext.RunAsUser = &runtimeapi.Int64Value{Value: 1 << 31}
		},
		"config.hostname: is 65 bytes":      func(c *runtimeapi.PodSandboxConfig) { c.Hostname = strings.Repeat("a", 65) },
		"config.hostname: \"a b\"":          func(c *runtimeapi.PodSandboxConfig) { c.Hostname = "a b" },
		"dns_config.servers[0]":             func(c *runtimeapi.PodSandboxConfig) { c.DnsConfig.Servers[0] = "dns.local" },
		"dns_config.searches[1]":            func(c *runtimeapi.PodSandboxConfig) { c.DnsConfig.Searches[1] = "a\nnameserver 1.2.3.4" },
		"dns_config.options[0]":             func(c *runtimeapi.PodSandboxConfig) { c.DnsConfig.Options[0] = "a b" },
		"port_mappings[0].host_port":        func(c *runtimeapi.PodSandboxConfig) { c.PortMappings[0].HostPort = 65536 },
		"port_mappings[0].container_port":   func(c *runtimeapi.PodSandboxConfig) { c.PortMappings[0].ContainerPort = 0 },
		"port_mappings[1].host_ip":          func(c *runtimeapi.PodSandboxConfig) { c.PortMappings[1].HostIp = "localhost" },
		"port_mappings[1].protocol":         func(c *runtimeapi.PodSandboxConfig) { c.PortMappings[1].Protocol = 7 },
		"config.log_directory":              func(c *runtimeapi.PodSandboxConfig) { c.LogDirectory = "logs" },
		"cgroup_parent: \"/a/../b\" climbs": func(c *runtimeapi.PodSandboxConfig) { c.Linux.CgroupParent = "/a/../b" },
		"cgroup_parent: the root":           func(c *runtimeapi.PodSandboxConfig) { c.Linux.CgroupParent = "//" },
	} {
		_, err := Pod(podRequest(edit), "", config.Default())
		var bad *fault.InvalidError
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %s", err, want)
		}
	}
	if _, err := Pod(nil, "", config.Default()); err == nil {
		t.Error("no config is no error")
	}
	var missing *fault.NotFoundError
	if _, err := Pod(podRequest(func(*runtimeapi.PodSandboxConfig) {}), "kata", config.Default()); !errors.As(err, &missing) {
		t.Errorf("unknown handler: %v", err)
	}
}

// CVE-2022-0532: a sysctl of a namespace that is the host's. CVE-2022-0811: a
// value that holds a second setting.
func TestSysctls(t *testing.T) {
	pod := &PodPlan{Net: true, IPC: true, UTS: true}
	host := &PodPlan{}
	for key, ok := range map[string]bool{
		"net.core.somaxconn": true, "kernel.msgmax": true, "fs.mqueue.msg_max": true, "kernel.domainname": true, "net/ipv4/ip_forward": true,
		"kernel.core_pattern": false, "vm.swappiness": false, "kernel.hostname": false, "fs.file-max": false, "kernel.shm_rmid_forced2": false,
		"net": false, "": false, ".": false, "net..x": false, "net/../kernel/core_pattern": false, "net.ipv4.//.x": false, "/net.x": false,
		"net.ipv4.conf.\nx": false, "net.a b": false, "kernel.msgmax/../core_pattern": false, "net/ipv4/conf/../../../kernel/core_pattern": false,
	} {
		req := podRequest(func(c *runtimeapi.PodSandboxConfig) { c.Linux.Sysctls = map[string]string{key: "1"} })
		if err := podSysctls(pod, req); (err == nil) != ok {
			t.Errorf("%q: %v", key, err)
		}
		if err := podSysctls(host, req); err == nil {
			t.Errorf("%q is set on the host", key)
		}
	}
	for _, value := range []string{"1+kernel.core_pattern=|/x", "a=b", "1\n2", "\x00"} {
		req := podRequest(func(c *runtimeapi.PodSandboxConfig) { c.Linux.Sysctls = map[string]string{"kernel.shmmax": value} })
		if err := podSysctls(pod, req); err == nil {
			t.Errorf("value %q is allowed", value)
		}
	}
	req := podRequest(func(c *runtimeapi.PodSandboxConfig) {
		c.Linux.Sysctls = map[string]string{"net.core.somaxconn": "1", "net/core/somaxconn": "2"}
	})
	if err := podSysctls(pod, req); err == nil {
		t.Error("one sysctl with two values is allowed")
	}
}

func FuzzSysctlKey(f *testing.F) {
	f.Add("net/ipv4/conf/eth0.1/rp_filter")
	f.Add("kernel.shmmax")
	f.Fuzz(func(t *testing.T, raw string) {
		key, ok := sysctlKey(raw)
		if !ok {
			return
		}
		// As a writer would turn it into a path: dots to slashes, slashes to dots.
		p := strings.NewReplacer(".", "/", "/", ".").Replace(key)
		for part := range strings.SplitSeq(p, "/") {
			if part == "" || part == "." || part == ".." || strings.ContainsAny(part, "\x00\n ") {
				t.Errorf("%q becomes the path %q", raw, p)
			}
		}
	})
}
