package plan

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/config"
)

func TestCapabilities(t *testing.T) {
	host := strongHost()
	all := slices.Sorted(slices.Values(host.Capabilities))
	for name, c := range map[string]struct {
		caps         *runtimeapi.Capability
		all, ambient []string
	}{
		"nothing":                {nil, defaultCapabilities, nil},
		"add":                    {&runtimeapi.Capability{AddCapabilities: []string{"sys_time"}}, append([]string{"CAP_SYS_TIME"}, defaultCapabilities...), nil},
		"prefix":                 {&runtimeapi.Capability{AddCapabilities: []string{"CAP_SYS_TIME"}}, append([]string{"CAP_SYS_TIME"}, defaultCapabilities...), nil},
		"add all":                {&runtimeapi.Capability{AddCapabilities: []string{"ALL"}}, all, nil},
		"add all, drop one":      {&runtimeapi.Capability{AddCapabilities: []string{"ALL"}, DropCapabilities: []string{"CHOWN"}}, without(all, "CAP_CHOWN"), nil},
		"drop all":               {&runtimeapi.Capability{DropCapabilities: []string{"ALL"}}, nil, nil},
		"drop all, add one":      {&runtimeapi.Capability{DropCapabilities: []string{"all"}, AddCapabilities: []string{"CHOWN"}}, []string{"CAP_CHOWN"}, nil},
		"add and drop one":       {&runtimeapi.Capability{DropCapabilities: []string{"CHOWN"}, AddCapabilities: []string{"CHOWN"}}, without(defaultCapabilities, "CAP_CHOWN"), nil},
		"ambient is in all":      {&runtimeapi.Capability{DropCapabilities: []string{"ALL"}, AddAmbientCapabilities: []string{"CHOWN"}}, []string{"CAP_CHOWN"}, []string{"CAP_CHOWN"}},
		"ambient and add":        {&runtimeapi.Capability{DropCapabilities: []string{"ALL"}, AddCapabilities: []string{"KILL"}, AddAmbientCapabilities: []string{"CHOWN"}}, []string{"CAP_CHOWN", "CAP_KILL"}, []string{"CAP_CHOWN"}},
		"dropped is not ambient": {&runtimeapi.Capability{DropCapabilities: []string{"CHOWN"}, AddAmbientCapabilities: []string{"CHOWN"}}, without(defaultCapabilities, "CAP_CHOWN"), nil},
		"the daemon lacks it":    {&runtimeapi.Capability{AddCapabilities: []string{"BPF"}, AddAmbientCapabilities: []string{"BPF"}}, defaultCapabilities, nil},
		"all drop, all add":      {&runtimeapi.Capability{DropCapabilities: []string{"ALL"}, AddCapabilities: []string{"ALL"}}, nil, nil},
	} {
		got, note, err := capabilities(&runtimeapi.LinuxContainerSecurityContext{Capabilities: c.caps}, config.Handler{}, host)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want := slices.Sorted(slices.Values(c.all))
		for _, set := range [][]string{got.Bounding, got.Permitted, got.Effective} {
			if !slices.Equal(set, want) {
				t.Errorf("%s: set %v, want %v", name, set, want)
			}
		}
		// Inheritable is what the CVE-2022-24769 family is about.
		if !slices.Equal(got.Ambient, c.ambient) || !slices.Equal(got.Inheritable, c.ambient) {
			t.Errorf("%s: ambient %v, inheritable %v, want %v", name, got.Ambient, got.Inheritable, c.ambient)
		}
		if (name == "the daemon lacks it") != (note != "") {
			t.Errorf("%s: note %q", name, note)
		}
	}
	host.Restrict.Capabilities = false
	_, _, err := capabilities(&runtimeapi.LinuxContainerSecurityContext{Capabilities: &runtimeapi.Capability{AddCapabilities: []string{"BPF"}}}, config.Handler{}, host)
	if err == nil || !strings.Contains(err.Error(), "CAP_BPF") {
		t.Errorf("without the choice: %v", err)
	}
}

// The brief for this list is "the union of all known".
func TestMaskedPathsAreTheUnion(t *testing.T) {
	for _, p := range []string{
		"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/sched_debug",
		"/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap", "/sys/firmware",
	} {
		if !slices.Contains(DefaultMaskedPaths, p) {
			t.Errorf("%s is not masked", p)
		}
	}
	for _, p := range []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"} {
		if !slices.Contains(DefaultReadonlyPaths, p) {
			t.Errorf("%s is writable", p)
		}
	}
}

