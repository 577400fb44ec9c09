package plan

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/opencontainers/runtime-spec/specs-go"
	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	cdi "tags.cncf.io/container-device-interface/specs-go"

	"github.com/varve-cri/varve/cri/config"
	"github.com/varve-cri/varve/cri/fault"
	"github.com/varve-cri/varve/cri/record"
)

var update = flag.Bool("update", false, "write the golden files")

func golden(t *testing.T, name string, v any) {
	t.Helper()
	got, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	path := filepath.Join("testdata", name+".json")
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("%s differs (run with -update to accept):\n%s", path, got)
	}
}

// fakeDevices is a host with three devices.
type fakeDevices struct{}

func device(path string, minor int64) specs.LinuxDevice {
	mode := os.FileMode(0o660)
	id := uint32(0)
	return specs.LinuxDevice{Path: path, Type: "c", Major: 10, Minor: minor, FileMode: &mode, UID: &id, GID: &id}
}

func (fakeDevices) Find(path string) ([]specs.LinuxDevice, error) {
	switch path {
	case "/dev/fuse":
		return []specs.LinuxDevice{device(path, 229)}, nil
	case "/dev/dir":
		return []specs.LinuxDevice{device("/dev/dir/a", 1), device("/dev/dir/sub/b", 2)}, nil
	}
	return nil, fmt.Errorf("stat %s: %w", path, os.ErrNotExist)
}

func (fakeDevices) All() ([]specs.LinuxDevice, error) {
	return []specs.LinuxDevice{device("/dev/fuse", 229), device("/dev/kvm", 232)}, nil
}

// weakHost is a node without CAP_SYS_RESOURCE, as the development machine.
func weakHost() *Host {
	h := strongHost()
	h.Capabilities = without(h.Capabilities, "CAP_SYS_RESOURCE")
	h.Restrict = Restrict{OOMScoreAdj: true, Rlimits: true, Capabilities: true}
	h.Rlimits = map[string]uint64{"nofile": 20000}
	h.Unified, h.SwapLimit = []string{"hugetlb"}, false
	return h
}

func strongHost() *Host {
	return &Host{
		Capabilities: append([]string{"CAP_NET_ADMIN", "CAP_SYS_ADMIN", "CAP_SYS_PTRACE", "CAP_SYS_RESOURCE", "CAP_SYS_TIME"}, defaultCapabilities...),
		Restrict:     Restrict{Capabilities: true}, Rlimits: map[string]uint64{"nofile": 1 << 20},
		Unified: []string{"cpu", "hugetlb", "memory"}, SwapLimit: true, RecursiveRO: true, Devices: fakeDevices{},
		MaskedPaths: []string{"/sys/devices/system/cpu/cpu0/thermal_throttle"},
	}
}

func without(list []string, s string) []string {
	var out []string
	for _, have := range list {
		if have != s {
			out = append(out, have)
		}
	}
	return out
}

const passwd = "root:x:0:0:root:/root:/bin/sh\n# comment\nwww-data:x:33:34:www:/var/www:/bin/false\n1000:x:0:0:trap:/:/bin/sh\nalice:x:1000:1001::/home/alice:/bin/sh\nbroken:x:zero:0::/:\nhuge:x:4294967296:0::/:\n"

const group = "root:x:0:\nwww:x:34:\nalice:x:1001:\nstaff:x:50000:bob,alice\nwheel:x:10:alice\nbroken:x:no:alice\nother:x:77:bob\n"

