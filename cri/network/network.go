package network

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
)

// Interface is the pod's interface; Kubernetes expects this name.
const Interface = "eth0"

// Network attaches pods to one CNI network. Its methods may be called from
// many goroutines at once, but for one pod only one at a time.
type Network struct {
	cni   *libcni.CNIConfig
	exec  *runner
	conf  loader
	state string
	boot  string
	ports portBook
}

// New makes the folders that duties and results are kept in.
func New(cfg Config) (*Network, error) {
	for _, dir := range []string{"duties", "cache", "locks"} {
		if err := os.MkdirAll(filepath.Join(cfg.StateDir, dir), 0o700); err != nil {
			return nil, fmt.Errorf("network state: %w", err)
		}
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return nil, fmt.Errorf("boot id: %w", err)
	}
	r := &runner{}
	return &Network{
		cni:   libcni.NewCNIConfigWithCacheDir(cfg.BinDirs, filepath.Join(cfg.StateDir, "cache"), r),
		exec:  r,
		conf:  loader{dir: cfg.ConfDir, builtin: cfg.Default},
		state: cfg.StateDir,
		boot:  strings.TrimSpace(string(boot)),
	}, nil
}

// Attach runs ADD for the pod and returns its addresses. The duty to undo it
// is on disk before the first plugin runs, and stays when Attach fails: the
// caller calls Detach either way. A port of the host that another pod has is a
// *PortError, for which nothing was done.
func (n *Network) Attach(ctx context.Context, p Pod) ([]net.IP, error) {
	c, err := n.conf.list()
	if err != nil {
		return nil, err
	}
	args, err := p.args()
	if err != nil {
		return nil, err
	}
	capabilities, err := p.capabilities(n.podCIDR())
	if err != nil {
		return nil, err
	}
	d := &duty{
		PodID: p.ID, NetNS: p.NetNS, BootID: n.boot, At: time.Now(), Source: c.source,
		Conf: c.list.Bytes, Args: args, Capabilities: capabilities,
	}
	if err := n.begin(&p, d); err != nil {
		return nil, err
	}
	ctx, lock, err := n.hold(ctx, p.ID)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	res, err := n.cni.AddNetworkList(ctx, c.list, d.runtimeConf(p.NetNS))
	if err != nil {
		return nil, explain(c.list.Name, "add", err)
	}
	ips, err := addresses(res)
	if err != nil {
		return nil, explain(c.list.Name, "read the result", err)
	}
	return ips, nil
}

// begin takes the pod's ports and writes its duty down.
func (n *Network) begin(p *Pod, d *duty) error {
	ports := p.hostPorts()
	if len(ports) == 0 {
		return n.writeDuty(d)
	}
	if err := n.ports.take(n, p, ports); err != nil {
		return err
	}
	err := n.writeDuty(d)
	if err != nil {
		n.ports.give(p.ID)
	}
	return err
}

// Detach runs DEL for the pod as it was attached, and forgets the duty when
// it succeeded. It is idempotent: a pod that owes nothing is detached. The end
// of ctx kills a plugin in the middle, after which not every plugin finds all
// that it has to undo: a caller's deadline should not be the plugins'.
func (n *Network) Detach(ctx context.Context, id string) error {
	d, err := n.readDuty(id)
	if err != nil {
		return err
	}
	if d == nil {
		n.ports.give(id)
		return nil
	}
	list, err := d.list()
	if err != nil {
		return fmt.Errorf("network duty of pod %s: configuration: %w", id, err)
	}
	ctx, lock, err := n.hold(ctx, id)
	if err != nil {
		return err
	}
	defer lock.Close()
	netns := d.NetNS
	if !n.alive(d) {
		netns = "" // by the specification DEL does without a namespace
	}
	if err := n.cni.DelNetworkList(ctx, list, d.runtimeConf(netns)); err != nil {
		err = explain(list.Name, "delete", err)
		n.ports.note(id, err)
		return err
	}
	err = n.dropDuty(id)
	n.ports.give(id)
	return errors.Join(err, n.dropLock(id))
}

// alive says whether the duty's namespace can still be there.
func (n *Network) alive(d *duty) bool {
	if d.BootID != n.boot || d.NetNS == "" {
		return false
	}
	_, err := os.Stat(d.NetNS)
	return !errors.Is(err, fs.ErrNotExist)
}

// Check asks the plugins whether the pod is attached as it should be.
func (n *Network) Check(ctx context.Context, id string) error {
	d, err := n.readDuty(id)
	if err != nil {
		return err
	}
	if d == nil {
		return fmt.Errorf("pod %s is not attached to a network", id)
	}
	list, err := d.list()
	if err != nil {
		return fmt.Errorf("network duty of pod %s: configuration: %w", id, err)
	}
	if err := n.cni.CheckNetworkList(ctx, list, d.runtimeConf(d.NetNS)); err != nil {
		return explain(list.Name, "check", err)
	}
	return nil
}

// explain prefers the plugin's own complaint to libcni's sentence around it.
func explain(network, step string, err error) error {
	var pe *PluginError
	if errors.As(err, &pe) {
		err = pe
	} else if inner := errors.Unwrap(err); inner != nil && strings.Contains(err.Error(), "failed (") {
		err = inner
	}
	return fmt.Errorf("network %s: %s: %w", network, step, err)
}

// addresses picks the pod's own addresses out of a result, IPv4 first: the
// first one becomes status.podIP wherever the cluster states no preference.
func addresses(res types.Result) ([]net.IP, error) {
	r, err := types100.NewResultFromResult(res)
	if err != nil {
		return nil, err
	}
	var v4, v6 []net.IP
	for _, c := range r.IPs {
		if i := c.Interface; i != nil && *i >= 0 && *i < len(r.Interfaces) && r.Interfaces[*i].Sandbox == "" {
			continue // an address of the host's side
		}
		if c.Address.IP.To4() != nil {
			v4 = append(v4, c.Address.IP)
		} else if len(c.Address.IP) == net.IPv6len {
			v6 = append(v6, c.Address.IP)
		}
	}
	if len(v4)+len(v6) == 0 {
		return nil, errors.New("no address for the pod in it")
	}
	return append(v4, v6...), nil
}

func attachment(id string) types.GCAttachment {
	return types.GCAttachment{ContainerID: id, IfName: Interface}
}
