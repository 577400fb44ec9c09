package request

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/fault"
	"github.com/varve-cri/varve/e2e/hostile"
)

func pod(sets ...any) *runtimeapi.RunPodSandboxRequest {
	return set(&runtimeapi.RunPodSandboxRequest{}, sets...)
}

func made(sets ...any) *runtimeapi.CreateContainerRequest {
	return set(&runtimeapi.CreateContainerRequest{}, sets...)
}

// set sets paths to values, in pairs.
func set[M proto.Message](m M, sets ...any) M {
	for i := 0; i < len(sets); i += 2 {
		if err := hostile.Set(m, fmt.Sprint(sets[i]), sets[i+1]); err != nil {
			panic(err)
		}
	}
	return m
}

func TestRefused(t *testing.T) {
	long := func(n int) string { return strings.Repeat("x", n) }
	many := &runtimeapi.CreateContainerRequest{Config: &runtimeapi.ContainerConfig{Args: make([]string, MaxItems+1)}}
	big := pod()
	for i := range 9 {
		_ = hostile.Set(big, fmt.Sprintf("config.dns_config.searches[%d]", i), long(MaxText))
	}
	for name, c := range map[string]struct {
		req   proto.Message
		field string
	}{
		"unknown enum":             {made("config.stop_signal", 999), "config.stop_signal"},
		"unknown enum in a list":   {pod("config.port_mappings[1].protocol", 7), "config.port_mappings[1].protocol"},
		"negative enum":            {pod("config.linux.security_context.namespace_options.network", -1), "config.linux.security_context.namespace_options.network"},
		"enum of a filter":         {set(&runtimeapi.StreamContainersRequest{}, "filter.state.state", 9), "filter.state.state"},
		"NUL":                      {pod("config.hostname", "a\x00"), "config.hostname"},
		"NUL in a label":           {pod("config.labels[a]", "b\x00"), "config.labels[a]"},
		"NUL in a label's key":     {pod("config.labels[a\x00]", "b"), `config.labels["a\x00"]`},
		"NUL in an argument":       {made("config.args[2]", "b\x00"), "config.args[2]"},
		"long text":                {set(&runtimeapi.ContainerStatusRequest{}, "container_id", long(MaxText+1)), "container_id"},
		"long bytes":               {made("config.envs[0].value", long(MaxText+1)), "config.envs[0].value"},
		"labels too large":         {pod("config.labels[a]", long(MaxMap/2), "config.labels[b]", long(MaxMap/2)), "config.labels"},
		"annotations too large":    {made("config.annotations[a]", long(MaxMap+1)), "config.annotations[a]"},
		"too many":                 {many, "config.args"},
		"too large":                {big, "config.dns_config.searches"},
		"name with a slash":        {pod("config.metadata.name", "a/b"), "config.metadata.name"},
		"name that climbs":         {pod("config.metadata.namespace", ".."), "config.metadata.namespace"},
		"name that forges":         {pod("config.metadata.uid", "a;K8S_POD_NAME=b"), "config.metadata.uid"},
		"name of two lines":        {made("config.metadata.name", "a\rb"), "config.metadata.name"},
		"long name":                {made("config.metadata.name", long(maxName+1)), "config.metadata.name"},
		"log directory climbs":     {pod("config.log_directory", "/var/log/../../etc"), "config.log_directory"},
		"log directory, two lines": {pod("config.log_directory", "/var/log/a\nb"), "config.log_directory"},
		"log path climbs":          {made("config.log_path", "../x"), "config.log_path"},
		"log path is long":         {made("config.log_path", long(256)), "config.log_path"},
		"cgroup parent climbs":     {pod("config.linux.cgroup_parent", "/a/../../b"), "config.linux.cgroup_parent"},
		"cgroup parent is long":    {pod("config.linux.cgroup_parent", strings.Repeat("/a", 2000)), "config.linux.cgroup_parent"},
		"nameserver forges a line": {pod("config.dns_config.servers[0]", "fe80::1%eth0\nnameserver 192.0.2.6"), "config.dns_config.servers[0]"},
		"search forges":            {pod("config.dns_config.searches[0]", "a\x1b[2J"), "config.dns_config.searches[0]"},
		"port twice": {
			pod("config.port_mappings[0].host_port", 80, "config.port_mappings[1].host_port", 80, "config.port_mappings[1].container_port", 81), "config.port_mappings[1].host_port",
		},
		"zone of the host":          {pod("config.port_mappings[0].host_ip", "fe80::1%$(id)"), "config.port_mappings[0].host_ip"},
		"overhead":                  {pod("config.linux.overhead.cpu_shares", -1), "config.linux.overhead.cpu_shares"},
		"pod's resources":           {pod("config.linux.resources.memory_limit_in_bytes", -2), "config.linux.resources.memory_limit_in_bytes"},
		"pod's group":               {pod("config.linux.security_context.supplemental_groups[0]", -1), "config.linux.security_context.supplemental_groups[0]"},
		"too many groups":           {made("config.linux.security_context.supplemental_groups[65536]", 1), "config.linux.security_context.supplemental_groups"},
		"label of SELinux":          {made("config.linux.security_context.selinux_options.type", "a:b"), "config.linux.security_context.selinux_options.type"},
		"level of SELinux":          {made("config.linux.security_context.selinux_options.level", "s0\n"), "config.linux.security_context.selinux_options.level"},
		"long argument":             {made("config.command[1]", long(maxArgument+1)), "config.command[1]"},
		"long command of an exec":   {set(&runtimeapi.ExecSyncRequest{}, "cmd[0]", long(maxArgument+1)), "cmd[0]"},
		"long variable":             {made("config.envs[0].key", "A", "config.envs[0].value", long(maxArgument)), "config.envs[0].value"},
		"variable of two lines":     {made("config.envs[0].key", "A\nB"), "config.envs[0].key"},
		"long path":                 {made("config.mounts[0].container_path", "/"+long(256)), "config.mounts[0].container_path"},
		"long path of a device":     {made("config.devices[0].host_path", strings.Repeat("/dev", 1024)), "config.devices[0].host_path"},
		"long masked path":          {made("config.linux.security_context.masked_paths[1]", "/"+long(256)), "config.linux.security_context.masked_paths[1]"},
		"network of its own":        {made("config.linux.security_context.namespace_options.network", 1), "config.linux.security_context.namespace_options.network"},
		"timeout":                   {set(&runtimeapi.StopContainerRequest{}, "timeout", -1), "timeout"},
		"timeout of an exec":        {set(&runtimeapi.ExecSyncRequest{}, "timeout", -1), "timeout"},
		"update's score":            {set(&runtimeapi.UpdateContainerResourcesRequest{}, "linux.oom_score_adj", -1001), "linux.oom_score_adj"},
		"update for another system": {set(&runtimeapi.UpdateContainerResourcesRequest{}, "windows", nil), "windows"},
		"update of a pod":           {set(&runtimeapi.UpdatePodSandboxResourcesRequest{}, "overhead.cpu_period", -1), "overhead.cpu_period"},
		"port to forward":           {set(&runtimeapi.PortForwardRequest{}, "port[1]", 80, "port[0]", 0), "port[0]"},
		"token of two lines":        {set(&runtimeapi.PullImageRequest{}, "auth.registry_token", "a\nX-Evil: 1"), "auth.registry_token"},
		"pull for a pod":            {set(&runtimeapi.PullImageRequest{}, "sandbox_config.metadata.name", "a/b"), "sandbox_config.metadata.name"},
	} {
		t.Run(name, func(t *testing.T) {
			err := Check(c.req)
			var bad *fault.InvalidError
			if !errors.As(err, &bad) || bad.Field != c.field {
				t.Fatalf("%.300v, want one about %s", err, c.field)
			}
			if len(err.Error()) > 1000 || strings.Contains(err.Error(), "Evil") {
				t.Errorf("the message shows too much: %.300v", err)
			}
		})
	}
}

