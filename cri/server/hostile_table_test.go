package server

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/e2e/hostile"
)

// bad is a request that is refused: what is set in a request that would be all
// right, in pairs of path and value, and what the error says.
type bad struct {
	sets []any
	code codes.Code
	says []string
}

// no is a request with an argument that is refused, whose error names the first
// of the paths that are set.
func no(sets ...any) bad { return bad{sets, codes.InvalidArgument, []string{fmt.Sprint(sets[0])}} }

const (
	security = "config.linux.security_context."
	options  = security + "namespace_options."
)

var badPods = map[string]bad{
	"no config":                     no("config", hostile.Absent),
	"no metadata":                   no("config.metadata", hostile.Absent),
	"for another system":            no("config.windows", nil),
	"log directory is relative":     no("config.log_directory", "var/log"),
	"host name of two lines":        no("config.hostname", "a\nb"),
	"long host name":                no("config.hostname", strings.Repeat("a", 65)),
	"no address":                    no("config.dns_config.servers[0]", "dns.example"),
	"search of two words":           no("config.dns_config.searches[0]", "a b"),
	"port below":                    no("config.port_mappings[0].host_port", -1),
	"port above":                    no("config.port_mappings[0].host_port", 65536),
	"container's port above":        no("config.port_mappings[0].container_port", 1<<20),
	"address of no host":            no("config.port_mappings[0].host_ip", "localhost"),
	"sysctl of the host":            no("config.linux.sysctls[kernel.panic]", "1"),
	"sysctl of the host's network":  no("config.linux.sysctls[net.ipv4.ip_forward]", "1"),
	"sysctl that climbs":            no("config.linux.sysctls[fs.mqueue/../../kernel.panic]", "1"),
	"two sysctls in one":            no("config.linux.sysctls[kernel.shmmax]", "1\n2"),
	"cgroup parent is the root":     no("config.linux.cgroup_parent", "/"),
	"cgroup parent climbs":          no("config.linux.cgroup_parent", "../x"),
	"network of its own":            no(options+"network", 1),
	"ipc of another":                no(options+"ipc", 3),
	"pid of another":                no(options+"pid", 3),
	"group without a user":          no(security+"run_as_group", nil, security+"run_as_user", hostile.Absent),
	"user out of range":             no(security+"run_as_user", nil, security+"run_as_user.value", 1<<40),
	"handler is not there":          no("runtime_handler", "nosuch"),
	"no network":                    {[]any{options + "network", 0}, codes.FailedPrecondition, []string{"no network configuration"}},
	"user namespace of a container": no(options+"userns_options.mode", 1),
}

