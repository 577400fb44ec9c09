package audit

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Scope is how the things of one node are told from those of others. It is
// kept in the node's directory.
type Scope struct {
	Dir          string   `json:"dir"`          // the node's own directory
	Dirs         []string `json:"dirs"`         // further directories of the node
	CgroupParent string   `json:"cgroupParent"` // "/name", in every hierarchy
	Network      string   `json:"network"`      // name of the CNI network
	Bridge       string   `json:"bridge"`       // its bridge
	Subnet       string   `json:"subnet"`       // its addresses, "10.1.2.0/24"
	Leases       string   `json:"leases"`       // directory of the host-local plugin
	Layers       string   `json:"layers"`       // directory that holds one entry per read-write layer
}

const scopeFile = "node.json"

// Load reads the scope of the node that was made in dir.
func Load(dir string) (Scope, error) {
	var s Scope
	body, err := os.ReadFile(filepath.Join(dir, scopeFile))
	if err != nil {
		return s, fmt.Errorf("no node in %s: %w", dir, err)
	}
	if err := json.Unmarshal(body, &s); err != nil {
		return s, fmt.Errorf("read %s of %s: %w", scopeFile, dir, err)
	}
	return s, nil
}

// Save writes the scope into the node's directory.
func (s Scope) Save() error {
	body, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(s.Dir, scopeFile), body, 0o600)
}

// owns says whether a path is one of the node's.
func (s Scope) owns(path string) bool {
	for _, dir := range append([]string{s.Dir}, s.Dirs...) {
		if dir != "" && (path == dir || strings.HasPrefix(path, dir+"/")) {
			return true
		}
	}
	return false
}

// Take lists all that the node holds now, one line for each thing, sorted.
func (s Scope) Take() []string {
	var found []string
	for _, part := range []func(Scope) []string{
		mounts, cgroups, processes, sockets, interfaces, leases, layers, rules,
	} {
		found = append(found, part(s)...)
	}
	slices.Sort(found)
	return found
}

// Minus is what of now was not there before.
func Minus(now, before []string) []string {
	return slices.DeleteFunc(slices.Clone(now), func(item string) bool { return slices.Contains(before, item) })
}