// TestLegal: what Kubernetes can send passes, however odd.
func TestLegal(t *testing.T) {
	labels := pod("config.metadata.name", strings.Repeat("a", 253), "config.metadata.uid", "")
	for i := range 10000 {
		if err := hostile.Set(labels, fmt.Sprintf("config.labels[k8s.io/l-%d]", i), "value"); err != nil {
			t.Fatal(err)
		}
	}
	for name, req := range map[string]any{
		"nothing":                 &runtimeapi.RunPodSandboxRequest{},
		"no container":            &runtimeapi.CreateContainerRequest{},
		"10,000 labels":           labels,
		"annotations":             pod("config.annotations[a]", strings.Repeat("é\n\x00", 60<<10)),
		"nameserver with a zone":  pod("config.dns_config.servers[0]", "fe80::1%eth0.100"),
		"one port, said twice":    pod("config.port_mappings[0].host_port", 53, "config.port_mappings[1].host_port", 53),
		"a pod's overhead off -1": set(&runtimeapi.UpdatePodSandboxResourcesRequest{}, "resources.cpu_quota", -25001, "resources.memory_limit_in_bytes", -17),
		"one port, two protocols": pod("config.port_mappings[0].host_port", 53, "config.port_mappings[1].host_port", 53, "config.port_mappings[1].protocol", 1),
		"no host ports":           pod("config.port_mappings[0].container_port", 53, "config.port_mappings[1].container_port", 53),
		"variable of bytes":       made("config.envs[0].key", "A.b-c", "config.envs[0].value", "\xff\n\x01"),
		"no limits":               made("config.linux.resources.cpu_quota", -1, "config.linux.resources.memory_limit_in_bytes", -1),
		"65,536 groups":           made("config.linux.security_context.supplemental_groups[65535]", 1),
		"level with categories":   made("config.linux.security_context.selinux_options.level", "s0:c1,c2"),
		"wait for ever":           set(&runtimeapi.StopContainerRequest{}, "timeout", 1<<62),
		"not of the CRI":          struct{}{},
	} {
		if err := Check(req); err != nil {
			t.Errorf("%s: %.300v", name, err)
		}
	}
}

func BenchmarkCheck(b *testing.B) {
	for name, req := range map[string]proto.Message{
		"id": set(&runtimeapi.ContainerStatsRequest{}, "container_id", strings.Repeat("0", 64)),
		"container": made("config.metadata.name", "web", "config.image.image", "x", "config.command[0]", "sh", "config.args[1]", "x", "config.envs[9].key", "A",
			"config.mounts[4].host_path", "/var/lib/kubelet/pods/x", "config.labels[io.kubernetes.pod.name]", "web", "config.log_path", "web/0.log",
			"config.linux.security_context.masked_paths[9]", "/proc/kcore", "config.linux.resources.cpu_shares", 2),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_ = Check(req)
			}
		})
	}
}
