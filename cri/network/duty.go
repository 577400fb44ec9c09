package network

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/containernetworking/cni/libcni"
)

// duty is a DEL that is owed: all that the call needs, written before the ADD
// that it undoes. There is one file per pod.
type duty struct {
	PodID        string          `json:"podID"`
	NetNS        string          `json:"netns"`
	BootID       string          `json:"bootID"`
	At           time.Time       `json:"at"`
	Source       string          `json:"source"`
	Conf         json.RawMessage `json:"conf"`
	Args         [][2]string     `json:"args"`
	Capabilities map[string]any  `json:"capabilities,omitempty"`
}

var podID = regexp.MustCompile(`^[0-9a-zA-Z][0-9a-zA-Z_.-]*$`)

func (n *Network) dutyPath(id string) (string, error) {
	if !podID.MatchString(id) {
		return "", fmt.Errorf("pod id %q: not a name", id)
	}
	return filepath.Join(n.state, "duties", id), nil
}

// writeDuty leaves the old file or the new one. There is no fsync: what a
// power cut loses here, it has lost in the plugins' own state as well.
func (n *Network) writeDuty(d *duty) error {
	path, err := n.dutyPath(d.PodID)
	if err != nil {
		return err
	}
	b, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("network duty of pod %s: encode: %w", d.PodID, err)
	}
	tmp := path + ".tmp"
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return fmt.Errorf("network duty of pod %s: write: %w", d.PodID, err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("network duty of pod %s: write: %w", d.PodID, err)
	}
	return nil
}

// readDuty returns nil when nothing is owed for the pod.
func (n *Network) readDuty(id string) (*duty, error) {
	path, err := n.dutyPath(id)
	if err != nil {
		return nil, err
	}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("network duty of pod %s: read: %w", id, err)
	}
	d, err := decodeDuty(b)
	if err != nil {
		return nil, fmt.Errorf("network duty of pod %s: decode: %w", id, err)
	}
	return d, nil
}

func decodeDuty(b []byte) (*duty, error) {
	d := &duty{}
	if err := json.Unmarshal(b, d); err != nil {
		return nil, err
	}
	if !podID.MatchString(d.PodID) {
		return nil, fmt.Errorf("pod id %q: not a name", d.PodID)
	}
	return d, nil
}

func (n *Network) dropDuty(id string) error {
	path, err := n.dutyPath(id)
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("network duty of pod %s: remove: %w", id, err)
	}
	return nil
}

// Owed lists the pods for which a DEL is owed.
func (n *Network) Owed() ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(n.state, "duties"))
	if err != nil {
		return nil, fmt.Errorf("network duties: %w", err)
	}
	var ids []string
	for _, e := range entries {
		name := e.Name()
		if filepath.Ext(name) == ".tmp" { // a write that a crash cut off; no ADD followed it
			_ = os.Remove(filepath.Join(n.state, "duties", name))
			continue
		}
		ids = append(ids, name)
	}
	return ids, nil
}

func (d *duty) list() (*libcni.NetworkConfigList, error) {
	return libcni.NetworkConfFromBytes(d.Conf)
}

func (d *duty) runtimeConf(netns string) *libcni.RuntimeConf {
	return &libcni.RuntimeConf{
		ContainerID: d.PodID, NetNS: netns, IfName: Interface,
		Args: d.Args, CapabilityArgs: d.Capabilities,
	}
}

// ports is the ports of the host that the duty's ADD may have mapped.
func (d *duty) ports() []Port {
	b, err := json.Marshal(d.Capabilities["portMappings"])
	if err != nil {
		return nil
	}
	var ports []Port
	if json.Unmarshal(b, &ports) != nil {
		return nil
	}
	return ports
}

// arg is the value of one of CNI_ARGS.
func (d *duty) arg(key string) string {
	for _, kv := range d.Args {
		if kv[0] == key {
			return kv[1]
		}
	}
	return ""
}
