package hostile

import (
	"testing"

	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestMethods(t *testing.T) {
	all := Methods()
	if len(all) != 43 {
		t.Errorf("the CRI has %d methods", len(all))
	}
	for _, m := range all {
		if m.Name == "StreamContainers" && (!m.Streams || m.Path != "/runtime.v1.RuntimeService/StreamContainers") {
			t.Errorf("%+v", m)
		}
	}
}

// TestSetEveryField: every field of every request takes every value that is
// for its kind.
func TestSetEveryField(t *testing.T) {
	n := 0
	for _, m := range Methods() {
		for _, f := range m.Fields() {
			values := Values(f.Kind)
			if len(values) == 0 {
				t.Errorf("%s: %s: nothing to put into %v", m.Name, f.Path, f.Kind)
			}
			for _, v := range values {
				n++
				if err := Set(m.Request(), f.Path, v); err != nil {
					t.Errorf("%s: %v", m.Name, err)
				}
			}
		}
	}
	if n < 1000 {
		t.Errorf("%d values", n)
	}
}

func TestSet(t *testing.T) {
	got := &runtimeapi.CreateContainerRequest{}
	for path, v := range map[string]any{
		"pod_sandbox_id": "p", "config.mounts[1].host_path": "/h", "config.linux.security_context.run_as_user.value": 7,
		"config.labels[a.b/c]": "v", "config.stop_signal": 3, "config.envs[0].value": "\xff", "config.tty": true, "sandbox_config": nil,
		"config.linux.resources.hugepage_limits[0].limit": uint64(1), "config.linux.security_context.supplemental_groups[1]": 5,
	} {
		if err := Set(got, path, v); err != nil {
			t.Fatal(err)
		}
	}
	want := &runtimeapi.CreateContainerRequest{
		PodSandboxId: "p", SandboxConfig: &runtimeapi.PodSandboxConfig{},
		Config: &runtimeapi.ContainerConfig{
			Mounts: []*runtimeapi.Mount{{}, {HostPath: "/h"}}, Labels: map[string]string{"a.b/c": "v"}, StopSignal: 3, Tty: true,
			Envs: []*runtimeapi.KeyValue{{Value: []byte{0xff}}},
			Linux: &runtimeapi.LinuxContainerConfig{
				Resources:       &runtimeapi.LinuxContainerResources{HugepageLimits: []*runtimeapi.HugepageLimit{{Limit: 1}}},
				SecurityContext: &runtimeapi.LinuxContainerSecurityContext{RunAsUser: &runtimeapi.Int64Value{Value: 7}, SupplementalGroups: []int64{0, 5}},
			},
		},
	}
	if !proto.Equal(got, want) {
		t.Errorf("made %v", got)
	}
	for path, v := range map[string]any{"nosuch": "", "config.nosuch": "", "pod_sandbox_id": 1, "config.mounts[x].host_path": "", "config.tty": "x", "pod_sandbox_id.x": ""} {
		if err := Set(got, path, v); err == nil {
			t.Errorf("%s takes %v", path, v)
		}
	}
	if err := Set(got, "config", Absent); err != nil || got.Config != nil {
		t.Errorf("config is still there: %v", err)
	}
}
