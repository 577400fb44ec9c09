package view

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

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

func message(t *testing.T, m proto.Message) json.RawMessage {
	t.Helper()
	out, err := protojson.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	// protojson varies its white space on purpose.
	var v any
	if err := json.Unmarshal(out, &v); err != nil {
		t.Fatal(err)
	}
	if out, err = json.Marshal(v); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestAnswersGolden(t *testing.T) {
	p := &record.Pod{
		ID: "p1", Handler: "h", CreatedAt: 5, State: record.PodReady, Pins: record.Pins{Net: true},
		Config: &runtimeapi.PodSandboxConfig{
			Metadata: &runtimeapi.PodSandboxMetadata{Name: "web", Namespace: "default", Uid: "1-2-3"}, Annotations: map[string]string{"a": "<b>"},
			Linux: &runtimeapi.LinuxPodSandboxConfig{SecurityContext: &runtimeapi.LinuxSandboxSecurityContext{
				NamespaceOptions: &runtimeapi.NamespaceOption{Pid: runtimeapi.NamespaceMode_CONTAINER},
			}},
		},
		Network:      record.Network{IPs: []string{"10.0.0.2", "fd00::2"}, Result: []byte(`{"cniVersion":"1.0.0"}`)},
		CgroupParent: "/kubepods/podx", Duties: []record.Duty{{Kind: record.DutyNetwork}},
	}
	c := &record.Container{
		ID: "c1", PodID: "p1", ImageID: "sha256:1", ImageRef: "r@sha256:2", State: record.Exited, CreatedAt: 5, StartedAt: 6, EndedAt: 7,
		ExitCode: 137, Reason: record.ReasonOOMKilled, LogPath: "/l/0.log", Cgroup: "/kubepods/podx/c1", StopSig: 3,
		User:      record.User{UID: 1000, GID: 1001, Groups: []uint32{1001, 10}},
		Resources: &runtimeapi.LinuxContainerResources{CpuShares: 2},
		Config: &runtimeapi.ContainerConfig{
			Metadata: &runtimeapi.ContainerMetadata{Name: "web"}, Image: &runtimeapi.ImageSpec{Image: "sha256:1234"},
			Mounts: []*runtimeapi.Mount{{ContainerPath: "/m", HostPath: "/h"}}, Labels: map[string]string{"l": "v"},
		},
	}
	podInfo, err := PodInfo(p, "/run/varve/pods/p1")
	if err != nil {
		t.Fatal(err)
	}
	containerInfo, err := ContainerInfo(c, "/run/varve/containers/c1")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "pod", map[string]any{"item": message(t, PodItem(p)), "status": message(t, PodStatus(p)), "info": json.RawMessage(podInfo["info"])})
	golden(t, "container", map[string]any{"item": message(t, ContainerItem(c)), "status": message(t, ContainerStatus(c)), "info": json.RawMessage(containerInfo["info"])})
}

func TestStates(t *testing.T) {
	for s, want := range map[record.ContainerState]runtimeapi.ContainerState{
		record.Created: runtimeapi.ContainerState_CONTAINER_CREATED, record.Starting: runtimeapi.ContainerState_CONTAINER_CREATED,
		record.Running: runtimeapi.ContainerState_CONTAINER_RUNNING, record.Exited: runtimeapi.ContainerState_CONTAINER_EXITED,
		record.Unknown: runtimeapi.ContainerState_CONTAINER_UNKNOWN, record.Removing: runtimeapi.ContainerState_CONTAINER_EXITED,
	} {
		if got := ContainerState(&record.Container{State: s}); got != want {
			t.Errorf("%s is %s", s, got)
		}
	}
	for s, want := range map[record.PodState]runtimeapi.PodSandboxState{
		record.PodPreparing: runtimeapi.PodSandboxState_SANDBOX_NOTREADY, record.PodReady: runtimeapi.PodSandboxState_SANDBOX_READY,
		record.PodNotReady: runtimeapi.PodSandboxState_SANDBOX_NOTREADY, record.PodRemoving: runtimeapi.PodSandboxState_SANDBOX_NOTREADY,
	} {
		if got := PodState(&record.Pod{State: s}); got != want {
			t.Errorf("%s is %s", s, got)
		}
	}
}

// A record that a fault has left without its parts is still told of: one bad
// record never stops a list.
func TestAnswersOfEmptyRecords(t *testing.T) {
	p, c := &record.Pod{ID: "p"}, &record.Container{ID: "c"}
	for name, m := range map[string]proto.Message{
		"pod": PodItem(p), "pod's status": PodStatus(p), "container": ContainerItem(c), "container's status": ContainerStatus(c),
	} {
		if _, err := proto.Marshal(m); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	s := PodStatus(p)
	if s.GetNetwork() == nil || s.GetNetwork().GetIp() != "" || s.GetLinux().GetNamespaces().GetOptions() == nil || s.GetState() != runtimeapi.PodSandboxState_SANDBOX_NOTREADY {
		t.Errorf("a pod without an address: %v", s)
	}
	if ContainerStatus(c).GetResources() != nil {
		t.Error("limits that nobody has set")
	}
	for _, info := range []func() (map[string]string, error){
		func() (map[string]string, error) { return PodInfo(p, "/d") }, func() (map[string]string, error) { return ContainerInfo(c, "/d") },
	} {
		if m, err := info(); err != nil || !json.Valid([]byte(m["info"])) || len(m) != 1 {
			t.Errorf("%v, %v", m, err)
		}
	}
}

// What a plugin has said that is no JSON must not make all of the answer none.
func TestInfoOfABadResult(t *testing.T) {
	p := &record.Pod{ID: "p", Network: record.Network{Result: []byte(`{"ips":`)}, Limits: &record.Limits{Resources: &runtimeapi.LinuxContainerResources{CpuShares: 7}}}
	m, err := PodInfo(p, "/d")
	if err != nil || strings.Contains(m["info"], "cniResult") || !strings.Contains(m["info"], `"resources":{"cpu_shares":7}`) {
		t.Errorf("%s, %v", m["info"], err)
	}
}

// The mounts as they were resolved at the creation are told, not those of the
// request.
func TestResolvedMounts(t *testing.T) {
	c := &record.Container{
		ID: "c", Config: &runtimeapi.ContainerConfig{Mounts: []*runtimeapi.Mount{{ContainerPath: "/asked"}}},
		Mounts: []*runtimeapi.Mount{{ContainerPath: "/made"}},
	}
	if m := ContainerStatus(c).GetMounts(); len(m) != 1 || m[0].GetContainerPath() != "/made" {
		t.Errorf("%v", m)
	}
}
