package plan

import (
	"fmt"
	"path"
	"slices"
	"strings"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/config"
	"github.com/varve-cri/varve/cri/fault"
)

// DefaultMaskedPaths is the union of what container runtimes have learned to
// hide: CVE-2018-10892 /proc/acpi, CVE-2017-16539 /proc/scsi, GHSA-7ww5 the
// power meters, and the rest what gives away or changes the host. What depends
// on the machine (thermal_throttle of each CPU, a timing channel) is in
// Host.MaskedPaths.
var DefaultMaskedPaths = []string{
	"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
	"/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats",
	"/sys/devices/virtual/powercap", "/sys/firmware",
}

// DefaultReadonlyPaths is what of /proc may be read but not written.
var DefaultReadonlyPaths = []string{
	"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger",
}

// kernelPaths returns what is masked and what is read-only: the request's
// lists as they are, the defaults for one that is empty, nothing for a
// privileged container. An empty list cannot be told from none: the kubelet sends
// empty ones for procMount Unmasked, which is for pods with a user namespace, and
// the defaults for Default. So in such a pod empty is empty.
func kernelPaths(sc *runtimeapi.LinuxContainerSecurityContext, in *ContainerInput) (masked, readonly []string, err error) {
	if sc.GetPrivileged() {
		return nil, nil, nil
	}
	masked, readonly = sc.GetMaskedPaths(), sc.GetReadonlyPaths()
	for _, list := range []struct {
		name  string
		paths []string
	}{{"masked_paths", masked}, {"readonly_paths", readonly}} {
		for i, p := range list.paths {
			if !path.IsAbs(p) || strings.Contains(p, "\x00") {
				return nil, nil, fault.Invalid(fmt.Sprintf("%s%s[%d]", securityField, list.name, i), "%q is not an absolute path", p)
			}
		}
	}
	if in.Pod.UserNS != nil {
		return masked, readonly, nil
	}
	if len(masked) == 0 {
		masked = slices.Concat(DefaultMaskedPaths, in.Host.MaskedPaths)
	}
	if len(readonly) == 0 {
		readonly = DefaultReadonlyPaths
	}
	return masked, slices.Clone(readonly), nil
}

// seccompChoice finds the profile: the field, else the deprecated string, else
// what the configuration has for none. Privileged containers have none.
func seccompChoice(sc *runtimeapi.LinuxContainerSecurityContext, handler config.Handler) (SeccompChoice, error) {
	const field = securityField + "seccomp"
	if sc.GetPrivileged() {
		return SeccompChoice{Kind: SeccompUnconfined}, nil
	}
	var settings config.Seccomp
	if handler.Seccomp != nil {
		settings = *handler.Seccomp
	}
	byDefault := SeccompChoice{Kind: SeccompDefault, Path: settings.DefaultProfile}
	if profile := sc.GetSeccomp(); profile != nil {
		switch profile.ProfileType {
		case runtimeapi.SecurityProfile_RuntimeDefault, runtimeapi.SecurityProfile_Unconfined:
			if profile.LocalhostRef != "" {
				return SeccompChoice{}, fault.Invalid(field+".localhost_ref", "is set with profile type %s", profile.ProfileType)
			}
			if profile.ProfileType == runtimeapi.SecurityProfile_Unconfined {
				return SeccompChoice{Kind: SeccompUnconfined}, nil
			}
			return byDefault, nil
		case runtimeapi.SecurityProfile_Localhost:
			return localhostProfile(field+".localhost_ref", profile.LocalhostRef)
		default:
			return SeccompChoice{}, fault.Invalid(field+".profile_type", "%d is not known", profile.ProfileType)
		}
	}
	switch old := sc.GetSeccompProfilePath(); { //nolint:staticcheck // old clients still send it
	case old == "" && settings.UnsetProfile == config.ProfileRuntimeDefault:
		return byDefault, nil
	case old == "" || old == "unconfined":
		return SeccompChoice{Kind: SeccompUnconfined}, nil
	case old == "runtime/default" || old == "docker/default":
		return byDefault, nil
	case strings.HasPrefix(old, "localhost/"):
		return localhostProfile(securityField+"seccomp_profile_path", strings.TrimPrefix(old, "localhost/"))
	default:
		return SeccompChoice{}, fault.Invalid(securityField+"seccomp_profile_path", "%q is not a profile", old)
	}
}

func localhostProfile(field, ref string) (SeccompChoice, error) {
	if !path.IsAbs(ref) || strings.Contains(ref, "\x00") {
		return SeccompChoice{}, fault.Invalid(field, "%q is not an absolute path", ref)
	}
	return SeccompChoice{Kind: SeccompLocalhost, Path: ref}, nil
}