func TestSeccompChoice(t *testing.T) {
	type security = runtimeapi.LinuxContainerSecurityContext
	profile := func(kind runtimeapi.SecurityProfile_ProfileType, ref string) *runtimeapi.SecurityProfile {
		return &runtimeapi.SecurityProfile{ProfileType: kind, LocalhostRef: ref}
	}
	for name, c := range map[string]struct {
		sc       *security
		settings config.Seccomp
		want     SeccompChoice
	}{
		"unset":               {&security{}, config.Seccomp{}, SeccompChoice{Kind: SeccompUnconfined}},
		"unset, configured":   {&security{}, config.Seccomp{UnsetProfile: config.ProfileRuntimeDefault, DefaultProfile: "/d"}, SeccompChoice{SeccompDefault, "/d"}},
		"default":             {&security{Seccomp: profile(0, "")}, config.Seccomp{}, SeccompChoice{Kind: SeccompDefault}},
		"unconfined":          {&security{Seccomp: profile(1, "")}, config.Seccomp{UnsetProfile: config.ProfileRuntimeDefault}, SeccompChoice{Kind: SeccompUnconfined}},
		"localhost":           {&security{Seccomp: profile(2, "/p")}, config.Seccomp{}, SeccompChoice{SeccompLocalhost, "/p"}},
		"field before string": {&security{Seccomp: profile(0, ""), SeccompProfilePath: "unconfined"}, config.Seccomp{}, SeccompChoice{Kind: SeccompDefault}},
		"old default":         {&security{SeccompProfilePath: "runtime/default"}, config.Seccomp{}, SeccompChoice{Kind: SeccompDefault}},
		"older default":       {&security{SeccompProfilePath: "docker/default"}, config.Seccomp{}, SeccompChoice{Kind: SeccompDefault}},
		"old localhost":       {&security{SeccompProfilePath: "localhost//p"}, config.Seccomp{}, SeccompChoice{SeccompLocalhost, "/p"}},
		"old unconfined":      {&security{SeccompProfilePath: "unconfined"}, config.Seccomp{UnsetProfile: config.ProfileRuntimeDefault}, SeccompChoice{Kind: SeccompUnconfined}},
		"privileged":          {&security{Seccomp: profile(2, "/p"), Privileged: true}, config.Seccomp{}, SeccompChoice{Kind: SeccompUnconfined}},
	} {
		got, err := seccompChoice(c.sc, config.Handler{Seccomp: &c.settings})
		if err != nil || got != c.want {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestAppArmor(t *testing.T) {
	type security = runtimeapi.LinuxContainerSecurityContext
	profile := func(kind runtimeapi.SecurityProfile_ProfileType, ref string) *security {
		return &security{Apparmor: &runtimeapi.SecurityProfile{ProfileType: kind, LocalhostRef: ref}}
	}
	for name, c := range map[string]struct {
		sc      *security
		with    string
		bare    string // without apparmor_parser; "!" is refused
		without bool   // also possible on a node without AppArmor
	}{
		"unset":          {&security{}, "varve-default", "", true},
		"default":        {profile(0, ""), "varve-default", "!", true},
		"unconfined":     {profile(1, ""), "unconfined", "unconfined", true},
		"localhost":      {profile(2, "mine"), "mine", "mine", false},
		"localhost/":     {profile(2, "localhost/mine"), "mine", "mine", false},
		"new, then old":  {&security{ApparmorProfile: "localhost/old", Apparmor: profile(2, "new").Apparmor}, "new", "new", false},
		"old unconfined": {&security{ApparmorProfile: "unconfined"}, "unconfined", "unconfined", true},
		"old default":    {&security{ApparmorProfile: "runtime/default"}, "varve-default", "!", true},
		"old localhost":  {&security{ApparmorProfile: "localhost/mine"}, "mine", "mine", false},
		"privileged":     {&security{ApparmorProfile: "localhost/mine", Privileged: true}, "", "", true},
	} {
		if got, err := appArmor(c.sc, &Host{AppArmor: true, AppArmorDefault: true}); err != nil || got != c.with {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		got, err := appArmor(c.sc, &Host{AppArmor: true})
		if err != nil {
			got = "!"
		}
		if got != c.bare {
			t.Errorf("%s without apparmor_parser: %q, %v", name, got, err)
		}
		if got, err := appArmor(c.sc, &Host{}); (err == nil) != c.without || got != "" {
			t.Errorf("%s without AppArmor: %q, %v", name, got, err)
		}
	}
	for _, bad := range []*security{profile(2, ""), profile(0, "mine"), profile(1, "mine"), profile(3, ""), profile(2, "a\nb"), {ApparmorProfile: "mine"}, {ApparmorProfile: "localhost/"}} {
		if got, err := appArmor(bad, &Host{AppArmor: true, AppArmorDefault: true}); err == nil {
			t.Errorf("%v is %q", bad, got)
		}
	}
}

func TestSELinux(t *testing.T) {
	option := func(user, role, kind, level string) *runtimeapi.SELinuxOption {
		return &runtimeapi.SELinuxOption{User: user, Role: role, Type: kind, Level: level}
	}
	const own = "s0:c62,c774" // what the pod's id comes to
	for name, c := range map[string]struct {
		pod, container *runtimeapi.SELinuxOption
		process, file  string
	}{
		"nobody asks": {},
		"level":       {nil, option("", "", "", "s0:c1,c2"), "system_u:system_r:container_t:s0:c1,c2", "system_u:object_r:container_file_t:s0:c1,c2"},
		"pod":         {option("", "", "spc_t", ""), nil, "system_u:system_r:spc_t:" + own, "system_u:object_r:container_file_t:" + own},
		"both": {option("u", "r", "pod_t", "s0:c3,c4"), option("", "x_r", "own_t", ""),
			"u:x_r:own_t:s0:c3,c4", "system_u:object_r:container_file_t:s0:c3,c4"},
	} {
		if got := SELinuxLabels("pod-1", c.pod, c.container); got.Process != c.process || got.File != c.file {
			t.Errorf("%s: %+v", name, got)
		}
	}
	levels := map[string]bool{}
	for i := range 1000 {
		level := podLevel(fmt.Sprint("pod", i))
		var a, b int
		if n, err := fmt.Sscanf(level, "s0:c%d,c%d", &a, &b); n != 2 || err != nil || a >= b || b > 1023 {
			t.Errorf("level %s", level)
		}
		levels[level] = true
	}
	if len(levels) < 990 {
		t.Errorf("1000 pods have %d levels", len(levels))
	}
}

func TestRelabel(t *testing.T) {
	edit := func(selinux bool, path string) func(*ContainerInput) {
		return func(in *ContainerInput) {
			in.Host.SELinux = selinux
			sc(in).SelinuxOptions = &runtimeapi.SELinuxOption{Level: "s0"}
			in.Config.Mounts = []*runtimeapi.Mount{{ContainerPath: "/a", HostPath: "/h"}, {ContainerPath: "/b", HostPath: path, SelinuxRelabel: true}}
		}
	}
	// CVE-2021-43816
	for _, path := range []string{"/", "/etc", "/etc/hosts", "/usr/../etc/", "/usr/lib/modules", "/var", "/home/", "/root/.ssh", "/proc/sys", "/var/lib"} {
		_, err := Container(input(edit(true, path)))
		if err == nil || !strings.HasPrefix(err.Error(), "config.mounts[1].selinux_relabel: ") {
			t.Errorf("%s: %v", path, err)
		}
		if _, err := Container(input(edit(false, path))); err != nil {
			t.Errorf("%s without SELinux: %v", path, err)
		}
	}
	for _, path := range []string{"/home/user", "/var/lib/kubelet/pods/x", "/etcetera", "/srv/data"} {
		p, err := Container(input(edit(true, path)))
		if err != nil || p.Relabel[0].Path != path {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestResources(t *testing.T) {
	if r, err := Resources("linux", nil, strongHost()); err != nil || r == nil || r.CPU != nil || r.Memory != nil {
		t.Errorf("nothing is %+v, %v", r, err)
	}
	limits := &runtimeapi.LinuxContainerResources{MemoryLimitInBytes: 100, CpuQuota: -1}
	r, err := Resources("linux", limits, strongHost())
	if err != nil || *r.Memory.Limit != 100 || *r.Memory.Swap != 100 || *r.CPU.Quota != -1 {
		t.Errorf("%+v, %v", r, err)
	}
	if r, err = Resources("linux", limits, weakHost()); err != nil || r.Memory.Swap != nil {
		t.Errorf("swap where none is counted: %+v, %v", r, err)
	}
	limits.MemorySwapLimitInBytes = 300
	if r, err = Resources("linux", limits, strongHost()); err != nil || *r.Memory.Swap != 300 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestRlimits(t *testing.T) {
	in := input(func(in *ContainerInput) {
		in.Handler.Rlimits = map[string]config.Rlimit{"nofile": {Soft: 30000, Hard: 1 << 20}, "core": {}}
		in.Host = weakHost()
	})
	want := []specs.POSIXRlimit{{Type: "RLIMIT_CORE"}, {Type: "RLIMIT_NOFILE", Soft: 20000, Hard: 20000}}
	if got := rlimits(in); !slices.Equal(got, want) {
		t.Errorf("restricted: %v", got)
	}
	in.Host.Restrict.Rlimits = false
	want[1].Soft, want[1].Hard = 30000, 1<<20
	if got := rlimits(in); !slices.Equal(got, want) {
		t.Errorf("free: %v", got)
	}
}

// A pod's limit of memory is one of swap, too, beside what its containers were
// given, where swap is counted.
func TestPodResourcesSwap(t *testing.T) {
	r := &runtimeapi.LinuxContainerResources{MemoryLimitInBytes: 100}
	for _, c := range []struct {
		given int64
		want  int64
	}{{0, 100}, {30, 130}, {-1, -1}} {
		got, err := PodResources("", r, nil, c.given, strongHost())
		if err != nil || got.Memory.Swap == nil || *got.Memory.Swap != c.want || *got.Memory.Limit != 100 {
			t.Errorf("with %d given: %+v, %v", c.given, got, err)
		}
	}
	if got, err := PodResources("", r, nil, 30, weakHost()); err != nil || got.Memory.Swap != nil {
		t.Errorf("where swap is not counted: %+v, %v", got, err)
	}
	r.Unified = map[string]string{"memory.swap.max": "7"}
	if got, err := PodResources("", r, nil, 30, strongHost()); err != nil || got.Memory.Swap != nil {
		t.Errorf("said as a v2 file: %+v, %v", got, err)
	}
}