var badContainers = map[string]bad{
	"pod is not there":                    {[]any{"pod_sandbox_id", "nosuch"}, codes.NotFound, []string{"pod nosuch"}},
	"no pod":                              no("pod_sandbox_id", ""),
	"another pod's config":                no("sandbox_config.metadata", nil, "sandbox_config.metadata.uid", "other"),
	"no config":                           no("config", hostile.Absent),
	"no metadata":                         no("config.metadata", hostile.Absent),
	"no name":                             no("config.metadata.name", ""),
	"no image":                            no("config.image", hostile.Absent),
	"image is not there":                  {[]any{"config.image.image", "registry.test/missing:1"}, codes.NotFound, []string{"registry.test/missing:1"}},
	"image with a handler that is not":    no("config.image.runtime_handler", "nosuch"),
	"for another system":                  no("config.windows", nil),
	"log path climbs":                     no("config.log_path", "a/../../b"),
	"log path is absolute":                no("config.log_path", "/etc/passwd"),
	"log path is a directory":             no("config.log_path", "a/"),
	"variable without a name":             no("config.envs[0].key", ""),
	"name with an equals sign":            no("config.envs[0].key", "A=B"),
	"NUL in a variable":                   no("config.envs[0].value", "a\x00b"),
	"home of two lines":                   no("config.envs[0].value", "/\nroot", "config.envs[0].key", "HOME"),
	"working directory is a descriptor":   no("config.working_dir", "/proc/self/fd/8"),
	"mount on the root":                   no("config.mounts[0].container_path", "/.."),
	"mount on proc":                       no("config.mounts[0].container_path", "/proc/sys/../self"),
	"mount at no absolute path":           no("config.mounts[0].container_path", "m"),
	"mounts at one place":                 no("config.mounts[1].container_path", "/m/", "config.mounts[1].host_path", "/etc"),
	"source is not there":                 no("config.mounts[0].host_path", "/no/such"),
	"source is relative":                  no("config.mounts[0].host_path", "etc"),
	"source and image":                    no("config.mounts[0].image", nil, "config.mounts[0].image.image", probe),
	"sub path without an image":           no("config.mounts[0].image_sub_path", "a"),
	"sub path climbs":                     no("config.mounts[0].image_sub_path", "a/../..", "config.mounts[0].image.image", probe, "config.mounts[0].host_path", "", "config.mounts[0].readonly", true),
	"image volume is not there":           {[]any{"config.mounts[0].image.image", "registry.test/missing:1", "config.mounts[0].host_path", "", "config.mounts[0].readonly", true}, codes.NotFound, []string{"ImageVolumeMountFailed", "config.mounts[0].image"}},
	"recursively read-only, writable":     no("config.mounts[0].recursive_read_only", true),
	"recursively read-only and spreading": no("config.mounts[0].recursive_read_only", true, "config.mounts[0].readonly", true, "config.mounts[0].propagation", 1),
	"mount option":                        no("config.mounts[0].mount_options[0]", "exec"),
	"device is not there":                 no("config.devices[0].host_path", "/dev/nosuch"),
	"device is all of the host":           no("config.devices[0].host_path", "/"),
	"device is a file":                    no("config.devices[0].host_path", "/etc/passwd"),
	"device's permissions":                no("config.devices[0].permissions", "rx"),
	"CDI device is not there":             no("config.CDI_devices[0].name", "vendor.example/class=nosuch"),
	"capability":                          no(security+"capabilities.add_capabilities[0]", "CAP_NONE"),
	"seccomp at no absolute path":         no(security+"seccomp.localhost_ref", "profile.json", security+"seccomp.profile_type", 2),
	"seccomp default with a path":         no(security+"seccomp.localhost_ref", "/profile.json"),
	"seccomp is not there":                no(security+"seccomp", nil, security+"seccomp.profile_type", 2, security+"seccomp.localhost_ref", "/no/such/profile.json"),
	"user is not in the image":            no(security+"run_as_username", "nobody-here", security+"run_as_user", hostile.Absent, security+"run_as_group", hostile.Absent),
	"user by name and by number":          no(security+"run_as_username", "root"),
	"group without a user":                no(security+"run_as_group", nil, security+"run_as_user", hostile.Absent),
	"group is negative":                   no(security+"supplemental_groups[3]", -1),
	"privileged in a pod that is not":     no(security+"privileged", true),
	"host's IPC":                          no(options+"ipc", 2),
	"host's processes":                    no(options+"pid", 2),
	"pod's processes, which it has not":   no(options+"pid", 0),
	"processes of nobody":                 no(options+"target_id", "", options+"pid", 3),
	"processes of a stranger":             no(options+"target_id", "nosuch", options+"pid", 3),
	"CPUs that end before they begin":     no("config.linux.resources.cpuset_cpus", "0-"),
	"CPUs without end":                    no("config.linux.resources.cpuset_cpus", "0-4294967295"),
	"swap below memory":                   no("config.linux.resources.memory_swap_limit_in_bytes", 1<<20, "config.linux.resources.memory_limit_in_bytes", 1<<21),
	"page of no size":                     no("config.linux.resources.hugepage_limits[0].page_size", "2 megabytes"),
	"unified key that climbs":             {[]any{"config.linux.resources.unified[../memory.max]", "1"}, codes.InvalidArgument, []string{"config.linux.resources.unified", "../memory.max"}},
}

