package plan

import (
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"
	"unicode"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/config"
	"github.com/varve-cri/varve/cri/fault"
)

func planPod(req *runtimeapi.PodSandboxConfig, handler string, cfg *config.Config) (*PodPlan, error) {
	if req == nil {
		return nil, fault.Invalid("config", "is missing")
	}
	settings, ok := cfg.Handler(handler)
	if !ok {
		return nil, &fault.NotFoundError{Kind: "runtime handler", ID: handler}
	}
	if err := checkPodMetadata(req.Metadata); err != nil {
		return nil, err
	}
	if req.Windows != nil {
		return nil, fault.Invalid("config.windows", "this is a Linux node")
	}
	p := &PodPlan{Handler: handler, Privileged: req.GetLinux().GetSecurityContext().GetPrivileged()}
	for _, part := range []func(*PodPlan, *runtimeapi.PodSandboxConfig) error{
		podNamespaces, podUserNamespace, podUser, podHostname, podDNS, podPorts, podSysctls, podLogDir,
	} {
		if err := part(p, req); err != nil {
			return nil, err
		}
	}
	return p, podCgroup(p, req.GetLinux().GetCgroupParent(), cfg.CgroupParent(settings))
}

func checkPodMetadata(m *runtimeapi.PodSandboxMetadata) error {
	switch {
	case m == nil:
		return fault.Invalid("config.metadata", "is missing")
	case m.Name == "":
		return fault.Invalid("config.metadata.name", "is empty")
	}
	for _, f := range []struct{ name, value string }{
		{"name", m.Name}, {"namespace", m.Namespace}, {"uid", m.Uid},
	} {
		if strings.ContainsAny(f.value, "\x00\n") || len(f.value) > 1024 {
			return fault.Invalid("config.metadata."+f.name, "%.40q is not a name", f.value)
		}
	}
	return nil
}

// podNamespaces reads the modes. The host's network comes with the host's UTS
// namespace: such a pod has the node's name.
func podNamespaces(p *PodPlan, req *runtimeapi.PodSandboxConfig) error {
	const field = "config.linux.security_context.namespace_options."
	opt := req.GetLinux().GetSecurityContext().GetNamespaceOptions()
	switch mode := opt.GetNetwork(); mode {
	case runtimeapi.NamespaceMode_POD:
		p.Net, p.UTS = true, true
	case runtimeapi.NamespaceMode_NODE:
	default:
		return fault.Invalid(field+"network", "%s is neither POD nor NODE", mode)
	}
	switch mode := opt.GetIpc(); mode {
	case runtimeapi.NamespaceMode_POD:
		p.IPC = true
	case runtimeapi.NamespaceMode_NODE:
	default:
		return fault.Invalid(field+"ipc", "%s is neither POD nor NODE", mode)
	}
	switch mode := opt.GetPid(); mode {
	case runtimeapi.NamespaceMode_POD:
		p.Pause = true
	case runtimeapi.NamespaceMode_CONTAINER, runtimeapi.NamespaceMode_NODE:
	default:
		return fault.Invalid(field+"pid", "%s is not for a pod", mode)
	}
	return nil
}

// podUser checks what the CRI asks every runtime to check; a pod has no
// process that would run as this user.
func podUser(_ *PodPlan, req *runtimeapi.PodSandboxConfig) error {
	const field = "config.linux.security_context."
	sc := req.GetLinux().GetSecurityContext()
	if sc.GetRunAsGroup() != nil && sc.GetRunAsUser() == nil {
		return fault.Invalid(field+"run_as_group", "is set without run_as_user")
	}
	if _, err := idValue(field+"run_as_user", sc.GetRunAsUser()); err != nil {
		return err
	}
	_, err := idValue(field+"run_as_group", sc.GetRunAsGroup())
	return err
}

func podHostname(p *PodPlan, req *runtimeapi.PodSandboxConfig) error {
	if err := checkHostname(req.Hostname); err != nil {
		return err
	}
	if !p.UTS {
		return nil
	}
	p.Hostname = PodHostname(req)
	p.HostnameFile = []byte(p.Hostname + "\n")
	return nil
}

// maxHostname is the kernel's: __NEW_UTS_LEN.
const maxHostname = 64

func checkHostname(h string) error {
	if len(h) > maxHostname {
		return fault.Invalid("config.hostname", "is %d bytes long, %d are possible", len(h), maxHostname)
	}
	for _, r := range h {
		if !hostnameRune(r) {
			return fault.Invalid("config.hostname", "%q has characters that no host name has", h)
		}
	}
	return nil
}

func hostnameRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '.' || r == '_'
}

// hostnameFrom makes a host name out of a pod's name, for requests by hand
// that have none.
func hostnameFrom(name string) string {
	h := strings.Map(func(r rune) rune {
		if hostnameRune(r) {
			return r
		}
		return '-'
	}, name)
	return strings.Trim(h[:min(len(h), maxHostname)], "-.")
}