// input is a plain container in a plain pod; edit changes it.
func input(edit func(*ContainerInput)) *ContainerInput {
	handler, _ := config.Default().Handler("")
	in := &ContainerInput{
		ID: "c0ffee",
		Config: &runtimeapi.ContainerConfig{
			Metadata: &runtimeapi.ContainerMetadata{Name: "web"},
			Image:    &runtimeapi.ImageSpec{Image: "sha256:1234"},
			LogPath:  "web/0.log",
			Linux: &runtimeapi.LinuxContainerConfig{
				Resources:       &runtimeapi.LinuxContainerResources{},
				SecurityContext: &runtimeapi.LinuxContainerSecurityContext{},
			},
		},
		PodConfig: &runtimeapi.PodSandboxConfig{
			LogDirectory: "/var/log/pods/ns_pod_uid",
			Linux: &runtimeapi.LinuxPodSandboxConfig{SecurityContext: &runtimeapi.LinuxSandboxSecurityContext{
				NamespaceOptions: &runtimeapi.NamespaceOption{Pid: runtimeapi.NamespaceMode_CONTAINER},
			}},
		},
		Pod: PodFacts{
			NetNS: "/run/varve/pods/p/ns/net", IPCNS: "/run/varve/pods/p/ns/ipc", UTSNS: "/run/varve/pods/p/ns/uts",
			CgroupParent: "/kubepods/podx", Hostname: "pod", Shm: "/run/varve/pods/p/shm",
			ResolvConf: "/run/varve/pods/p/resolv.conf", Hosts: "/run/varve/pods/p/hosts", HostnameFile: "/run/varve/pods/p/hostname",
		},
		Image: ocispec.ImageConfig{
			Entrypoint: []string{"/entry"}, Cmd: []string{"serve"}, Env: []string{"PATH=/img/bin", "A=image", "nonsense"},
			WorkingDir: "/srv", StopSignal: "SIGQUIT",
		},
		Passwd: []byte(passwd), Group: []byte(group), Handler: handler, Host: strongHost(),
	}
	edit(in)
	return in
}

func sc(in *ContainerInput) *runtimeapi.LinuxContainerSecurityContext {
	return in.Config.Linux.SecurityContext
}

