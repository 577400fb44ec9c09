package plan

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"path"
	"strings"

	"crypto/sha256"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/fault"
)

// Labels are the SELinux labels of a container: of its processes, and of the files
// that it may use. The zero Labels are none.
type Labels struct{ Process, File string }

// SELinuxLabels makes the labels of a pod (container is nil) or of one of its
// containers. What the container leaves open is the pod's, what the pod leaves
// open is what container policies expect, and the level is the pod's own. Who asks
// for nothing gets none.
func SELinuxLabels(podID string, pod, container *runtimeapi.SELinuxOption) Labels {
	if pod == nil && container == nil {
		return Labels{}
	}
	part := func(of func(*runtimeapi.SELinuxOption) string, otherwise string) string {
		return cmp.Or(of(container), of(pod), otherwise)
	}
	level := part((*runtimeapi.SELinuxOption).GetLevel, podLevel(podID))
	return Labels{
		Process: part((*runtimeapi.SELinuxOption).GetUser, "system_u") + ":" + part((*runtimeapi.SELinuxOption).GetRole, "system_r") + ":" +
			part((*runtimeapi.SELinuxOption).GetType, "container_t") + ":" + level,
		File: "system_u:object_r:container_file_t:" + level,
	}
}

// podLevel is two of the 1024 categories by which policies keep pods apart. They
// follow from the pod's id, so that there is no register of them to be kept, and
// none to be lost; two pods in half a million have the same.
func podLevel(podID string) string {
	const categories = 1024
	sum := sha256.Sum256([]byte(podID))
	a := binary.BigEndian.Uint16(sum[:]) % categories
	b := binary.BigEndian.Uint16(sum[2:]) % (categories - 1)
	if b >= a {
		b++ // any other than a, each as likely
	}
	return fmt.Sprintf("s0:c%d,c%d", min(a, b), max(a, b))
}

// selinux sets the labels of a container that is not privileged, and what is to be
// relabelled: the volumes that ask for it, and the pod's files that are mounted.
func selinux(in *ContainerInput, p *ContainerPlan) error {
	sc := in.Config.GetLinux().GetSecurityContext()
	if !in.Host.SELinux || sc.GetPrivileged() {
		return nil
	}
	labels := SELinuxLabels(in.Pod.ID, in.PodConfig.GetLinux().GetSecurityContext().GetSelinuxOptions(), sc.GetSelinuxOptions())
	if labels == (Labels{}) {
		return nil
	}
	p.Spec.Process.SelinuxLabel, p.Spec.Linux.MountLabel = labels.Process, labels.File
	for i := range p.Volumes {
		if p.Volumes[i].ImageID != "" {
			p.Volumes[i].Label = labels.File
		}
	}
	for i, m := range in.Config.Mounts {
		if !m.GetSelinuxRelabel() || m.GetImage() != nil {
			continue
		}
		field := fmt.Sprintf("config.mounts[%d].selinux_relabel", i)
		if SystemPath(m.HostPath) {
			return fault.Invalid(field, "%s belongs to the system and is not relabelled", path.Clean(m.HostPath))
		}
		p.Relabel = append(p.Relabel, Source{Field: field, Path: m.HostPath})
	}
	for _, m := range p.Spec.Mounts {
		switch m.Source {
		case in.Pod.Hosts, in.Pod.ResolvConf, in.Pod.HostnameFile:
			p.Relabel = append(p.Relabel, Source{Field: "mount of " + m.Destination, Path: m.Source})
		}
	}
	return nil
}

// systemTrees are directories of the host with all below them, and systemDirs
// those that only they themselves are. A host whose /etc or /usr is a container's
// file does not boot again (CVE-2021-43816).
var (
	systemTrees = []string{"/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/proc", "/root", "/sbin", "/sys", "/usr"}
	systemDirs  = []string{"/", "/home", "/media", "/mnt", "/opt", "/run", "/srv", "/tmp", "/var", "/var/lib", "/var/log", "/var/run", "/var/tmp"}
)

// SystemPath says whether a path is one that must never be relabelled. Links in
// it are its caller's to resolve.
func SystemPath(p string) bool {
	p = path.Clean("/" + p)
	for _, dir := range systemDirs {
		if p == dir {
			return true
		}
	}
	for _, tree := range systemTrees {
		if p == tree || strings.HasPrefix(p, tree+"/") {
			return true
		}
	}
	return false
}
