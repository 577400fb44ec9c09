package request

import (
	"errors"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/config"
	"github.com/varve-cri/varve/cri/fault"
	"github.com/varve-cri/varve/cri/plan"
	"github.com/varve-cri/varve/e2e/hostile"
)

// noDevices is a host without devices.
type noDevices struct{}

func (noDevices) Find(string) ([]specs.LinuxDevice, error) { return nil, errors.New("not there") }
func (noDevices) All() ([]specs.LinuxDevice, error)        { return nil, nil }

// FuzzPlan takes any pod and any container in it through the checks and the
// plans, which are pure: no panic, no error that blames nobody, and no plan that
// reaches out of what it was given.
//
//	go test ./cri/request -run xxx -fuzz FuzzPlan -fuzztime 5m
func FuzzPlan(f *testing.F) {
	for _, m := range hostile.Methods() {
		if m.Name != "RunPodSandbox" && m.Name != "CreateContainer" {
			continue
		}
		for _, field := range m.Fields() {
			pod, container := seeds()
			for _, req := range []proto.Message{pod, container} {
				if req.ProtoReflect().Descriptor() == m.Request().ProtoReflect().Descriptor() {
					if err := hostile.Set(req, field.Path, hostile.Values(field.Kind)[0]); err != nil {
						f.Fatal(err)
					}
				}
			}
			add(f, pod, container)
		}
	}
	f.Fuzz(func(t *testing.T, podBytes, containerBytes []byte) {
		pod, container := &runtimeapi.RunPodSandboxRequest{}, &runtimeapi.CreateContainerRequest{}
		if proto.Unmarshal(podBytes, pod) != nil || proto.Unmarshal(containerBytes, container) != nil {
			return
		}
		p := planned(t, pod)
		if p == nil {
			pod, _ = seeds()
			p = planned(t, pod)
		}
		if Check(container) != nil || container.GetConfig() == nil {
			return
		}
		c, err := plan.Container(input(pod, container, p))
		blames(t, err)
		if err == nil {
			look(t, container.GetConfig(), pod.GetConfig(), p, c)
		}
	})
}

func add(f *testing.F, messages ...proto.Message) {
	f.Helper()
	var data []any
	for _, m := range messages {
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		data = append(data, b)
	}
	f.Add(data...)
}

// seeds is a pod and a container with something in most places.
func seeds() (*runtimeapi.RunPodSandboxRequest, *runtimeapi.CreateContainerRequest) {
	const sc = "config.linux.security_context."
	return pod("config.metadata.name", "web", "config.metadata.uid", "u", "config.hostname", "web", "config.log_directory", "/var/log/pods/web",
			"config.dns_config.servers[0]", "10.0.0.1", "config.dns_config.searches[0]", "svc", "config.dns_config.options[0]", "ndots:5",
			"config.port_mappings[0].host_port", 80, "config.port_mappings[0].container_port", 8080, "config.linux.cgroup_parent", "/kubepods/podx",
			"config.linux.sysctls[net.core.somaxconn]", "1", sc+"run_as_user.value", 1, sc+"seccomp.profile_type", 0),
		made("config.metadata.name", "main", "config.image.image", "i", "config.command[0]", "/bin/sh", "config.args[0]", "-c", "config.working_dir", "/w",
			"config.envs[0].key", "A", "config.envs[0].value", "b", "config.mounts[0].container_path", "/m", "config.mounts[0].host_path", "/h",
			"config.mounts[1].container_path", "/i", "config.mounts[1].image.image", "i", "config.mounts[1].readonly", true, "config.log_path", "main/0.log",
			sc+"capabilities.add_capabilities[0]", "NET_ADMIN", sc+"namespace_options.pid", 1, sc+"supplemental_groups[0]", 7, sc+"masked_paths[0]", "/proc/kcore",
			"config.linux.resources.cpu_quota", 10000, "config.linux.resources.cpuset_cpus", "0-1,3", "config.linux.resources.hugepage_limits[0].page_size", "2MB")
}

