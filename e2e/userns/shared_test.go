package userns

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/e2e/harness"
)

// TestPropagation has a mount of the host appear inside, and none go the other
// way.
func TestPropagation(t *testing.T) {
	h := suite.Test(t)
	dir := t.TempDir()
	h.Must(unix.Mount("none", dir, "tmpfs", 0, ""))
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) }) //nolint:errcheck // TempDir's removal would fail
	h.Must(unix.Mount("", dir, "", unix.MS_SHARED, ""))
	h.Must(os.Chmod(dir, 0o777))
	for _, name := range []string{"host", "pod"} {
		h.Must(os.Mkdir(filepath.Join(dir, name), 0o755))
	}
	mount := func(mode runtimeapi.MountPropagation) harness.Change {
		return func(c *runtimeapi.ContainerConfig) {
			c.Mounts = append(c.Mounts, &runtimeapi.Mount{HostPath: dir, ContainerPath: "/v", Propagation: mode})
		}
	}
	pod := h.Pod(from(100000))
	c := pod.Start(harness.Say("sleep"), mount(runtimeapi.MountPropagation_PROPAGATION_HOST_TO_CONTAINER),
		harness.Security(func(s *securityContext) {
			s.Capabilities = &runtimeapi.Capability{AddCapabilities: []string{"SYS_ADMIN"}}
			s.Apparmor = &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_Unconfined}
		}))
	h.Must(unix.Mount("none", filepath.Join(dir, "host"), "tmpfs", 0, ""))
	h.Must(os.WriteFile(filepath.Join(dir, "host/x"), nil, 0o644))
	c.Exec("exists /v/host/x + mount /v/pod + write /v/pod/x 1")
	if _, err := os.Stat(filepath.Join(dir, "pod/x")); err == nil {
		t.Error("a mount of the container is seen on the host")
	}
	_, err := pod.TryCreate(mount(runtimeapi.MountPropagation_PROPAGATION_BIDIRECTIONAL))
	h.WantCode(err, codes.InvalidArgument, "config.mounts[0].propagation")
}

// TestTerminal gives the user of the namespace a terminal that is his.
func TestTerminal(t *testing.T) {
	h := suite.Test(t)
	c := h.Pod(from(100000)).Start(harness.Say("tty + stat /dev/pts/0 /dev/console + write /dev/tty hello"), func(c *runtimeapi.ContainerConfig) {
		c.Tty = true
		c.Linux.SecurityContext.RunAsUser = &runtimeapi.Int64Value{Value: 1000}
	})
	if status := c.WaitExit(); status.GetExitCode() != 0 {
		t.Errorf("exit code %d: %s", status.GetExitCode(), c.Log().All())
	}
	said := c.Log().Stdout()
	if !strings.Contains(said, "0 yes") || strings.Count(said, "1000:5 136:0 ") != 2 || !strings.Contains(said, "hello") {
		t.Errorf("the terminal: %s", said)
	}
}

// TestPodSettings sets what belongs to the pod's other namespaces, which belong to
// the user namespace.
func TestPodSettings(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod(harness.OwnNetwork, from(100000), func(c *runtimeapi.PodSandboxConfig) {
		c.Hostname = "mapped"
		c.Linux.Sysctls = map[string]string{"net.ipv4.ip_unprivileged_port_start": "99", "kernel.shm_rmid_forced": "1", "fs.mqueue.msg_max": "7"}
	})
	c := pod.Start(harness.Say("sleep"))
	got := c.Exec("cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/shm_rmid_forced /proc/sys/fs/mqueue/msg_max /etc/hostname /proc/sys/kernel/hostname")
	if words(got) != "99 1 7 mapped mapped" {
		t.Errorf("got %s", got)
	}
	answer, err := h.PodSandboxStats(h.Ctx, &runtimeapi.PodSandboxStatsRequest{PodSandboxId: pod.ID})
	h.Must(err)
	if name := answer.GetStats().GetLinux().GetNetwork().GetDefaultInterface().GetName(); name != "eth0" {
		t.Errorf("statistics of interface %q", name)
	}
	if _, err := h.ContainerStats(h.Ctx, &runtimeapi.ContainerStatsRequest{ContainerId: c.ID}); err != nil {
		t.Error(err)
	}
	_, err = h.RunPodSandbox(h.Ctx, &runtimeapi.RunPodSandboxRequest{Config: h.PodConfig(from(100000), func(c *runtimeapi.PodSandboxConfig) {
		c.Linux.Sysctls = map[string]string{"fs.mqueue.msg_max": "many"}
	})})
	if err == nil || !strings.Contains(err.Error(), "fs.mqueue.msg_max") {
		t.Errorf("error %v", err)
	}
}
