package request

import (
	"fmt"
	"strings"
	"unicode"

	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Check refuses what no request may hold. What is not a message of the CRI
// passes. The error is a *fault.InvalidError.
func Check(req any) error {
	m, ok := req.(proto.Message)
	if !ok {
		return nil
	}
	if err := whole(m); err != nil {
		return err
	}
	if err := walk(m.ProtoReflect()); err != nil {
		return err
	}
	switch r := req.(type) {
	case *runtimeapi.RunPodSandboxRequest:
		return Pod("config", r.GetConfig())
	case *runtimeapi.CreateContainerRequest:
		return firstOf(container(r.GetConfig()), podNames("sandbox_config.metadata.", r.GetSandboxConfig().GetMetadata()))
	case *runtimeapi.PullImageRequest:
		return firstOf(auth(r.GetAuth()), podNames("sandbox_config.metadata.", r.GetSandboxConfig().GetMetadata()))
	case *runtimeapi.StopContainerRequest:
		return notNegative("timeout", r.GetTimeout())
	case *runtimeapi.ExecSyncRequest:
		return firstOf(notNegative("timeout", r.GetTimeout()), command("cmd", r.GetCmd()))
	case *runtimeapi.ExecRequest:
		return command("cmd", r.GetCmd())
	case *runtimeapi.PortForwardRequest:
		return forwarded(r.GetPort())
	case *runtimeapi.UpdateContainerResourcesRequest:
		if r.GetWindows() != nil {
			return invalid("windows", "this is a Linux node")
		}
		return numbers("linux", r.GetLinux())
	case *runtimeapi.UpdatePodSandboxResourcesRequest:
		return firstOf(podNumbers("overhead", r.GetOverhead()), podNumbers("resources", r.GetResources()))
	}
	return nil
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func notNegative(field string, v int64) error {
	if v < 0 {
		return invalid(field, "%d is negative", v)
	}
	return nil
}

func forwarded(ports []int32) error {
	for i, p := range ports {
		if p < 1 || p > 65535 {
			return invalid(fmt.Sprintf("port[%d]", i), "%d is not a port", p)
		}
	}
	return nil
}

// maxName is how long a name may be: Kubernetes has none of more than 253.
const maxName = 1024

// name checks what becomes part of logs, of the host name, and of the arguments
// of network plugins, which are split at semicolons.
func name(field, v string) error {
	switch {
	case len(v) > maxName:
		return invalid(field, "is %d bytes long, no more than %d", len(v), maxName)
	case v == "." || v == ".." || strings.ContainsAny(v, "/;") || strings.ContainsFunc(v, unprintable):
		return invalid(field, "%.60q is not a name", v)
	}
	return nil
}

func unprintable(r rune) bool { return unicode.IsControl(r) || r == unicode.ReplacementChar }

// Linux's limits for a path and for one name in it, without the NUL.
const (
	maxPath      = 4095
	maxComponent = 255
)

// pathText checks a path that somebody else has made, or that is in a container.
func pathText(field, v string) error {
	if len(v) > maxPath {
		return invalid(field, "is %d bytes long, no path is longer than %d", len(v), maxPath)
	}
	for part := range strings.SplitSeq(v, "/") {
		if len(part) > maxComponent {
			return invalid(field, "%.60q... is %d bytes long, no name in a path is longer than %d", part, len(part), maxComponent)
		}
	}
	return nil
}

// room is what is appended to a path that varve makes: below the mount points of
// cgroups, a container's id.
const room = 512

// madePath checks a path that varve makes on the host.
func madePath(field, v string) error {
	if len(v) > maxPath-room {
		return invalid(field, "is %d bytes long, no more than %d", len(v), maxPath-room)
	}
	if err := pathText(field, v); err != nil {
		return err
	}
	for part := range strings.SplitSeq(v, "/") {
		if part == ".." {
			return invalid(field, "%q climbs", v)
		}
	}
	if strings.ContainsFunc(v, unprintable) {
		return invalid(field, "%q holds characters that no path of a pod has", v)
	}
	return nil
}

// maxArgument is MAX_ARG_STRLEN without the NUL: the kernel refuses an execve
// with a longer argument or variable.
const maxArgument = 128<<10 - 1

// command checks arguments of a program.
func command(field string, args []string) error {
	for i, a := range args {
		if len(a) > maxArgument {
			return invalid(fmt.Sprintf("%s[%d]", field, i), "is %d bytes long, no argument is longer than %d", len(a), maxArgument)
		}
	}
	return nil
}

// auth checks what becomes a header. It never shows what it has seen.
func auth(a *runtimeapi.AuthConfig) error {
	for _, t := range []struct{ name, value string }{
		{"identity_token", a.GetIdentityToken()}, {"registry_token", a.GetRegistryToken()}, {"server_address", a.GetServerAddress()},
	} {
		if strings.ContainsFunc(t.value, unprintable) {
			return invalid("auth."+t.name, "holds a character that no header can have")
		}
	}
	return nil
}

// podNumbers is numbers for updates of pods, where any negative quota or memory is "no
// limit": a kubelet subtracts a pod's overhead from -1 as from other numbers
// (1.37, subtractOverheadFromResourceConfig).
func podNumbers(field string, r *runtimeapi.LinuxContainerResources) error {
	if r.GetCpuQuota() < 0 || r.GetMemoryLimitInBytes() < 0 {
		r = proto.CloneOf(r)
		r.CpuQuota, r.MemoryLimitInBytes = max(r.CpuQuota, -1), max(r.MemoryLimitInBytes, -1)
	}
	return numbers(field, r)
}

// numbers checks resources wherever they are; 0 is "not said", -1 of quota and
// memory "no limit".
func numbers(field string, r *runtimeapi.LinuxContainerResources) error {
	for _, n := range []struct {
		name           string
		value, low, up int64
	}{
		{"cpu_period", r.GetCpuPeriod(), 0, 1e6}, {"cpu_quota", r.GetCpuQuota(), -1, 1 << 53}, {"cpu_shares", r.GetCpuShares(), 0, 1 << 53},
		{"memory_limit_in_bytes", r.GetMemoryLimitInBytes(), -1, 1<<63 - 1}, {"oom_score_adj", r.GetOomScoreAdj(), -1000, 1000},
		{"memory_swap_limit_in_bytes", r.GetMemorySwapLimitInBytes(), -1, 1<<63 - 1},
	} {
		if n.value < n.low || n.value > n.up {
			return invalid(field+"."+n.name, "%d is not between %d and %d", n.value, n.low, n.up)
		}
	}
	for k, v := range r.GetUnified() {
		if len(v) > 4096 {
			return invalid(field+".unified["+short(k)+"]", "is %d bytes long, no more than 4096", len(v))
		}
	}
	return nil
}