// planned returns the plan of a pod; nil of one that is refused.
func planned(t *testing.T, req *runtimeapi.RunPodSandboxRequest) *plan.PodPlan {
	t.Helper()
	if Check(req) != nil {
		return nil
	}
	p, err := plan.Pod(req.GetConfig(), "", config.Default())
	blames(t, err)
	if err != nil {
		return nil
	}
	for _, file := range [][]byte{p.ResolvConf, p.HostnameFile} {
		for line := range strings.Lines(string(file)) {
			word, _, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
			if word != "search" && word != "nameserver" && word != "options" && word != p.Hostname {
				t.Errorf("line %q in %q", line, file)
			}
		}
	}
	if !path.IsAbs(p.CgroupParent) || p.CgroupParent == "/" || path.Clean(p.CgroupParent) != p.CgroupParent {
		t.Errorf("cgroup %q", p.CgroupParent)
	}
	for key := range p.Sysctls {
		if strings.Contains(key, "..") {
			t.Errorf("sysctl %q", key)
		}
	}
	return p
}

func input(pod *runtimeapi.RunPodSandboxRequest, container *runtimeapi.CreateContainerRequest, p *plan.PodPlan) *plan.ContainerInput {
	handler, _ := config.Default().Handler("")
	volumes := map[int]string{}
	for i, m := range container.GetConfig().GetMounts() {
		if m.GetImage() != nil {
			volumes[i] = "sha256:1"
		}
	}
	return &plan.ContainerInput{
		ID: "id", Config: container.GetConfig(), PodConfig: pod.GetConfig(), Volumes: volumes, Handler: handler,
		Pod:    plan.PodFacts{NetNS: "/n", IPCNS: "/i", PIDNS: "/p", TargetPIDNS: "/t", CgroupParent: p.CgroupParent, Hostname: "h", Shm: "/s"},
		Passwd: []byte("root:x:0:0:root:/root:/bin/sh\n"), Group: []byte("root:x:0:\n"),
		Host: &plan.Host{Capabilities: []string{"CAP_CHOWN"}, Restrict: plan.Restrict{Capabilities: true}, Devices: noDevices{}, RecursiveRO: true},
	}
}

// blames fails the test for an error that has no code.
func blames(t *testing.T, err error) {
	t.Helper()
	if code, known := fault.Code(err); !known || code == codes.Internal {
		t.Errorf("%v", err)
	}
}

// look checks that a plan stays within what it was given.
func look(t *testing.T, c *runtimeapi.ContainerConfig, pod *runtimeapi.PodSandboxConfig, p *plan.PodPlan, got *plan.ContainerPlan) {
	t.Helper()
	if dir := path.Clean(pod.GetLogDirectory()); got.LogPath != "" && !strings.HasPrefix(got.LogPath, strings.TrimSuffix(dir, "/")+"/") {
		t.Errorf("log path %q out of %q", got.LogPath, dir)
	}
	if want := path.Join(p.CgroupParent, "id"); got.Spec.Linux.CgroupsPath != want {
		t.Errorf("cgroup %q, not %q", got.Spec.Linux.CgroupsPath, want)
	}
	for _, list := range [][]string{got.Spec.Process.Args, got.Spec.Process.Env, {got.Spec.Process.Cwd}} {
		for _, s := range list {
			if strings.Contains(s, "\x00") || len(s) > maxArgument {
				t.Errorf("the kernel takes no %.60q", s)
			}
		}
	}
	if !path.IsAbs(got.Spec.Process.Cwd) {
		t.Errorf("working directory %q", got.Spec.Process.Cwd)
	}
	for _, m := range got.Spec.Mounts {
		if !path.IsAbs(m.Destination) || path.Clean(m.Destination) != m.Destination || m.Destination == "/" {
			t.Errorf("mount at %q", m.Destination)
		}
	}
	opt := pod.GetLinux().GetSecurityContext().GetNamespaceOptions()
	for kind, host := range map[specs.LinuxNamespaceType]bool{
		specs.NetworkNamespace: false, specs.IPCNamespace: false, // the facts have both
		specs.PIDNamespace: opt.GetPid() == runtimeapi.NamespaceMode_NODE,
	} {
		has := slices.ContainsFunc(got.Spec.Linux.Namespaces, func(ns specs.LinuxNamespace) bool { return ns.Type == kind })
		if !has && !host {
			t.Errorf("no %s namespace for %v in %v", kind, c.GetLinux().GetSecurityContext().GetNamespaceOptions(), opt)
		}
	}
}