func podDNS(p *PodPlan, req *runtimeapi.PodSandboxConfig) error {
	p.HostsFile = p.Net
	dns := req.DnsConfig
	if dns == nil || len(dns.Servers)+len(dns.Searches)+len(dns.Options) == 0 {
		return nil
	}
	var b strings.Builder
	for i, s := range dns.Servers {
		// A zone ("fe80::1%eth0") may be anything to the parser, a line break too.
		if _, err := netip.ParseAddr(s); err != nil || strings.ContainsFunc(s, notInWord) {
			return fault.Invalid(fmt.Sprintf("config.dns_config.servers[%d]", i), "%q is not an IP address", s)
		}
	}
	for _, list := range []struct {
		name, word string
		values     []string
	}{{"searches", "search", dns.Searches}, {"options", "options", dns.Options}} {
		for i, v := range list.values {
			// One value must stay one value: no second line, no second word.
			if v == "" || strings.ContainsFunc(v, notInWord) {
				return fault.Invalid(fmt.Sprintf("config.dns_config.%s[%d]", list.name, i), "%q is not one word", v)
			}
		}
	}
	if len(dns.Searches) > 0 {
		b.WriteString("search " + strings.Join(dns.Searches, " ") + "\n")
	}
	for _, s := range dns.Servers {
		b.WriteString("nameserver " + s + "\n")
	}
	if len(dns.Options) > 0 {
		b.WriteString("options " + strings.Join(dns.Options, " ") + "\n")
	}
	p.ResolvConf = []byte(b.String())
	return nil
}

// Hosts returns the text of a pod's /etc/hosts, its own name last, for every
// address that it has.
func Hosts(hostname string, ips []string) []byte {
	var b strings.Builder
	b.WriteString("127.0.0.1\tlocalhost\n" +
		"::1\tlocalhost ip6-localhost ip6-loopback\n" +
		"fe00::0\tip6-localnet\n" +
		"fe00::0\tip6-mcastprefix\n" +
		"fe00::1\tip6-allnodes\n" +
		"fe00::2\tip6-allrouters\n")
	for _, ip := range ips {
		b.WriteString(ip + "\t" + hostname + "\n")
	}
	return []byte(b.String())
}

// notInWord is what ends a word or a line of resolv.conf, and what no text file has.
func notInWord(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }

func podPorts(p *PodPlan, req *runtimeapi.PodSandboxConfig) error {
	for i, m := range req.PortMappings {
		field := fmt.Sprintf("config.port_mappings[%d].", i)
		protocol, ok := map[runtimeapi.Protocol]string{
			runtimeapi.Protocol_TCP: "tcp", runtimeapi.Protocol_UDP: "udp", runtimeapi.Protocol_SCTP: "sctp",
		}[m.GetProtocol()]
		if !ok {
			return fault.Invalid(field+"protocol", "%d is not known", m.GetProtocol())
		}
		if m.GetHostPort() < 0 || m.GetHostPort() > 65535 {
			return fault.Invalid(field+"host_port", "%d is not a port", m.GetHostPort())
		}
		if m.GetContainerPort() < 0 || m.GetContainerPort() > 65535 {
			return fault.Invalid(field+"container_port", "%d is not a port", m.GetContainerPort())
		}
		if m.GetHostIp() != "" {
			if ip, err := netip.ParseAddr(m.GetHostIp()); err != nil || ip.Zone() != "" {
				return fault.Invalid(field+"host_ip", "%q is not an IP address", m.GetHostIp())
			}
		}
		// 0 is "no host port", and with the host's network there is nothing to map.
		if m.GetHostPort() == 0 || !p.Net {
			continue
		}
		if m.GetContainerPort() == 0 {
			return fault.Invalid(field+"container_port", "is missing")
		}
		next := PortMapping{HostPort: m.GetHostPort(), ContainerPort: m.GetContainerPort(), Protocol: protocol, HostIP: m.GetHostIp()}
		switch first := slices.IndexFunc(p.PortMappings, next.sameHostPort); {
		case first < 0:
			p.PortMappings = append(p.PortMappings, next)
		case p.PortMappings[first] != next:
			return fault.Invalid(field+"host_port", "%s port %d leads to port %d of the pod already", protocol, next.HostPort, p.PortMappings[first].ContainerPort)
		}
	}
	return nil
}

// sameHostPort says whether both are for the same connections. A port of one
// address beside one of all addresses is not: the plugin that maps them decides.
func (m PortMapping) sameHostPort(n PortMapping) bool {
	return m.HostPort == n.HostPort && m.Protocol == n.Protocol && m.HostIP == n.HostIP
}

func podLogDir(p *PodPlan, req *runtimeapi.PodSandboxConfig) error {
	dir := req.LogDirectory
	if dir == "" {
		return nil
	}
	if !path.IsAbs(dir) || strings.Contains(dir, "\x00") {
		return fault.Invalid("config.log_directory", "%q is not an absolute path", dir)
	}
	p.LogDir = path.Clean(dir)
	return nil
}

// podCgroup takes the parent that the kubelet names, in cgroupfs syntax.
func podCgroup(p *PodPlan, parent, fallback string) error {
	const field = "config.linux.cgroup_parent"
	if parent == "" {
		p.CgroupParent, p.OwnCgroup = fallback, true
		return nil
	}
	if strings.ContainsAny(parent, "\x00\n") {
		return fault.Invalid(field, "%q is not a path", parent)
	}
	for part := range strings.SplitSeq(parent, "/") {
		if part == ".." {
			return fault.Invalid(field, "%q climbs", parent)
		}
	}
	p.CgroupParent = path.Clean("/" + parent)
	if p.CgroupParent == "/" {
		return fault.Invalid(field, "the root cgroup cannot hold a pod")
	}
	return nil
}
