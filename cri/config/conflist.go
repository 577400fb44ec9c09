package config

import "encoding/json"

// DefaultNetworkName is the name of the network of DefaultConflist.
const DefaultNetworkName = "varve"

// conflist is the part of a CNI network configuration list that the default
// network needs.
type conflist struct {
	CNIVersion string `json:"cniVersion"`
	Name       string `json:"name"`
	Plugins    []any  `json:"plugins"`
}

type bridgePlugin struct {
	Type        string `json:"type"`
	Bridge      string `json:"bridge"`
	IsGateway   bool   `json:"isGateway"`
	IPMasq      bool   `json:"ipMasq"`
	HairpinMode bool   `json:"hairpinMode"`
	IPAM        ipam   `json:"ipam"`
}

type ipam struct {
	Type    string      `json:"type"`
	DataDir string      `json:"dataDir"`
	Ranges  [][]subnet  `json:"ranges"`
	Routes  []ipamRoute `json:"routes"`
}

type subnet struct {
	Subnet string `json:"subnet"`
}

type ipamRoute struct {
	Dst string `json:"dst"`
}

type chained struct {
	Type         string          `json:"type"`
	Capabilities map[string]bool `json:"capabilities,omitempty"`
}

// DefaultConflist returns the CNI configuration list of the default network,
// for when confDir holds none; nil when it is disabled.
func (c *Config) DefaultConflist() ([]byte, error) {
	d := c.Network.DefaultNetwork
	if d.Enabled != nil && !*d.Enabled {
		return nil, nil
	}
	list := conflist{CNIVersion: "1.0.0", Name: DefaultNetworkName, Plugins: []any{
		bridgePlugin{
			Type: "bridge", Bridge: d.Bridge, IsGateway: true, IPMasq: true, HairpinMode: true,
			IPAM: ipam{
				Type: "host-local", DataDir: d.DataDir,
				Ranges: [][]subnet{{{Subnet: d.Subnet}}},
				Routes: []ipamRoute{{Dst: "0.0.0.0/0"}},
			},
		},
		chained{Type: "portmap", Capabilities: map[string]bool{"portMappings": true}},
	}}
	if d.Firewall {
		list.Plugins = append(list.Plugins, chained{Type: "firewall"})
	}
	return json.MarshalIndent(list, "", "  ")
}
