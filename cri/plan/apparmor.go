package plan

import (
	"strings"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/fault"
)

// The AppArmor profiles that are no file of the node's administrator.
const (
	AppArmorDefault    = "varve-default" // RuntimeDefault, loaded when it is first needed
	AppArmorUnconfined = "unconfined"
)

// appArmor returns the name of the profile that the process is executed with:
// the field's, else the deprecated string's, else the default one. Privileged
// containers have none. Without AppArmor on the host only a profile that somebody
// relies on is an error.
func appArmor(sc *runtimeapi.LinuxContainerSecurityContext, host *Host) (string, error) {
	if sc.GetPrivileged() {
		return "", nil
	}
	profile := sc.GetApparmor()
	if profile == nil {
		return oldAppArmor(sc.GetApparmorProfile(), host) //nolint:staticcheck // old clients still send it
	}
	const field = securityField + "apparmor"
	if profile.ProfileType == runtimeapi.SecurityProfile_Localhost {
		if profile.LocalhostRef == "" {
			return "", fault.Invalid(field+".localhost_ref", "is empty")
		}
		return localAppArmor(field+".localhost_ref", profile.LocalhostRef, host)
	}
	if profile.LocalhostRef != "" {
		return "", fault.Invalid(field+".localhost_ref", "is set with profile type %s", profile.ProfileType)
	}
	switch profile.ProfileType {
	case runtimeapi.SecurityProfile_RuntimeDefault:
		return defaultAppArmor(field, host)
	case runtimeapi.SecurityProfile_Unconfined:
		return unconfined(host), nil
	default:
		return "", fault.Invalid(field+".profile_type", "%d is not known", profile.ProfileType)
	}
}

// oldAppArmor reads the deprecated string. None at all is the default profile,
// where it can be loaded: the node's log tells at the start where it cannot.
func oldAppArmor(s string, host *Host) (string, error) {
	const field = securityField + "apparmor_profile"
	switch {
	case s == "" && !host.AppArmorDefault:
		return "", nil
	case s == "", s == "runtime/default":
		return defaultAppArmor(field, host)
	case s == AppArmorUnconfined:
		return unconfined(host), nil
	case !strings.HasPrefix(s, "localhost/"):
		return "", fault.Invalid(field, "%q is not a profile", s)
	}
	return localAppArmor(field, s, host)
}

func unconfined(host *Host) string {
	if host.AppArmor {
		return AppArmorUnconfined
	}
	return ""
}

func defaultAppArmor(field string, host *Host) (string, error) {
	switch {
	case !host.AppArmor:
		return "", nil
	case !host.AppArmorDefault:
		return "", fault.Invalid(field, "RuntimeDefault: this node has no apparmor_parser to load the profile %s with", AppArmorDefault)
	}
	return AppArmorDefault, nil
}

func localAppArmor(field, name string, host *Host) (string, error) {
	name = strings.TrimPrefix(name, "localhost/")
	switch {
	case !host.AppArmor:
		return "", fault.Invalid(field, "%q: this node has no AppArmor", name)
	case name == "" || len(name) > 4096 || strings.ContainsAny(name, "\x00\n\r"):
		return "", fault.Invalid(field, "%.60q is not the name of a profile", name)
	}
	return name, nil
}