func TestContainerGolden(t *testing.T) {
	for name, edit := range map[string]func(*ContainerInput){
		"plain": func(*ContainerInput) {},
		"weak-node": func(in *ContainerInput) {
			in.Host = weakHost()
			in.Config.Linux.Resources = &runtimeapi.LinuxContainerResources{OomScoreAdj: -998, MemoryLimitInBytes: 1 << 20}
			sc(in).Capabilities = &runtimeapi.Capability{AddCapabilities: []string{"SYS_RESOURCE", "NET_ADMIN"}}
		},
		"privileged": func(in *ContainerInput) {
			in.PodConfig.Linux.SecurityContext.Privileged = true
			sc(in).Privileged = true
			sc(in).MaskedPaths = []string{"/proc/kcore"}
			sc(in).Seccomp = &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_RuntimeDefault}
			sc(in).Apparmor = &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_Localhost, LocalhostRef: "x"}
			in.Config.Devices = []*runtimeapi.Device{{HostPath: "/dev/fuse", ContainerPath: "/dev/fuse", Permissions: "r"}}
		},
		"host-everything": func(in *ContainerInput) {
			in.Pod = PodFacts{CgroupParent: "/varve/p"}
			in.PodConfig.Linux.SecurityContext.NamespaceOptions = &runtimeapi.NamespaceOption{
				Network: runtimeapi.NamespaceMode_NODE, Pid: runtimeapi.NamespaceMode_NODE, Ipc: runtimeapi.NamespaceMode_NODE,
			}
			sc(in).NamespaceOptions = in.PodConfig.Linux.SecurityContext.NamespaceOptions
		},
		"image-volumes": func(in *ContainerInput) {
			in.Config.Mounts = []*runtimeapi.Mount{
				{ContainerPath: "/srv/model/weights", Image: &runtimeapi.ImageSpec{Image: "registry.test/w:1"}, ImageSubPath: "bin", Readonly: true, MountOptions: []string{"noexec"}},
				{ContainerPath: "/srv/model", Image: &runtimeapi.ImageSpec{Image: "sha256:22"}, Readonly: true},
			}
			in.Volumes = map[int]string{0: "sha256:11", 1: "sha256:22"}
		},
		"restricted": func(in *ContainerInput) {
			s := sc(in)
			s.RunAsUser = &runtimeapi.Int64Value{Value: 1000}
			s.RunAsGroup = &runtimeapi.Int64Value{Value: 2000}
			s.SupplementalGroups = []int64{2000, 3000}
			s.ReadonlyRootfs, s.NoNewPrivs = true, true
			s.Capabilities = &runtimeapi.Capability{DropCapabilities: []string{"all"}, AddAmbientCapabilities: []string{"net_bind_service"}}
			s.Seccomp = &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_Localhost, LocalhostRef: "/etc/p.json"}
			s.MaskedPaths, s.ReadonlyPaths = []string{"/bin/ls"}, []string{"/etc"}
		},
		"request": func(in *ContainerInput) {
			c := in.Config
			c.Command, c.Args, c.WorkingDir = []string{"sh", "-c"}, []string{"env"}, "sub/dir"
			c.Envs = []*runtimeapi.KeyValue{{Key: "A", Value: []byte("request")}, {Key: "MULTI", Value: []byte("a\nb")}, {Key: "HOSTNAME", Value: []byte("mine")}}
			c.Tty, c.Stdin, c.StdinOnce = true, true, true
			c.StopSignal = runtimeapi.Signal_SIGNAL_SIGRTMINPLUS3
			c.Linux.Resources = &runtimeapi.LinuxContainerResources{
				CpuPeriod: 100000, CpuQuota: 50000, CpuShares: 512, MemoryLimitInBytes: 64 << 20, OomScoreAdj: 999, CpusetCpus: "0-1,3", CpusetMems: "0",
				HugepageLimits: []*runtimeapi.HugepageLimit{{PageSize: "2MB", Limit: 4 << 20}}, Unified: map[string]string{"memory.high": "60000000"},
			}
			c.Devices = []*runtimeapi.Device{{HostPath: "/dev/fuse", ContainerPath: "/dev/my-fuse", Permissions: "rw"}, {HostPath: "/dev/dir/", ContainerPath: "/dev/moved"}}
			sc(in).NamespaceOptions = &runtimeapi.NamespaceOption{Pid: runtimeapi.NamespaceMode_TARGET, TargetId: "other"}
			in.Pod.TargetPIDNS = "/proc/77/ns/pid"
		},
		"mounts": func(in *ContainerInput) {
			in.Config.Mounts = []*runtimeapi.Mount{
				{ContainerPath: "/data/deep/", HostPath: "/h/deep", Readonly: true, MountOptions: []string{"noexec", "nodev"}},
				{ContainerPath: "/data", HostPath: "/h/data", Propagation: runtimeapi.MountPropagation_PROPAGATION_BIDIRECTIONAL},
				{ContainerPath: "/etc/hosts", HostPath: "/kubelet/etc-hosts", SelinuxRelabel: true},
				{ContainerPath: "/dev/shm", HostPath: "/kubelet/shm"},
				{ContainerPath: "/rro", HostPath: "/h/rro", Readonly: true, RecursiveReadOnly: true},
				{ContainerPath: "/slave", HostPath: "/h/slave", Propagation: runtimeapi.MountPropagation_PROPAGATION_HOST_TO_CONTAINER},
				{ContainerPath: "/proc/meminfo", HostPath: "/lxcfs/meminfo"},
			}
		},
		"selinux": func(in *ContainerInput) {
			in.Host.SELinux, in.Pod.ID = true, "pod-1"
			in.PodConfig.Linux.SecurityContext.SelinuxOptions = &runtimeapi.SELinuxOption{Type: "pod_t"}
			in.Config.Mounts = []*runtimeapi.Mount{
				{ContainerPath: "/data", HostPath: "/h/data", SelinuxRelabel: true}, {ContainerPath: "/plain", HostPath: "/h/plain"},
				{ContainerPath: "/image", Image: &runtimeapi.ImageSpec{Image: "sha256:11"}, Readonly: true, SelinuxRelabel: true},
			}
			in.Volumes = map[int]string{2: "sha256:11"}
		},
		"cdi-userns": func(in *ContainerInput) {
			in.Pod.UserNS, in.Pod.UserNSPath = &UserNamespace{UID: IDRange{100000, 65536}, GID: IDRange{200000, 65536}}, "/run/varve/pods/p/ns/user"
			in.Devices = []record.Edits{{From: "vendor.com/gpu=0", ContainerEdits: cdi.ContainerEdits{
				Mounts: []*cdi.Mount{{HostPath: "/lib/gpu.so", ContainerPath: "/lib/gpu.so", Options: []string{"ro", "bind"}}},
			}}}
		},
		"handler": func(in *ContainerInput) {
			in.Handler.DefaultCapabilities, in.Handler.Cgroup.Writable = []string{"chown", "CAP_KILL"}, true
			in.Handler.Seccomp = &config.Seccomp{UnsetProfile: config.ProfileRuntimeDefault, DefaultProfile: "/etc/own.json"}
			in.Handler.Rlimits = map[string]config.Rlimit{"core": {}}
			sc(in).Capabilities = &runtimeapi.Capability{AddCapabilities: []string{"NET_RAW"}}
		},
		"mapped-volumes": func(in *ContainerInput) {
			ids := []*runtimeapi.IDMapping{{ContainerId: 0, HostId: 100000, Length: 65536}}
			in.Config.Mounts = []*runtimeapi.Mount{
				{ContainerPath: "/data/deep", HostPath: "/h/deep", Readonly: true, UidMappings: ids, GidMappings: ids},
				{ContainerPath: "/plain", HostPath: "/h/plain"},
				{ContainerPath: "/image", Image: &runtimeapi.ImageSpec{Image: "sha256:11"}, Readonly: true},
			}
			in.Volumes = map[int]string{2: "sha256:11"}
		},
		"cdi": func(in *ContainerInput) {
			mode := os.FileMode(0o620)
			uid := uint32(7)
			sc(in).RunAsUser = &runtimeapi.Int64Value{Value: 1000}
			in.Config.Envs = []*runtimeapi.KeyValue{{Key: "GPU", Value: []byte("none")}}
			in.Config.Mounts = []*runtimeapi.Mount{{ContainerPath: "/data", HostPath: "/h/data"}}
			in.Devices = []record.Edits{
				{From: "vendor.com/gpu", ContainerEdits: cdi.ContainerEdits{
					Env:    []string{"GPU=all", "LIB=/lib/gpu"},
					Mounts: []*cdi.Mount{{HostPath: "/lib/gpu-1.so", ContainerPath: "/lib/gpu.so", Options: []string{"ro", "nosuid", "bind"}}},
				}},
				{From: "vendor.com/gpu=0", ContainerEdits: cdi.ContainerEdits{
					DeviceNodes: []*cdi.DeviceNode{
						{Path: "/dev/gpu0", HostPath: "/dev/fuse", Permissions: "rw"},
						{Path: "/dev/full", Type: "u", Major: 99, Minor: 1, FileMode: &mode, UID: &uid},
						{Path: "/dev/null-of-gpu", Type: "c", Major: 1, Minor: 3, Permissions: "none"},
						{Path: "/dev/events", Type: "p"},
					},
					AdditionalGIDs: []uint32{0, 44, 1001},
					Mounts: []*cdi.Mount{
						{HostPath: "tmpfs", ContainerPath: "/run/gpu", Type: "tmpfs", Options: []string{"size=1m", "nosuid"}},
						{HostPath: "/lib/gpu-2.so", ContainerPath: "/lib/gpu.so", Options: []string{"ro", "rbind", "rslave"}},
					},
				}},
			}
		},
		"host-dev": func(in *ContainerInput) {
			in.Config.Mounts = []*runtimeapi.Mount{{ContainerPath: "/dev", HostPath: "/dev"}, {ContainerPath: "/sys", HostPath: "/sys"}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			in := input(edit)
			before := proto.Clone(in.Config)
			p, err := Container(in)
			if err != nil {
				t.Fatal(err)
			}
			if !proto.Equal(in.Config, before) {
				t.Error("the request was changed")
			}
			golden(t, "container/"+name, p)
		})
	}
}

