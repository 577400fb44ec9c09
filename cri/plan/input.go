package plan

import (
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/opencontainers/runtime-spec/specs-go"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/config"
	"github.com/varve-cri/varve/cri/record"
	"github.com/varve-cri/varve/cri/signal"
	"github.com/varve-cri/varve/runtime/idmap"
)

// ContainerInput is all that a container's plan depends on.
type ContainerInput struct {
	ID        string // the container's
	Config    *runtimeapi.ContainerConfig
	PodConfig *runtimeapi.PodSandboxConfig // as the pod was made with, not as sent again
	Pod       PodFacts
	Image     ocispec.ImageConfig
	// Volumes are the ids of the images that Config.Mounts name, by index.
	Volumes map[int]string
	// Devices is what the CDI devices that Config names do.
	Devices []record.Edits
	Passwd  []byte // the image's /etc/passwd and /etc/group; nil without one
	Group   []byte
	Handler config.Handler // of the pod, resolved by Config.Handler
	Host    *Host
}

// PodFacts is what the pod has that its containers share. Paths are the
// host's; an empty one means that the pod has none of its own.
type PodFacts struct {
	ID                  string
	NetNS, IPCNS, UTSNS string // pinned namespaces; empty is the host's
	UserNS              *UserNamespace
	UserNSPath          string // where UserNS is pinned
	PIDNS               string // of the pod's pause process
	TargetPIDNS         string // of the container that pid TARGET names
	CgroupParent        string // containers are its children
	Hostname            string // for the variable HOSTNAME
	Shm                 string // directory for /dev/shm; the host's /dev/shm with the host's IPC
	ResolvConf          string
	Hosts               string
	HostnameFile        string
}

// Host is the facts of this node. It is read once at the start and shared.
type Host struct {
	Capabilities []string          // the daemon's bounding set, "CAP_CHOWN" ...
	Restrict     Restrict          // config.Limits, resolved for this node
	OOMScoreAdj  int               // the daemon's own
	Rlimits      map[string]uint64 // hard limits of the daemon, by name as in config.RlimitNames
	Unified      []string          // cgroup controllers whose files resources.unified can set: all on v2, few on hybrid
	SwapLimit    bool              // the memory controller counts swap
	RecursiveRO  bool              // mount_setattr(AT_RECURSIVE), Linux 5.12
	AppArmor     bool
	// AppArmorDefault says that the profile AppArmorDefault is loaded or can be.
	AppArmorDefault bool
	SELinux         bool
	MaskedPaths     []string // what of this machine is masked beside DefaultMaskedPaths
	Devices         DeviceFinder
}

// Restrict is what a node without CAP_SYS_RESOURCE degrades, and how: see
// config.Limits.
type Restrict struct {
	OOMScoreAdj, Rlimits, Capabilities bool
}

// DeviceFinder looks at device nodes of the host. It is the one part of the
// facts that is asked for by name.
type DeviceFinder interface {
	// Find returns the device at a host path, or all devices below it when it
	// is a directory, each with its host path.
	Find(hostPath string) ([]specs.LinuxDevice, error)
	// All returns the devices of the host's /dev, for privileged containers.
	All() ([]specs.LinuxDevice, error)
}

// ContainerPlan is what a container is going to be.
type ContainerPlan struct {
	Spec       *specs.Spec
	User       User
	StopSignal signal.Signal
	LogPath    string // host path; empty when no log is wanted
	Stdin      bool
	StdinOnce  bool
	Seccomp    SeccompChoice
	// Mounts is what ContainerStatus.mounts shows.
	Mounts []*runtimeapi.Mount
	// Volumes are what is mounted before the start and handed over, in the order
	// of the spec's mounts: those of type "image", and those with mappings.
	Volumes []Volume `json:",omitempty"`
	// Sources are the host paths that must be there, to be looked at (with a
	// deadline: one may be on a dead NFS server) before anything is made.
	Sources []Source
	// Relabel are host paths that get the file label (Spec.Linux.MountLabel).
	Relabel []Source `json:",omitempty"`
	// Notes say what was degraded by an explicit choice of the configuration,
	// for the log.
	Notes []string
}

// Volume is an image, or a path of the host with other owners than its files
// have there.
type Volume struct {
	Field    string        // "config.mounts[2].image"
	ImageID  string        `json:",omitempty"`
	SubPath  string        `json:",omitempty"` // what of the image; empty is all
	HostPath string        `json:",omitempty"` // instead of an image
	UIDs     []idmap.Range `json:",omitempty"` // other owners than the files have there
	GIDs     []idmap.Range `json:",omitempty"`
	Label    string        `json:",omitempty"` // of SELinux, for all files of the image
}

// User is the identity of the first process.
type User struct {
	UID, GID uint32
	Groups   []uint32 // the primary group first
	Home     string   // from the image's passwd, else "/"
}

// Source is a host path of a request.
type Source struct {
	Field string // "mounts[2].host_path"
	Path  string
	// Propagation is what the mount asks for: HOST_TO_CONTAINER needs a shared
	// or slave mount on the host, BIDIRECTIONAL a shared one.
	Propagation runtimeapi.MountPropagation
}

// SeccompKind is how a container's seccomp profile is found.
type SeccompKind string

// The kinds of seccomp profiles.
const (
	SeccompUnconfined SeccompKind = "Unconfined"
	SeccompDefault    SeccompKind = "RuntimeDefault" // Path empty: the one that is built in
	SeccompLocalhost  SeccompKind = "Localhost"
)

// SeccompChoice names a container's seccomp profile; who carries the plan out
// reads and compiles it.
type SeccompChoice struct {
	Kind SeccompKind
	Path string
}
