package network

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
)

// Pod is what plugins are told of a pod.
type Pod struct {
	ID, Name, Namespace, UID string
	NetNS                    string // host path of the pinned namespace
	CgroupParent             string
	Ports                    []Port
	DNS                      *DNS
	Annotations              map[string]string
}

// Port is one port mapping in the shape of the portMappings capability.
type Port struct {
	HostPort      int32  `json:"hostPort"`
	ContainerPort int32  `json:"containerPort"`
	Protocol      string `json:"protocol"`
	HostIP        string `json:"hostIP,omitempty"`
}

// DNS is the pod's resolver in the shape of the dns capability.
type DNS struct {
	Servers  []string `json:"servers,omitempty"`
	Searches []string `json:"searches,omitempty"`
	Options  []string `json:"options,omitempty"`
}

// args is CNI_ARGS. The format has no quoting, so that a value with a
// semicolon would forge a second argument.
func (p *Pod) args() ([][2]string, error) {
	a := [][2]string{
		{"IgnoreUnknown", "1"},
		{"K8S_POD_NAMESPACE", p.Namespace},
		{"K8S_POD_NAME", p.Name},
		{"K8S_POD_INFRA_CONTAINER_ID", p.ID},
		{"K8S_POD_UID", p.UID},
	}
	for _, kv := range a {
		if strings.ContainsAny(kv[1], ";\n\x00") {
			return nil, fmt.Errorf("%s %q: cannot be passed to a network plugin", kv[0], kv[1])
		}
	}
	return a, nil
}

// hostPorts is those of the ports that are mapped: 0 is "no host port", not "any".
func (p *Pod) hostPorts() []Port {
	var ports []Port
	for _, m := range p.Ports {
		if m.HostPort != 0 {
			ports = append(ports, m)
		}
	}
	return ports
}

func (p *Pod) capabilities(podCIDR string) (map[string]any, error) {
	c := map[string]any{}
	if ports := p.hostPorts(); len(ports) > 0 {
		c["portMappings"] = ports
	}
	if p.DNS != nil {
		c["dns"] = p.DNS
	}
	if len(p.Annotations) > 0 {
		c["io.kubernetes.cri.pod-annotations"] = p.Annotations
	}
	if p.CgroupParent != "" {
		c["cgroupPath"] = p.CgroupParent
	}
	bw, err := bandwidth(p.Annotations)
	if err != nil {
		return nil, err
	}
	if bw != nil {
		c["bandwidth"] = bw
	}
	if podCIDR != "" {
		var sets [][]map[string]string
		for _, s := range strings.Split(podCIDR, ",") {
			sets = append(sets, []map[string]string{{"subnet": s}})
		}
		c["ipRanges"] = sets
	}
	return c, nil
}

// bandwidth reads the annotations that Kubernetes documents for the
// bandwidth plugin; rates are in bits per second.
func bandwidth(annotations map[string]string) (map[string]uint64, error) {
	bw := map[string]uint64{}
	for _, dir := range []string{"ingress", "egress"} {
		key := "kubernetes.io/" + dir + "-bandwidth"
		s, ok := annotations[key]
		if !ok {
			continue
		}
		v, err := rate(s)
		if err != nil {
			return nil, fmt.Errorf("annotation %s: %q: %w", key, s, err)
		}
		bw[dir+"Rate"], bw[dir+"Burst"] = v, math.MaxUint32
	}
	if len(bw) == 0 {
		return nil, nil
	}
	return bw, nil
}

var suffixes = []struct {
	text string
	by   int64
}{
	{"Ki", 1 << 10}, {"Mi", 1 << 20}, {"Gi", 1 << 30}, {"Ti", 1 << 40}, {"Pi", 1 << 50},
	{"k", 1e3}, {"M", 1e6}, {"G", 1e9}, {"T", 1e12}, {"P", 1e15}, {"", 1},
}

// rate parses a Kubernetes quantity between 1k and 1P, the limits that the
// scheduler's admission has as well.
func rate(s string) (uint64, error) {
	for _, u := range suffixes {
		num, ok := strings.CutSuffix(s, u.text)
		if !ok {
			continue
		}
		if len(num) > 32 || strings.Trim(num, "0123456789.") != "" {
			break // an exponent would make a number of any size
		}
		r, ok := new(big.Rat).SetString(num)
		if !ok {
			break
		}
		v, _ := new(big.Float).SetRat(r.Mul(r, new(big.Rat).SetInt64(u.by))).Uint64()
		if v < 1e3 || v > 1e15 {
			return 0, errors.New("must be between 1k and 1P")
		}
		return v, nil
	}
	return 0, errors.New("not a quantity")
}

// SetPodCIDR notes the node's pod address ranges (comma separated), which
// the cluster hands out; plugins get them as the ipRanges capability.
func (n *Network) SetPodCIDR(cidr string) error {
	for _, s := range strings.Split(cidr, ",") {
		if _, err := netip.ParsePrefix(s); err != nil {
			return fmt.Errorf("pod cidr %q: %w", s, err)
		}
	}
	path := filepath.Join(n.state, "podcidr")
	if err := os.WriteFile(path+".tmp", []byte(cidr), 0o600); err != nil {
		return fmt.Errorf("pod cidr: %w", err)
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return fmt.Errorf("pod cidr: %w", err)
	}
	return nil
}

func (n *Network) podCIDR() string {
	b, err := os.ReadFile(filepath.Join(n.state, "podcidr"))
	if err != nil {
		return ""
	}
	return string(b)
}