func TestContainerErrors(t *testing.T) {
	for name, c := range map[string]struct {
		edit func(*ContainerInput)
		want string
	}{
		"no metadata":     {func(in *ContainerInput) { in.Config.Metadata = nil }, "config.metadata: is missing"},
		"no name":         {func(in *ContainerInput) { in.Config.Metadata.Name = "" }, "config.metadata.name"},
		"no image":        {func(in *ContainerInput) { in.Config.Image = nil }, "config.image.image"},
		"no command":      {func(in *ContainerInput) { in.Image.Entrypoint, in.Image.Cmd = nil, nil }, "config.command: is empty"},
		"NUL argument":    {func(in *ContainerInput) { in.Config.Args = []string{"a\x00"} }, "config.command: argument 1"},
		"empty program":   {func(in *ContainerInput) { in.Config.Command = []string{""} }, "config.command[0]"},
		"windows":         {func(in *ContainerInput) { in.Config.Windows = &runtimeapi.WindowsContainerConfig{} }, "config.windows"},
		"privileged":      {func(in *ContainerInput) { sc(in).Privileged = true }, "privileged: the pod is not"},
		"log climbs":      {func(in *ContainerInput) { in.Config.LogPath = "../x.log" }, "config.log_path: \"../x.log\" climbs"},
		"log climbs deep": {func(in *ContainerInput) { in.Config.LogPath = "a/../../x" }, "climbs"},
		"log absolute":    {func(in *ContainerInput) { in.Config.LogPath = "/etc/x" }, "not a relative path"},
		"log directory":   {func(in *ContainerInput) { in.Config.LogPath = "a/" }, "names no file"},
		"HOME newline": {func(in *ContainerInput) {
			in.Config.Envs = []*runtimeapi.KeyValue{{Key: "HOME", Value: []byte("x\nroot2::0:0")}}
		}, "config.envs[0].value: HOME holds a line break"},
		"image HOME newline": {func(in *ContainerInput) { in.Image.Env = []string{"HOME=x\ny"} }, "image config.Env[0].value"},
		"env NUL": {func(in *ContainerInput) {
			in.Config.Envs = []*runtimeapi.KeyValue{{Key: "A", Value: []byte("x\x00y")}}
		}, "config.envs[0].value: holds a NUL byte"},
		"env key":         {func(in *ContainerInput) { in.Config.Envs = []*runtimeapi.KeyValue{{Key: "A=B"}} }, "config.envs[0].key"},
		"env empty key":   {func(in *ContainerInput) { in.Config.Envs = []*runtimeapi.KeyValue{{Key: ""}} }, "config.envs[0].key: is empty"},
		"fd working dir":  {func(in *ContainerInput) { in.Image.WorkingDir = "/proc/self/fd/7" }, "image config.WorkingDir"},
		"fd working dir2": {func(in *ContainerInput) { in.Config.WorkingDir = "/proc/./self//fd/7/.." + "/8" }, "config.working_dir"},
		"stop signal":     {func(in *ContainerInput) { in.Config.StopSignal = 99 }, "config.stop_signal"},
		"volume proc":     {func(in *ContainerInput) { in.Image.Volumes = map[string]struct{}{"/proc/": {}} }, "image config.Volumes"},
		"volume climbs":   {func(in *ContainerInput) { in.Image.Volumes = map[string]struct{}{"../../etc": {}} }, "climbs"},
		"userns": {func(in *ContainerInput) {
			sc(in).NamespaceOptions = &runtimeapi.NamespaceOption{UsernsOptions: &runtimeapi.UserNamespace{}}
		}, "userns_options.uids: 0 mappings"},
		"pid POD": {func(in *ContainerInput) { sc(in).NamespaceOptions = &runtimeapi.NamespaceOption{} }, "namespace_options.pid: POD: the pod has no"},
		"pid TARGET without id": {func(in *ContainerInput) {
			sc(in).NamespaceOptions = &runtimeapi.NamespaceOption{Pid: runtimeapi.NamespaceMode_TARGET}
		}, "namespace_options.target_id"},
		"capability": {func(in *ContainerInput) {
			sc(in).Capabilities = &runtimeapi.Capability{AddCapabilities: []string{"CHOWN", "FLY"}}
		}, "add_capabilities[1]: \"FLY\""},
		"seccomp relative": {func(in *ContainerInput) { sc(in).SeccompProfilePath = "localhost/p.json" }, "seccomp_profile_path"},
		"seccomp word":     {func(in *ContainerInput) { sc(in).SeccompProfilePath = "strict" }, "seccomp_profile_path"},
		"seccomp ref": {func(in *ContainerInput) {
			sc(in).Seccomp = &runtimeapi.SecurityProfile{LocalhostRef: "/x"}
		}, "seccomp.localhost_ref: is set with profile type RuntimeDefault"},
		"apparmor": {func(in *ContainerInput) {
			sc(in).Apparmor = &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_Localhost, LocalhostRef: "mine"}
		}, "apparmor.localhost_ref: \"mine\": this node has no AppArmor"},
		"apparmor string": {func(in *ContainerInput) { sc(in).ApparmorProfile = "localhost/mine" }, "apparmor_profile"},
		"masked relative": {func(in *ContainerInput) { sc(in).MaskedPaths = []string{"proc"} }, "masked_paths[0]"},
		"memory":          {func(in *ContainerInput) { in.Config.Linux.Resources.MemoryLimitInBytes = -2 }, "config.linux.resources.memory_limit_in_bytes"},
		"swap below": {func(in *ContainerInput) {
			r := in.Config.Linux.Resources
			r.MemoryLimitInBytes, r.MemorySwapLimitInBytes = 10, 5
		}, "memory_swap_limit_in_bytes"},
		"period":      {func(in *ContainerInput) { in.Config.Linux.Resources.CpuPeriod = 5 }, "cpu_period"},
		"oom":         {func(in *ContainerInput) { in.Config.Linux.Resources.OomScoreAdj = -1001 }, "oom_score_adj"},
		"cpuset":      {func(in *ContainerInput) { in.Config.Linux.Resources.CpusetCpus = "0-4294967295" }, "cpuset_cpus"},
		"cpuset word": {func(in *ContainerInput) { in.Config.Linux.Resources.CpusetMems = "all" }, "cpuset_mems"},
		"hugepage": {func(in *ContainerInput) {
			in.Config.Linux.Resources.HugepageLimits = []*runtimeapi.HugepageLimit{{PageSize: "../2MB"}}
		}, "hugepage_limits[0].page_size"},
		"unified climbs": {func(in *ContainerInput) { in.Config.Linux.Resources.Unified = map[string]string{"../memory.max": "1"} }, "config.linux.resources.unified"},
		"unified on v1": {func(in *ContainerInput) {
			in.Host = weakHost()
			in.Config.Linux.Resources.Unified = map[string]string{"memory.max": "1"}
		}, `unified: "memory.max": this node has no controller memory in a cgroup v2 hierarchy`},
		"device missing": {func(in *ContainerInput) { in.Config.Devices = []*runtimeapi.Device{{HostPath: "/dev/none"}} }, "config.devices[0].host_path: stat /dev/none"},
		"device access": {func(in *ContainerInput) {
			in.Config.Devices = []*runtimeapi.Device{{HostPath: "/dev/fuse", Permissions: "rx"}}
		}, "config.devices[0].permissions"},
		"device over proc": {func(in *ContainerInput) {
			in.Config.Devices = []*runtimeapi.Device{{HostPath: "/dev/fuse", ContainerPath: "/proc/x"}}
		}, "config.devices[0].container_path"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Container(input(c.edit))
			var bad *fault.InvalidError
			if !errors.As(err, &bad) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %s", err, c.want)
			}
		})
	}
}

