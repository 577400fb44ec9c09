package plan

import (
	"maps"
	"slices"
	"strings"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/fault"
)

// ipcSysctls are those of the IPC namespace, ipc/ipc_sysctl.c and
// ipc/mq_sysctl.c; everything below fs.mqueue belongs to it too.
var ipcSysctls = map[string]bool{
	"kernel.msgmax": true, "kernel.msgmnb": true, "kernel.msgmni": true, "kernel.sem": true,
	"kernel.shmall": true, "kernel.shmmax": true, "kernel.shmmni": true, "kernel.shm_rmid_forced": true,
}

// podSysctls allows a key only when it belongs to a namespace that is the
// pod's own: anything else would be set on the host (CVE-2022-0532).
func podSysctls(p *PodPlan, req *runtimeapi.PodSandboxConfig) error {
	asked := req.GetLinux().GetSysctls()
	if len(asked) == 0 {
		return nil
	}
	p.Sysctls = make(map[string]string, len(asked))
	for _, raw := range slices.Sorted(maps.Keys(asked)) {
		field := "config.linux.sysctls[" + raw + "]"
		key, ok := sysctlKey(raw)
		if !ok {
			return fault.Invalid(field, "is not the name of a sysctl")
		}
		if err := checkSysctlNamespace(p, field, key); err != nil {
			return err
		}
		value := asked[raw]
		// A value is one write to one file. "+" and "=" separated settings in
		// a helper of another runtime (CVE-2022-0811); here nothing parses
		// it, but no numeric sysctl needs them either.
		if strings.ContainsAny(value, "+=\n\x00") {
			return fault.Invalid(field, "%q holds a character that no value needs", value)
		}
		if _, twice := p.Sysctls[key]; twice {
			return fault.Invalid(field, "is given twice")
		}
		p.Sysctls[key] = value
	}
	return nil
}

func checkSysctlNamespace(p *PodPlan, field, key string) error {
	switch {
	case ipcSysctls[key] || strings.HasPrefix(key, "fs.mqueue."):
		if !p.IPC {
			return fault.Invalid(field, "belongs to the IPC namespace, which is the host's here")
		}
	case strings.HasPrefix(key, "net."):
		if !p.Net {
			return fault.Invalid(field, "belongs to the network namespace, which is the host's here")
		}
	case key == "kernel.domainname":
		if !p.UTS {
			return fault.Invalid(field, "belongs to the UTS namespace, which is the host's here")
		}
	case key == "kernel.hostname":
		return fault.Invalid(field, "is set by config.hostname")
	default:
		return fault.Invalid(field, "does not belong to a namespace: it would be set on the host")
	}
	return nil
}

// sysctlKey brings a key into the form with dots. Like sysctl(8), the first
// separator of the two decides which it is: in "net/ipv4/conf/eth0.1/x" the
// dot is part of a name, and so is the slash in "net.ipv4.conf.eth0/1.x".
// A dot inside a name becomes a slash in the result.
func sysctlKey(raw string) (string, bool) {
	first := strings.IndexAny(raw, "./")
	if first < 0 {
		return "", false
	}
	key := raw
	if raw[first] == '/' {
		key = strings.NewReplacer("/", ".", ".", "/").Replace(raw)
	}
	for part := range strings.SplitSeq(key, ".") {
		// A name may hold what an interface name may; "/" stands for a dot,
		// so "//" would be "..".
		if part == "" || strings.Contains(part, "//") || strings.HasPrefix(part, "/") || strings.HasSuffix(part, "/") {
			return "", false
		}
		for _, r := range part {
			if !hostnameRune(r) && r != '/' && r != ':' && r != '@' {
				return "", false
			}
		}
	}
	return key, true
}