// badOthers are by method.
var badOthers = map[string]map[string]bad{
	"StopPodSandbox":   {"no id": no("pod_sandbox_id", "")},
	"RemovePodSandbox": {"no id": no("pod_sandbox_id", "")},
	"PodSandboxStatus": {"no id": no("pod_sandbox_id", ""), "not there": {[]any{"pod_sandbox_id", "a/../b\n"}, codes.NotFound, []string{`pod "a/../b\n" not found`}}},
	"PodSandboxStats":  {"no id": no("pod_sandbox_id", ""), "not there": {[]any{"pod_sandbox_id", "nosuch"}, codes.NotFound, []string{"nosuch"}}},
	"ListPodSandbox":   {"state": no("filter.state.state", 2)},
	"StartContainer": {
		"no id": no("container_id", ""), "not there": {[]any{"container_id", "nosuch"}, codes.NotFound, []string{"nosuch"}},
	},
	"StopContainer":   {"no id": no("container_id", ""), "before it was asked": no("timeout", -1)},
	"RemoveContainer": {"no id": no("container_id", "")},
	"ContainerStatus": {"no id": no("container_id", ""), "not there": {[]any{"container_id", strings.Repeat("x", 100<<10)}, codes.NotFound, []string{"container \"xxx"}}},
	"UpdateContainerResources": {
		"no id": no("container_id", ""), "not there": {[]any{"container_id", "nosuch"}, codes.NotFound, []string{"nosuch"}},
		"period": no("linux.cpu_period", 10), "for another system": no("windows", nil),
	},
	"UpdatePodSandboxResources": {"no id": no("pod_sandbox_id", ""), "not there": {[]any{"pod_sandbox_id", "nosuch"}, codes.NotFound, []string{"nosuch"}}},
	"ExecSync": {
		"no id": no("container_id", ""), "not there": {[]any{"container_id", "nosuch"}, codes.NotFound, []string{"nosuch"}},
		"no command": no("cmd", hostile.Absent), "NUL": no("cmd[1]", "a\x00"), "before it was asked": no("timeout", -1),
	},
	"Exec": {
		"no id": no("container_id", ""), "not there": {[]any{"container_id", "nosuch"}, codes.NotFound, []string{"nosuch"}},
		"no command": no("cmd", hostile.Absent), "NUL": no("cmd[1]", "a\x00"),
		"terminal and errors apart": no("stderr", true, "tty", true), "no streams": no("stdout", false),
	},
	"Attach": {
		"no id": no("container_id", ""), "not there": {[]any{"container_id", "nosuch"}, codes.NotFound, []string{"nosuch"}},
		"terminal that is not": no("tty", true), "input that is not": no("stdin", true), "no streams": no("stdout", false),
	},
	"PortForward": {
		"no id": no("pod_sandbox_id", ""), "not there": {[]any{"pod_sandbox_id", "nosuch"}, codes.NotFound, []string{"nosuch"}},
		"port below": no("port[0]", -1), "port above": no("port[1]", 65536, "port[0]", 80),
	},
	"ReopenContainerLog":  {"no id": no("container_id", ""), "not there": {[]any{"container_id", "nosuch"}, codes.NotFound, []string{"nosuch"}}},
	"UpdateRuntimeConfig": {"no range": no("runtime_config.network_config.pod_cidr", "10.0.0.1"), "two lines": no("runtime_config.network_config.pod_cidr", "10.0.0.0/8\n")},
	"PullImage": {
		"no image": no("image", hostile.Absent), "no name": no("image.image", ""), "capitals": no("image.image", "registry.test/Probe"),
		"climbs": no("image.image", "registry.test/../probe"), "two words": no("image.image", "registry.test/probe 1"),
		"no digest": no("image.image", "registry.test/probe@sha256:12"), "handler": no("image.runtime_handler", "nosuch"),
		"not there": {[]any{"image.image", "registry.test/none:1"}, codes.NotFound, []string{"registry.test/none:1"}},
	},
	"ImageStatus":         {"no name": no("image", hostile.Absent), "handler": no("image.runtime_handler", "nosuch")},
	"RemoveImage":         {"no name": no("image", hostile.Absent)},
	"CheckpointContainer": {"later": {nil, codes.Unimplemented, []string{"CheckpointContainer"}}},
	"CheckpointPod":       {"later": {nil, codes.Unimplemented, []string{"CheckpointPod"}}},
	"RestorePod":          {"later": {nil, codes.Unimplemented, []string{"RestorePod"}}},
}

// TestBadRequests: requests that contradict themselves, the pod or the node.
func TestBadRequests(t *testing.T) {
	s := newStage(t)
	before := s.picture()
	badOthers := badOthers
	for method, table := range map[string]map[string]bad{"RunPodSandbox": badPods, "CreateContainer": badContainers} {
		badOthers[method] = table
	}
	for method, table := range badOthers {
		for name, b := range table {
			t.Run(method+"/"+name, func(t *testing.T) {
				req := s.base(method)
				for i := 0; i < len(b.sets); i += 2 {
					if err := hostile.Set(req, fmt.Sprint(b.sets[i]), b.sets[i+1]); err != nil {
						t.Fatal(err)
					}
				}
				err := s.call(method, req)
				want(t, err, b.code, b.says...)
				if len(fmt.Sprint(err)) > 8<<10 {
					t.Errorf("a message of %d bytes", len(fmt.Sprint(err)))
				}
			})
		}
	}
	s.same("all of them", before)
}

