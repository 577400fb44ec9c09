package plan

import (
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/config"
	"github.com/varve-cri/varve/cri/fault"
)

// PodPlan is what a pod is going to be.
type PodPlan struct {
	Handler string
	// Net, IPC and UTS say which namespaces are made and pinned; those that are
	// not are the host's.
	Net, IPC, UTS bool
	// UserNS is the pod's own user namespace; nil leaves it in the host's.
	UserNS *UserNamespace `json:",omitempty"`
	// Pause says that the pod needs a process to hold its shared PID namespace.
	Pause bool
	// Hostname is set in the UTS namespace. Empty with the host's.
	Hostname string
	// Sysctls are set in the pod's namespaces; each is known to belong to one
	// that the pod has.
	Sysctls map[string]string
	// ResolvConf is the pod's /etc/resolv.conf; nil means a copy of the host's.
	ResolvConf []byte
	// HostnameFile is the pod's /etc/hostname; nil means a copy of the host's.
	HostnameFile []byte
	// HostsFile is false when /etc/hosts is a copy of the host's; otherwise it
	// is made by Hosts once the addresses are known.
	HostsFile bool
	// PortMappings are given to the CNI plugins that ask for them.
	PortMappings []PortMapping
	// CgroupParent is where the containers' cgroups go. With OwnCgroup the
	// request named none: then the pod gets a child of its own there (Cgroup).
	CgroupParent string
	OwnCgroup    bool
	// LogDir is where containers log; made when missing. Empty: no logs.
	LogDir string
	// Privileged says that privileged containers may be made in the pod.
	Privileged bool
}

// PortMapping is one port of the host, as the CNI capability "portMappings"
// has it.
type PortMapping struct {
	HostPort      int32  `json:"hostPort"`
	ContainerPort int32  `json:"containerPort"`
	Protocol      string `json:"protocol"`
	HostIP        string `json:"hostIP,omitempty"`
}

// Pod plans a pod. The error is an *fault.InvalidError that names the field, or a
// *fault.NotFoundError for an unknown runtime handler.
func Pod(req *runtimeapi.PodSandboxConfig, handler string, cfg *config.Config) (*PodPlan, error) {
	return planPod(req, handler, cfg)
}

// CheckHandler refuses the name of a runtime handler that this node does not
// have; field is where the request says it.
func CheckHandler(field, name string, cfg *config.Config) error {
	if _, ok := cfg.Handler(name); !ok {
		return fault.Invalid(field, "%q is not a runtime handler of this node", name)
	}
	return nil
}

// PodHostname is the name of a pod that has a UTS namespace of its own: what
// the request asks for, else one made of the pod's name.
func PodHostname(req *runtimeapi.PodSandboxConfig) string {
	if h := req.GetHostname(); h != "" {
		return h
	}
	return hostnameFrom(req.GetMetadata().GetName())
}

// Cgroup returns the cgroup that the pod's containers are made in.
func (p *PodPlan) Cgroup(podID string) string {
	if p.OwnCgroup {
		return p.CgroupParent + "/" + podID
	}
	return p.CgroupParent
}