func TestTargetThatDoesNotRun(t *testing.T) {
	_, err := Container(input(func(in *ContainerInput) {
		sc(in).NamespaceOptions = &runtimeapi.NamespaceOption{Pid: runtimeapi.NamespaceMode_TARGET, TargetId: "abc"}
	}))
	var state *fault.PreconditionError
	if !errors.As(err, &state) || !strings.Contains(err.Error(), "container abc") {
		t.Errorf("error %v", err)
	}
}

func TestEditErrors(t *testing.T) {
	for want, e := range map[string]cdi.ContainerEdits{
		"its createContainer hook /bin/hook: hooks are not implemented": {Hooks: []*cdi.Hook{{HookName: "createContainer", Path: "/bin/hook"}}},
		"its intelRdt is not implemented":                               {IntelRdt: &cdi.IntelRdt{ClosID: "x"}},
		"its network device eth7 is not implemented":                    {NetDevices: []*cdi.LinuxNetDevice{{HostInterfaceName: "eth7", Name: "net0"}}},
		"env.value: HOME holds a line break":                            {Env: []string{"HOME=x\ny"}},
		"mount of /h on /proc/self: containerPath":                      {Mounts: []*cdi.Mount{{HostPath: "/h", ContainerPath: "/proc/self"}}},
		"mount of h on /x: hostPath":                                    {Mounts: []*cdi.Mount{{HostPath: "h", ContainerPath: "/x"}}},
		"option \"fly\" is not known":                                   {Mounts: []*cdi.Mount{{HostPath: "/h", ContainerPath: "/x", Options: []string{"ro", "fly"}}}},
		"type \"nfs\" is neither":                                       {Mounts: []*cdi.Mount{{HostPath: "/h", ContainerPath: "/x", Type: "nfs"}}},
		"its mount on /first is where config.mounts[0] goes":            {Mounts: []*cdi.Mount{{HostPath: "/h", ContainerPath: "/first/"}}},
		"device node /dev/none: stat /dev/none":                         {DeviceNodes: []*cdi.DeviceNode{{Path: "/dev/none"}}},
		"device node /dev/x: /dev/dir is a directory":                   {DeviceNodes: []*cdi.DeviceNode{{Path: "/dev/x", HostPath: "/dev/dir"}}},
		"/dev/fuse is of type c on the host, not b":                     {DeviceNodes: []*cdi.DeviceNode{{Path: "/dev/fuse", Type: "b"}}},
		"\"dev/x\" is not a path for a device":                          {DeviceNodes: []*cdi.DeviceNode{{Path: "dev/x", Type: "c", Major: 1}}},
	} {
		_, err := Container(input(func(in *ContainerInput) {
			in.Config.Mounts = []*runtimeapi.Mount{{ContainerPath: "/first", HostPath: "/f"}}
			in.Devices = []record.Edits{{From: "v.com/c=d", ContainerEdits: e}}
		}))
		if err == nil || !strings.HasPrefix(err.Error(), "CDI device v.com/c=d: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}

func TestMountErrors(t *testing.T) {
	for want, m := range map[string]*runtimeapi.Mount{
		"container_path: \"data\" is not":              {ContainerPath: "data", HostPath: "/h"},
		"container_path: the root":                     {ContainerPath: "/..", HostPath: "/h"},
		"/proc: nothing may be":                        {ContainerPath: "/proc", HostPath: "/h"},
		"/proc/self/attr: nothing":                     {ContainerPath: "/x/../proc/self/attr", HostPath: "/h"},
		"host_path: is empty":                          {ContainerPath: "/a"},
		"host_path: \"h\" is not":                      {ContainerPath: "/a", HostPath: "h"},
		"propagation: 9":                               {ContainerPath: "/a", HostPath: "/h", Propagation: 9},
		"recursive_read_only: is set without":          {ContainerPath: "/a", HostPath: "/h", RecursiveReadOnly: true},
		"recursive_read_only: is set with propagation": {ContainerPath: "/a", HostPath: "/h", RecursiveReadOnly: true, Readonly: true, Propagation: 1},
		"mount_options[0]: \"suid\"":                   {ContainerPath: "/a", HostPath: "/h", MountOptions: []string{"suid"}},
		"uidMappings: range 0 is empty":                {ContainerPath: "/a", HostPath: "/h", UidMappings: []*runtimeapi.IDMapping{{}}},
		"uidMappings: no ids":                          {ContainerPath: "/a", HostPath: "/h", GidMappings: []*runtimeapi.IDMapping{{Length: 1}}},
		"gidMappings: no ids":                          {ContainerPath: "/a", HostPath: "/h", UidMappings: []*runtimeapi.IDMapping{{Length: 1}}},
		"gidMappings: ranges 0 and 1 overlap":          {ContainerPath: "/a", HostPath: "/h", UidMappings: []*runtimeapi.IDMapping{{Length: 1}}, GidMappings: []*runtimeapi.IDMapping{{Length: 9}, {ContainerId: 8, HostId: 100, Length: 2}}},
		"image_sub_path":                               {ContainerPath: "/a", HostPath: "/h", ImageSubPath: "x"},
		"is that of config.mounts[0] too":              {ContainerPath: "/first/", HostPath: "/h"},
	} {
		_, err := Container(input(func(in *ContainerInput) {
			in.Config.Mounts = []*runtimeapi.Mount{{ContainerPath: "/first", HostPath: "/f"}, m}
		}))
		var bad *fault.InvalidError
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), "config.mounts[1].") || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %s", err, want)
		}
	}
	for prefix, m := range map[string]*runtimeapi.Mount{
		"RROUnsupported: ": {ContainerPath: "/a", HostPath: "/h", Readonly: true, RecursiveReadOnly: true},
	} {
		_, err := Container(input(func(in *ContainerInput) {
			in.Host.RecursiveRO = false
			in.Config.Mounts = []*runtimeapi.Mount{m}
		}))
		if err == nil || !strings.HasPrefix(err.Error(), prefix) {
			t.Errorf("error %v, want %s", err, prefix)
		}
	}
}

