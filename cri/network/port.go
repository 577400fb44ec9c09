package network

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

// PortError is a port of the host that another pod has.
type PortError struct {
	Port Port // as asked for
	// PodID, Namespace and Name are of the pod that has it, on HostIP ("" is all
	// addresses).
	PodID, Namespace, Name, HostIP string
	// Detach is why that pod still has it although it has been stopped; nil
	// while nobody has tried to detach it. It is no cause of this error: its kind
	// says nothing about the pod that is refused.
	Detach error
}

// Error names the port and the pod that has it.
func (e *PortError) Error() string {
	text := fmt.Sprintf("host port %d/%s on %s is that of pod %s/%s (%s)",
		e.Port.HostPort, e.Port.Protocol, shownIP(e.Port.HostIP), e.Namespace, e.Name, e.PodID)
	if e.HostIP != e.Port.HostIP {
		text += " on " + shownIP(e.HostIP)
	}
	if e.Detach != nil {
		text += fmt.Sprintf(", which is stopped but not yet detached: %v", e.Detach)
	}
	return text
}

func shownIP(ip string) string {
	if ip == "" {
		return "all addresses"
	}
	return ip
}

// portBook says which pod has which ports of the host: of two pods that want
// one port, the plugins serve the first and say nothing to the second. A pod has its ports
// for as long as its DEL is owed, because until then the host's rules may be there.
// The duties that a daemon before has left are read when a pod first asks for a port: a
// node without host ports reads nothing.
type portBook struct {
	mu     sync.Mutex
	read   bool                  // the duties from before are in it
	owners map[string]*portOwner // by the pod's id
	taken  map[portKey][]portHeld
}

// portKey is what two ports must have in common to be one.
type portKey struct {
	protocol string
	number   int32
}

// portHeld is that a pod has a port on an address.
type portHeld struct {
	ip    string
	owner *portOwner
}

// portOwner is a pod with ports.
type portOwner struct {
	id, namespace, name string
	ports               []Port
	detach              error // of the last try
}

// take gives all ports to the pod, or none.
func (b *portBook) take(n *Network, p *Pod, ports []Port) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.read {
		if err := b.recall(n); err != nil {
			return err
		}
		b.read = true
	}
	for _, port := range ports {
		for _, h := range b.taken[portKey{port.Protocol, port.HostPort}] {
			if o := h.owner; o.id != p.ID && overlap(port.HostIP, h.ip) {
				return &PortError{Port: port, PodID: o.id, Namespace: o.namespace, Name: o.name, HostIP: h.ip, Detach: o.detach}
			}
		}
	}
	b.add(&portOwner{id: p.ID, namespace: p.Namespace, name: p.Name, ports: ports})
	return nil
}

// recall reads the duties of a daemon before. One from before the last boot
// owes a DEL as well, but the host's rules are gone. One that cannot be read is skipped: it
// is no reason to refuse other pods.
func (b *portBook) recall(n *Network) error {
	entries, err := os.ReadDir(filepath.Join(n.state, "duties"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("network duties: %w", err)
	}
	b.owners, b.taken = map[string]*portOwner{}, map[portKey][]portHeld{}
	for _, e := range entries {
		d, err := n.readDuty(e.Name())
		if err != nil || d == nil || d.BootID != n.boot || d.PodID != e.Name() {
			continue // also a file that is being written: its pod has no ports, or waits for us
		}
		if ports := d.ports(); len(ports) > 0 {
			b.add(&portOwner{id: d.PodID, namespace: d.arg("K8S_POD_NAMESPACE"), name: d.arg("K8S_POD_NAME"), ports: ports})
		}
	}
	return nil
}

func (b *portBook) add(o *portOwner) {
	b.owners[o.id] = o
	for _, p := range o.ports {
		k := portKey{p.Protocol, p.HostPort}
		b.taken[k] = append(b.taken[k], portHeld{p.HostIP, o})
	}
}

// give takes the ports of a pod back that is detached, or was never attached.
func (b *portBook) give(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	o := b.owners[id]
	if o == nil {
		return
	}
	delete(b.owners, id)
	for _, p := range o.ports {
		k := portKey{p.Protocol, p.HostPort}
		b.taken[k] = slices.DeleteFunc(b.taken[k], func(h portHeld) bool { return h.owner == o })
		if len(b.taken[k]) == 0 {
			delete(b.taken, k)
		}
	}
}

// note remembers why a pod that should have been detached is not.
func (b *portBook) note(id string, why error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if o := b.owners[id]; o != nil {
		o.detach = why
	}
}

// overlap says whether a connection can be to both addresses. "" is all
// addresses; 0.0.0.0 and :: are all of their families.
func overlap(a, b string) bool {
	x, y := address(a), address(b)
	switch {
	case !x.IsValid() || !y.IsValid():
		return true
	case x.Is4() != y.Is4():
		return false
	}
	return x == y || x.IsUnspecified() || y.IsUnspecified()
}

func address(ip string) netip.Addr {
	a, _ := netip.ParseAddr(ip) // what is no address is the invalid one: all
	return a.Unmap()
}
