package plan

// Plan is everything that the making of one container needs, decided: no
// field is optional in the sense of "find out later". It is a plain value;
// Compile makes it from an OCI spec, Encode and Decode carry it to the shim.
//
// Every path that names something inside the container is an absolute path
// in the container's root and is resolved there by descriptor, never from the
// host. Every path that names something of the host says so.
type Plan struct {
	ID         string
	Namespaces []Namespace
	Hostname   string // set only when Namespaces holds a new uts namespace
	Domainname string // likewise
	Root       Root
	Owner      Owner // of what is made for the container
	Mounts     []Mount
	Devices    []Device // made after the mounts, where they are not there yet
	Links      []Link   // likewise
	Masked     []string
	Readonly   []string
	Cgroup     Cgroup
	Process    Process
}

// NamespaceType is the CLONE_NEW* flag of a namespace.
type NamespaceType uint64

// Device kinds.
const (
	CharDevice  byte = 'c'
	BlockDevice byte = 'b'
	FIFO        byte = 'p'
)

// Namespace is one namespace of the container: a new one when Path is empty,
// else the one that the host path Path (an nsfs file) names. A type that the
// list lacks is shared with the host.
type Namespace struct {
	Type NamespaceType
	Path string
}

// Owner is root of the container as the host knows it: 0 and 0 unless it has a
// user namespace.
type Owner struct{ UID, GID uint32 }

// Root says how the root mount, which arrives as a detached mount's
// descriptor, is used.
type Root struct {
	Readonly    bool
	Propagation uint64 // MS_PRIVATE, MS_SLAVE, MS_SHARED (| MS_REC); 0 is MS_PRIVATE|MS_REC
}

// Image is the type of a mount that arrives as a descriptor, as the root does:
// the nth of the list is the nth of the descriptors. It shows an image, or a path
// of the host with other owners (idmapped).
const Image = "image"

// Mount is one mount inside the container, in the order of the list.
type Mount struct {
	Target                   string   // path in the container; made when missing
	Type                     string   // "bind", "image", or a filesystem type: proc sysfs tmpfs devpts mqueue cgroup ...
	Source                   string   // bind: host path. image: what messages call it. Otherwise the name shown in mountinfo
	Data                     []string // filesystem options, "key=value" or "key" (fsconfig)
	AttrSet, AttrClear       uint64   // MOUNT_ATTR_* of this mount
	RecAttrSet, RecAttrClear uint64   // MOUNT_ATTR_* for the whole tree below (mount_setattr AT_RECURSIVE, Linux 5.12)
	Recursive                bool     // bind: take the mounts below the source along (rbind)
	Propagation              uint64   // MS_PRIVATE, MS_SLAVE, MS_SHARED (| MS_REC); 0 is MS_PRIVATE|MS_REC
	NoFollow                 bool     // bind: a Source that is a symbolic link is an error, not followed
}

// Device is one device node in the container. Its owner is the host's id.
type Device struct {
	Path         string // path in the container
	Kind         byte   // 'c', 'b' or 'p'
	Major, Minor uint32
	Mode         uint32 // permission bits
	UID, GID     uint32
}

// Link is one symbolic link in the container. One that exists is left alone.
type Link struct {
	Path, Target string
}

// Cgroup is where the container's first process goes: host paths of cgroup
// directories that exist, v1 hierarchies first. V2 is entered with
// CLONE_INTO_CGROUP (Linux 5.7), the others by a write to cgroup.procs.
type Cgroup struct {
	V1 []string
	V2 string
}

// Process is what runs: the first process of a container or an exec'd one.
type Process struct {
	Args              []string
	Env               []string
	Cwd               string
	Terminal          bool
	Rows, Cols        uint16
	UID, GID          uint32
	Groups            []uint32
	UserNS            bool   // the ids are those of a user namespace, which is joined
	HostUID           uint32 // what UID is to the host; see Host
	Umask             int32  // -1 is 022
	Caps              Caps
	NoNewPrivs        bool
	Seccomp           []byte // compiled cBPF program (struct sock_filter array, native order); empty is none
	SeccompFlags      uint32 // SECCOMP_FILTER_FLAG_*
	Rlimits           []Rlimit
	OOMScoreAdj       int32
	SetOOMScoreAdj    bool
	AppArmor, SELinux string // labels for exec; empty is none

	// Pause runs the built-in pause program instead of Args: the init of a
	// PID namespace that several containers share. It needs no root.
	Pause bool
}

// Caps is the five capability sets as bit masks (bit n is capability n).
type Caps struct {
	Bounding, Effective, Permitted, Inheritable, Ambient uint64
}

// Rlimit is one resource limit; Type is RLIMIT_*.
type Rlimit struct {
	Type       uint32
	Soft, Hard uint64
}

// Bound tells whether the mount shows what is there already, a directory or a
// file, instead of a new file system.
func (m *Mount) Bound() bool { return m.Type == "bind" || m.Type == Image }

// Host is the user of the process as the host knows it.
func (p *Process) Host() uint32 {
	if p.UserNS {
		return p.HostUID
	}
	return p.UID
}

// Makes tells whether a namespace of the type is made anew.
func (p *Plan) Makes(t NamespaceType) bool {
	for _, n := range p.Namespaces {
		if n.Type == t && n.Path == "" {
			return true
		}
	}
	return false
}

// Images counts the mounts that arrive as descriptors.
func (p *Plan) Images() (n int) {
	for i := range p.Mounts {
		if p.Mounts[i].Type == Image {
			n++
		}
	}
	return n
}