func TestEnvironmentKeepsBytes(t *testing.T) {
	p, err := Container(input(func(in *ContainerInput) {
		in.Config.Envs = []*runtimeapi.KeyValue{{Key: "RAW", Value: []byte{0xff, 0xfe, '\n', '='}}}
	}))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range p.Spec.Process.Env {
		if e == "RAW=\xff\xfe\n=" {
			return
		}
	}
	t.Errorf("environment %q", p.Spec.Process.Env)
}

// Two plans of one image must not share what either may change (CVE-2021-21334).
func TestPlansShareNothing(t *testing.T) {
	in := input(func(*ContainerInput) {})
	a, err := Container(in)
	if err != nil {
		t.Fatal(err)
	}
	a.Spec.Process.Env[0], a.Spec.Process.Args[0], a.Spec.Mounts[0].Options[0] = "X=1", "x", "x"
	a.Spec.Linux.Resources.Devices[0].Allow = true
	b, err := Container(in)
	if err != nil {
		t.Fatal(err)
	}
	if b.Spec.Process.Env[0] != "PATH=/img/bin" || b.Spec.Process.Args[0] != "/entry" || b.Spec.Mounts[0].Options[0] != "nosuid" || b.Spec.Linux.Resources.Devices[0].Allow {
		t.Error("the second plan shows changes of the first")
	}
}

func BenchmarkContainer(b *testing.B) {
	in := input(func(in *ContainerInput) {
		for i := range 30 {
			in.Config.Envs = append(in.Config.Envs, &runtimeapi.KeyValue{Key: fmt.Sprintf("SERVICE_%d", i), Value: []byte("10.0.0.1")})
		}
		in.Config.Mounts = []*runtimeapi.Mount{{ContainerPath: "/etc/hosts", HostPath: "/h"}, {ContainerPath: "/dev/termination-log", HostPath: "/t"}}
	})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Container(in); err != nil {
			b.Fatal(err)
		}
	}
}
