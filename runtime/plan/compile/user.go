package compile

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/varve-cri/varve/runtime/plan"
	"golang.org/x/sys/unix"
)

// mapping is one side of a user namespace, its users or its groups. A nil one
// is no mapping: the ids are the host's.
type mapping []specs.LinuxIDMapping

// host returns what an id of the container is to the host.
func (m mapping) host(id uint32) (uint32, bool) {
	if m == nil {
		return id, true
	}
	for _, r := range m {
		if id >= r.ContainerID && id-r.ContainerID < r.Size {
			return r.HostID + (id - r.ContainerID), true
		}
	}
	return 0, false
}

// orRoot is host for what must have an owner: root, if there is no such id.
func (m mapping) orRoot(id uint32) uint32 {
	if h, ok := m.host(id); ok {
		return h
	}
	root, _ := m.host(0)
	return root
}

// owners is the mapping of a container.
type owners struct{ uids, gids mapping }

// userNamespace reads the mapping. A user namespace always exists: it is the
// one that owns the other namespaces which the container joins.
func userNamespace(linux *specs.Linux) (owners, error) {
	var o owners
	for i, n := range linux.Namespaces {
		if n.Type != specs.UserNamespace {
			continue
		}
		if n.Path == "" {
			return o, fmt.Errorf("linux.namespaces[%d].path: missing; a user namespace is joined, not made", i)
		}
		o.uids, o.gids = linux.UIDMappings, linux.GIDMappings
	}
	for _, m := range []struct {
		field string
		have  mapping
		said  []specs.LinuxIDMapping
	}{{"linux.uidMappings", o.uids, linux.UIDMappings}, {"linux.gidMappings", o.gids, linux.GIDMappings}} {
		if m.have == nil && len(m.said) > 0 {
			return o, fmt.Errorf("%s: there is no user namespace", m.field)
		}
		if _, ok := m.have.host(0); !ok || len(m.said) == 0 && (o.uids != nil || o.gids != nil) {
			return o, fmt.Errorf("%s: id 0 is not mapped", m.field)
		}
	}
	return o, nil
}

// mapped tells whether there is a user namespace.
func (o owners) mapped() bool { return o.uids != nil }

// apply turns the ids of p that the host works with into the host's.
func (o owners) apply(p *plan.Plan) error {
	if !o.mapped() {
		return nil
	}
	p.Owner = plan.Owner{UID: o.uids.orRoot(0), GID: o.gids.orRoot(0)}
	for i := range p.Devices {
		d := &p.Devices[i]
		d.UID, d.GID = o.uids.orRoot(d.UID), o.gids.orRoot(d.GID)
	}
	for i := range p.Mounts {
		m := &p.Mounts[i]
		if m.Propagation&unix.MS_SHARED != 0 {
			return fmt.Errorf("mount %s on %s: mounts do not spread from a user namespace to the host", m.Source, m.Target)
		}
		if m.Type == "tmpfs" || m.Type == "devpts" {
			o.options(m.Data)
		}
	}
	return o.process(&p.Process)
}

// options maps the owners that a new file system's options name.
func (o owners) options(data []string) {
	for i, option := range data {
		key, value, _ := strings.Cut(option, "=")
		id, err := strconv.ParseUint(value, 10, 32)
		if err != nil {
			continue
		}
		switch key {
		case "uid":
			data[i] = "uid=" + strconv.FormatUint(uint64(o.uids.orRoot(uint32(id))), 10)
		case "gid":
			data[i] = "gid=" + strconv.FormatUint(uint64(o.gids.orRoot(uint32(id))), 10)
		}
	}
}

// process checks that the process can be whom it is to be, and notes whom the
// host sees.
func (o owners) process(p *plan.Process) error {
	if !o.mapped() {
		return nil
	}
	var ok bool
	if p.HostUID, ok = o.uids.host(p.UID); !ok {
		return fmt.Errorf("process.user.uid: %d is not mapped in the user namespace", p.UID)
	}
	for _, g := range append([]uint32{p.GID}, p.Groups...) {
		if _, ok := o.gids.host(g); !ok {
			return fmt.Errorf("process.user: group %d is not mapped in the user namespace", g)
		}
	}
	p.UserNS = true
	return nil
}

// Exec returns the plan's form of the spec's process, for one that joins the
// container. seccomp is its compiled filter; empty is none.
func Exec(spec *specs.Spec, seccomp []byte) (*plan.Process, error) {
	p, err := Process(spec.Process, seccomp)
	if err != nil || spec.Linux == nil {
		return p, err
	}
	o, err := userNamespace(spec.Linux)
	if err != nil {
		return nil, err
	}
	return p, o.process(p)
}