// TestOddRequests: what is odd and legal is done, and given back as it came.
func TestOddRequests(t *testing.T) {
	s := newStage(t)
	pc := s.richPod()
	pc.Metadata.Name = strings.Repeat("a.b-", 63) + "c"
	pc.Labels = map[string]string{}
	for i := range 10000 {
		pc.Labels[fmt.Sprintf("example.com/label-%d", i)] = "value"
	}
	pc.Annotations = map[string]string{"": "", "a\nb": strings.Repeat("é\n\x00\"{}", 30<<10)}
	pod := s.node.pod(pc)
	st, err := s.PodSandboxStatus(s.ctx(), &runtimeapi.PodSandboxStatusRequest{PodSandboxId: pod})
	if err != nil || !proto.Equal(&runtimeapi.PodSandboxConfig{Labels: st.GetStatus().GetLabels(), Annotations: st.GetStatus().GetAnnotations()},
		&runtimeapi.PodSandboxConfig{Labels: pc.GetLabels(), Annotations: pc.GetAnnotations()}) {
		t.Errorf("labels and annotations are not as they were sent: %v", err)
	}
	cc := containerConfig(pc, "odd", "env", "ODD")
	cc.Annotations = pc.GetAnnotations()
	cc.Envs = []*runtimeapi.KeyValue{{Key: "ODD", Value: []byte("\xff\xfe \x01é")}, {Key: "odd.name-1", Value: []byte("=")}, {Key: "LONG", Value: []byte(strings.Repeat("x", 128<<10-6))}}
	cc.Linux.SecurityContext.SupplementalGroups = make([]int64, 65536)
	for i := range cc.Linux.SecurityContext.SupplementalGroups {
		cc.Linux.SecurityContext.SupplementalGroups[i] = int64(i)
	}
	id := s.run(pod, pc, cc)
	if st := s.exit(id); st.GetExitCode() != 0 || !proto.Equal(&runtimeapi.ContainerConfig{Annotations: st.GetAnnotations()}, &runtimeapi.ContainerConfig{Annotations: cc.GetAnnotations()}) {
		t.Errorf("container: %d %s", st.GetExitCode(), st.GetMessage())
	}
	log, err := os.ReadFile(filepath.Join(pc.GetLogDirectory(), "odd.log"))
	if err != nil || !strings.Contains(string(log), "\xff\xfe \x01é") {
		t.Errorf("the variable is %q, %v", log, err)
	}
}

// TestNotEvenRequests: what gRPC itself refuses changes nothing either.
func TestNotEvenRequests(t *testing.T) {
	s := newStage(t)
	before := s.picture()
	m := s.methods["RunPodSandbox"]
	large := s.richPod()
	large.Annotations = map[string]string{"a": strings.Repeat("x", 17<<20)}
	err := s.call(m.Name, &runtimeapi.RunPodSandboxRequest{Config: large})
	want(t, err, codes.ResourceExhausted, "larger than max")
	// A name that is no UTF-8 is no string to protobuf: no client can encode it.
	for _, data := range []string{"\x0a\x07\x0a\x05\x0a\x03\xff\xfea", "\x0a\x7f", "\xff"} {
		err := s.Raw(s.ctx(), m.Path, []byte(data))
		want(t, err, codes.Internal, "unmarshal")
	}
	s.same("none of them", before)
}

// TestLogBehindALink: the directory of a container's log is turned into a link
// between the creation and the start, as a pod can that may write to it.
func TestLogBehindALink(t *testing.T) {
	n := newNode(t)
	n.pull()
	pc := podConfig(t)
	pod := n.pod(pc)
	cc := containerConfig(pc, "main", "print", "x")
	cc.LogPath = "main/0.log"
	id, err := n.create(pod, pc, cc)
	if err != nil {
		t.Fatal(err)
	}
	outside := t.TempDir()
	if err := os.Remove(filepath.Join(pc.GetLogDirectory(), "main")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(pc.GetLogDirectory(), "main")); err != nil {
		t.Fatal(err)
	}
	_, err = n.StartContainer(n.ctx(), &runtimeapi.StartContainerRequest{ContainerId: id})
	want(t, err, codes.Unknown, "open log", "main/0.log", "symbolic links")
	cc.Metadata.Name = "second"
	_, err = n.create(pod, pc, cc)
	want(t, err, codes.InvalidArgument, "config.log_path", "main")
	if left, err := os.ReadDir(outside); err != nil || len(left) > 0 {
		t.Errorf("written outside: %v, %v", left, err)
	}
}
