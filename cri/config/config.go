package config

// The only document that is known so far.
const (
	APIVersion = "varve.dev/v1alpha1"
	Kind       = "VarvedConfiguration"
)

// Config is the whole configuration of varved. The zero value of a field means
// "the default", which Complete fills in.
type Config struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`

	// Socket is the path of the CRI socket. Default: <stateDir>/varve.sock.
	Socket string `json:"socket"`
	// StateDir holds what is dead after a boot: records, pinned namespaces,
	// shims' sockets. It should be on a tmpfs. Default: /run/varve.
	StateDir string `json:"stateDir"`
	// RootDir holds what outlives a boot: layers, images. Default: /var/lib/varve.
	RootDir string `json:"rootDir"`

	Cgroup   Cgroup   `json:"cgroup"`
	Network  Network  `json:"network"`
	CDI      CDI      `json:"cdi"`
	Images   Images   `json:"images"`
	Runtime  Runtime  `json:"runtime"`
	Limits   Limits   `json:"limits"`
	Seccomp  Seccomp  `json:"seccomp"`
	Shim     Shim     `json:"shim"`
	Log      Log      `json:"log"`
	Exec     Exec     `json:"exec"`
	Metrics  Metrics  `json:"metrics"`
	Tracing  Tracing  `json:"tracing"`
	Admin    Admin    `json:"admin"`
	Requests Requests `json:"requests"`

	Streaming Streaming `json:"streaming"`
}

// Cgroup says how cgroups are made.
type Cgroup struct {
	// Driver is "cgroupfs", the only one so far.
	Driver string `json:"driver"`
	// Parent is where pods go whose request names no parent. Default: /varve.
	Parent string `json:"parent"`
}

// Network says where CNI finds its files.
type Network struct {
	// ConfDir is watched for *.conflist, *.conf and *.json; the first in name
	// order is the pods' network. Default: /etc/cni/net.d.
	ConfDir string `json:"confDir"`
	// BinDirs is searched in order for plugins. Default: /opt/cni/bin,
	// /usr/lib/cni, /usr/libexec/cni.
	BinDirs []string `json:"binDirs"`
	// CacheDir is where CNI keeps the results of ADD. Default: <rootDir>/cni.
	CacheDir string `json:"cacheDir"`
	// DefaultNetwork is used while ConfDir holds no configuration.
	DefaultNetwork DefaultNetwork `json:"defaultNetwork"`
}

// DefaultNetwork is the network of a fresh machine: a bridge with host-local
// addresses, port mappings and, if wanted, the firewall plugin.
type DefaultNetwork struct {
	// Enabled is true unless it is said otherwise.
	Enabled *bool `json:"enabled"`
	// Bridge is the name of the bridge, at most 15 bytes. Default: varve0.
	Bridge string `json:"bridge"`
	// Subnet is the IPv4 range of the pods. Default: 10.87.0.0/16.
	Subnet string `json:"subnet"`
	// Firewall adds the firewall plugin, for hosts that drop forwarded packets.
	Firewall bool `json:"firewall"`
	// DataDir is where host-local keeps its leases. Default: <cacheDir>/leases.
	DataDir string `json:"dataDir"`
}

// CDI says where the Container Device Interface has its files.
type CDI struct {
	// SpecDirs hold the specifications of devices; a later directory's devices
	// hide an earlier one's. They need not be there, and are looked at whenever a
	// container names a device. Default: /etc/cdi, /var/run/cdi.
	SpecDirs []string `json:"specDirs"`
}

// Images says where images come from and which are kept.
type Images struct {
	// Registries are rules for registries, looked up by name; the rule named
	// "*" is for all that have none. A registry's own rule comes before its
	// directory in RegistryConfigDirs, and that before the rule "*", and that
	// before the directory _default.
	Registries []Registry `json:"registries,omitempty"`
	// RegistryConfigDirs hold a directory for each registry with a hosts.toml in
	// containerd's format (or certificates as docker names them), and _default;
	// they are read at each pull. Default: /etc/varve/certs.d.
	RegistryConfigDirs []string `json:"registryConfigDirs"`
	// DockerConfig is the path of a docker config.json, whose credentials and
	// credential helpers are for pulls that bring none. Default: none.
	DockerConfig string `json:"dockerConfig"`
	// CredentialHelperDirs are searched for docker-credential-NAME. Default: the
	// daemon's PATH.
	CredentialHelperDirs []string `json:"credentialHelperDirs,omitempty"`
	// Format is how new images' layers lie on the disk: "erofs", one file for each
	// layer (Linux 6.12), "overlay", a directory for each, or "auto", the first of
	// the two that this node can mount. Images that are there keep theirs.
	Format string `json:"format"`
	// Pinned are references that the kubelet is told never to collect.
	Pinned []string `json:"pinned,omitempty"`
	// MaxLayerBytes bounds what one layer may unpack to; 0 lets the image store
	// choose.
	MaxLayerBytes int64 `json:"maxLayerBytes"`
	// MaxSpoolBytes bounds what is kept of layers that come slowly, so that a pull
	// can go on after a restart; 0 lets the image store choose, -1 keeps nothing.
	MaxSpoolBytes int64 `json:"maxSpoolBytes,omitempty"`
	// MaxLayerEntries bounds the files, links and directories of one layer; 0 lets
	// the image store choose.
	MaxLayerEntries int64 `json:"maxLayerEntries"`
	// MaxImageBytes bounds what all layers of one image may unpack to together; 0
	// lets the image store choose.
	MaxImageBytes int64 `json:"maxImageBytes"`
	// Platform is "os/arch[/variant]". Default: this machine's.
	Platform string `json:"platform,omitempty"`
	// ConcurrentLayers is how many layers of one image are fetched and
	// unpacked at a time. 0 lets the image store choose.
	ConcurrentLayers int `json:"concurrentLayers,omitempty"`
	// SpareLayers is how many read-write layers of an image that is in use wait,
	// mounted, for its next containers. Default: 4; 0 is none.
	SpareLayers *int `json:"spareLayers"`
	// CheckBytesPerSecond is how fast layers are read again, once a week and soon
	// after the machine went down hard, to find what the disk has damaged. Default:
	// 8 MiB; 0 is not at all.
	CheckBytesPerSecond *int64 `json:"checkBytesPerSecond"`
}

// The values of Images.Format.
const (
	FormatAuto    = "auto"
	FormatErofs   = "erofs"
	FormatOverlay = "overlay"
)

// Registry is the rule for one registry.
type Registry struct {
	// Name is the host[:port] as it is in references ("docker.io"), or "*".
	Name string `json:"name"`
	// Mirrors are asked in order before the registry itself.
	Mirrors []Mirror `json:"mirrors,omitempty"`
	// MirrorsOnly never asks the registry itself.
	MirrorsOnly bool `json:"mirrorsOnly,omitempty"`
	// PlainHTTP speaks http to the registry itself.
	PlainHTTP bool `json:"plainHTTP,omitempty"`
	// InsecureSkipVerify accepts any certificate of the registry itself.
	InsecureSkipVerify bool `json:"insecureSkipVerify,omitempty"`
	// CAFile adds certificate authorities for the registry itself.
	CAFile string `json:"caFile,omitempty"`
}

// Mirror is one place to pull from instead.
type Mirror struct {
	// URL is http://host[:port][/prefix] or https://...
	URL string `json:"url"`
	// InsecureSkipVerify accepts any certificate.
	InsecureSkipVerify bool `json:"insecureSkipVerify,omitempty"`
	// CAFile adds certificate authorities.
	CAFile string `json:"caFile,omitempty"`
}

// Limits says what is done about limits that this node may not be allowed to
// set: without CAP_SYS_RESOURCE oom_score_adj cannot go below the daemon's own
// and a hard rlimit cannot be raised.
type Limits struct {
	// RestrictOOMScoreAdj raises a lower oom_score_adj to the daemon's own.
	// "auto": only where the daemon lacks CAP_SYS_RESOURCE.
	RestrictOOMScoreAdj Switch `json:"restrictOOMScoreAdj"`
	// RestrictRlimits lowers rlimits to the daemon's own hard limits.
	// "auto": only where the daemon lacks CAP_SYS_RESOURCE.
	RestrictRlimits Switch `json:"restrictRlimits"`
	// RestrictCapabilities leaves out capabilities that the daemon itself does
	// not have; false makes asking for one an error. "auto" is true.
	RestrictCapabilities Switch `json:"restrictCapabilities"`
	// Rlimits are set for every container, by name ("nofile"). Default:
	// nofile 1024 soft, 524288 hard, as systemd has it: a huge soft limit
	// makes old programs close a million descriptors.
	Rlimits map[string]Rlimit `json:"rlimits"`
	// ShmBytes is the size of a pod's /dev/shm. A volume of memory that a pod
	// mounts there itself has its own. Default: 64 MiB, as everywhere.
	ShmBytes int64 `json:"shmBytes"`
}

// Rlimit is one resource limit.
type Rlimit struct {
	Soft uint64 `json:"soft"`
	Hard uint64 `json:"hard"`
}

// Seccomp says which seccomp profiles containers get.
type Seccomp struct {
	// DefaultProfile is the path of the profile RuntimeDefault; empty is the
	// one that is built in.
	DefaultProfile string `json:"defaultProfile"`
	// UnsetProfile is for containers that ask for no profile: "Unconfined", as
	// the CRI has it, or "RuntimeDefault".
	UnsetProfile string `json:"unsetProfile"`
}

// The values of Seccomp.UnsetProfile.
const (
	ProfileUnconfined     = "Unconfined"
	ProfileRuntimeDefault = "RuntimeDefault"
)

// Shim says how shims are started.
type Shim struct {
	// Path is the shim's program. Default: varve-shim beside varved, which the
	// daemon fills in.
	Path string `json:"path"`
	// Spares is how many shims wait for work. Default: 4.
	Spares *int `json:"spares"`
}

// Log is about the containers' logs and the daemon's own.
type Log struct {
	// MaxLineBytes is how long a line of a container's log gets before it is
	// continued in a partial one. Default: 16384.
	MaxLineBytes int `json:"maxLineBytes"`
	// Verbosity is the daemon's log level, as klog's -v.
	Verbosity int `json:"verbosity"`
	// Format is of the daemon's own lines: "text", klog's, or "json", one object in
	// each line. Default: text.
	Format string `json:"format"`
}

// The values of Log.Format.
const (
	FormatText = "text"
	FormatJSON = "json"
)

// Exec is about commands that run in containers, synchronous or streamed.
type Exec struct {
	// DrainTimeout is how long output is read after the command has ended while
	// something it left behind keeps its output open. Default: 2s.
	DrainTimeout Duration `json:"drainTimeout"`
	// MaxOutputBytes caps stdout and stderr of ExecSync each. Default: 16 MiB, as the CRI
	// has it (CVE-2022-1708, CVE-2022-31030).
	MaxOutputBytes int64 `json:"maxOutputBytes"`
}

// Metrics is about the daemon's own metrics.
type Metrics struct {
	// Address is host:port for Prometheus; empty serves none.
	Address string `json:"address"`
}

// Tracing is about traces of requests, which go to an OpenTelemetry collector.
type Tracing struct {
	// Endpoint is the collector's host:port, for OTLP over gRPC without TLS; empty
	// traces nothing.
	Endpoint string `json:"endpoint"`
	// SamplingRatePerMillion is how many of a million requests are traced that do
	// not say themselves, as the kubelet's do, whether they are. Default: 0.
	SamplingRatePerMillion int32 `json:"samplingRatePerMillion"`
}

// Admin is about the operator's own socket, which the program varve talks to.
type Admin struct {
	// Enabled is true unless it is said otherwise.
	Enabled *bool `json:"enabled"`
	// Socket is its path. Default: <stateDir>/admin.sock.
	Socket string `json:"socket"`
}

// Requests bounds what requests may wait for.
type Requests struct {
	// HostPathTimeout is how long a look at a host path (a volume on a dead
	// NFS server) may take. Default: 10s.
	HostPathTimeout Duration `json:"hostPathTimeout"`
	// NetworkTimeout is how long the CNI plugins of one pod may take. Default: 60s.
	NetworkTimeout Duration `json:"networkTimeout"`
}
