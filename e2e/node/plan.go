package node

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"sigs.k8s.io/yaml"

	"github.com/varve-cri/varve/e2e/audit"
)

// Options is what a node may differ in.
type Options struct {
	Mirror string // http://HOST:PORT that every registry name is pulled from
	Config string // a varved configuration to start from; the node's own paths go over it
}

// Node is a node that was planned in a directory.
type Node struct {
	audit.Scope
	config string // varved's configuration file; "" runs with the embedded one
}

// Default is the node that varved makes when no one configures it; its log and
// pid file are in dir.
func Default(dir string) (*Node, error) {
	n := &Node{Scope: audit.Scope{
		Dir: dir, Dirs: []string{"/run/varve", "/var/lib/varve"},
		CgroupParent: "/varve", Network: "varve", Bridge: "varve0", Subnet: "10.87.0.0/16",
		Leases: "/var/lib/varve/cni/leases", Layers: layersOf("/var/lib/varve"),
	}}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return n, n.Save()
}

// Plan makes the directory, the network and the configuration of a new node.
func Plan(dir string, o Options) (*Node, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if _, err := audit.Load(dir); err == nil {
		return nil, fmt.Errorf("%s holds a node already: start it or take it down", dir)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(dir))
	name := hex.EncodeToString(sum[:4])
	n := &Node{config: filepath.Join(dir, configFile), Scope: audit.Scope{
		Dir: dir, CgroupParent: "/varve-" + name, Network: "varve-" + name, Bridge: "vv" + name,
		Leases: filepath.Join(dir, "cni/leases"), Layers: layersOf(filepath.Join(dir, "images")),
	}}
	if err := n.makeBridge(sum[4:]); err != nil {
		return nil, err
	}
	err = errors.Join(n.Save(), n.writeConflist(), n.writeConfig(o))
	if err != nil {
		n.removeBridge()
	}
	return n, err
}

// Load finds the node that Plan or Default made in dir.
func Load(dir string) (*Node, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	scope, err := audit.Load(dir)
	if err != nil {
		return nil, err
	}
	n := &Node{Scope: scope}
	if file := filepath.Join(dir, configFile); len(scope.Dirs) == 0 {
		n.config = file
	}
	return n, nil
}

const configFile = "varved.yaml"

// Socket is the path of the node's CRI socket.
func (n *Node) Socket() string {
	if n.config == "" {
		return "/run/varve/varve.sock"
	}
	return filepath.Join(n.Dir, "varve.sock")
}

// AdminSocket is the path of the operator's socket.
func (n *Node) AdminSocket() string {
	if n.config == "" {
		return "/run/varve/admin.sock"
	}
	return filepath.Join(n.Dir, "state/admin.sock")
}

// Log is the path of the daemon's log.
func (n *Node) Log() string { return filepath.Join(n.Dir, "varved.log") }

func (n *Node) writeConfig(o Options) error {
	config := map[string]any{}
	if o.Config != "" {
		body, err := os.ReadFile(o.Config)
		if err != nil {
			return err
		}
		if err := yaml.Unmarshal(body, &config); err != nil {
			return fmt.Errorf("configuration %s: %w", o.Config, err)
		}
	}
	for field, value := range map[string]any{
		"apiVersion": "varve.dev/v1alpha1", "kind": "VarvedConfiguration",
		"socket": n.Socket(), "stateDir": filepath.Join(n.Dir, "state"), "rootDir": filepath.Join(n.Dir, "images"),
		"cgroup": map[string]any{"parent": n.CgroupParent},
	} {
		config[field] = value
	}
	network := section(config, "network")
	network["confDir"] = filepath.Join(n.Dir, "cni/net.d")
	network["cacheDir"] = filepath.Join(n.Dir, "cni/cache")
	images := section(config, "images")
	if images["registryConfigDirs"] == nil {
		images["registryConfigDirs"] = []any{filepath.Join(n.Dir, "certs.d")}
	}
	if o.Mirror != "" {
		rules, _ := images["registries"].([]any) // a registry with a rule of its own keeps it
		images["registries"] = append(rules, map[string]any{
			"name": "*", "mirrors": []any{map[string]any{"url": o.Mirror}}, "mirrorsOnly": true,
		})
	}
	body, err := yaml.Marshal(config)
	if err != nil {
		return err
	}
	return os.WriteFile(n.config, body, 0o600)
}

// section returns the map of a field, made if it is not there.
func section(config map[string]any, field string) map[string]any {
	if have, ok := config[field].(map[string]any); ok {
		return have
	}
	made := map[string]any{}
	config[field] = made
	return made
}
