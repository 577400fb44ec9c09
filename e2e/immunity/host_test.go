package immunity

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/e2e/harness"
)

// CVE-2020-15257: no abstract socket of varve is there for a container on the
// host's network.
func TestCVE_2020_15257_NoAbstractSockets(t *testing.T) {
	h := suite.Test(t)
	c := h.Pod().Start(harness.Say("sleep"))
	got := c.Exec("abstract")
	if strings.Contains(got, "varve") || strings.Contains(got, c.ID) {
		t.Errorf("abstract sockets:\n%s", got)
	}
}

// CVE-2021-41103 and CVE-2024-25621: directories 0700, files and sockets 0600.
func TestCVE_2021_41103_ModesOfState(t *testing.T) {
	h := suite.Test(t)
	h.Pod(harness.OwnNetwork).Start(harness.Say("sleep"))
	err := filepath.WalkDir(filepath.Join(h.Dir, "state"), func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return nil // what comes and goes
		}
		info, err := entry.Info()
		if err != nil || entry.Type() == fs.ModeSymlink {
			return nil
		}
		if entry.IsDir() && entry.Name() == "shm" {
			return fs.SkipDir // the pod's own /dev/shm, which its containers write to
		}
		if info.Mode().Perm()&0o077 != 0 && entry.IsDir() {
			t.Errorf("%s is %s", path, info.Mode())
		}
		if entry.Type() == fs.ModeSocket && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s is %s", path, info.Mode())
		}
		return nil
	})
	h.Must(err)
	for _, path := range []string{"state", "images"} {
		info, err := os.Stat(filepath.Join(h.Dir, path))
		h.Must(err)
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s is %s", path, info.Mode())
		}
	}
	info, err := os.Stat(h.Node.Socket())
	h.Must(err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("%s is %s", h.Node.Socket(), info.Mode())
	}
}

// CVE-2022-0811: a sysctl's value cannot carry another sysctl.
func TestCVE_2022_0811_SysctlInjection(t *testing.T) {
	h := suite.Test(t)
	before, err := os.ReadFile("/proc/sys/kernel/core_pattern")
	h.Must(err)
	for name, sysctl := range map[string][2]string{
		"plus":    {"kernel.shm_rmid_forced", "1+kernel.core_pattern=|/bin/evil"},
		"newline": {"kernel.shm_rmid_forced", "1\nkernel.core_pattern=|/bin/evil"},
		"path":    {"net.ipv4/../../kernel/core_pattern", "|/bin/evil"},
		"dots":    {"net/../kernel/core_pattern", "|/bin/evil"},
		"key":     {"kernel.core_pattern", "|/bin/evil"},
	} {
		t.Run(name, func(t *testing.T) {
			h := suite.Test(t)
			config := h.PodConfig(harness.OwnNetwork, func(c *runtimeapi.PodSandboxConfig) {
				c.Linux.Sysctls = map[string]string{sysctl[0]: sysctl[1]}
			})
			if _, err := h.RunPodSandbox(h.Ctx, &runtimeapi.RunPodSandboxRequest{Config: config}); err == nil {
				t.Errorf("a pod with %s=%q runs", sysctl[0], sysctl[1])
			}
		})
	}
	after, err := os.ReadFile("/proc/sys/kernel/core_pattern")
	h.Must(err)
	if !bytes.Equal(before, after) {
		t.Errorf("core_pattern is %q now", after)
	}
}

// CVE-2022-0532: a sysctl of a namespace that the pod shares with the host.
func TestCVE_2022_0532_SysctlOfTheHost(t *testing.T) {
	h := suite.Test(t)
	for sysctl, change := range map[string]harness.PodChange{
		"net.ipv4.ip_unprivileged_port_start": func(*runtimeapi.PodSandboxConfig) {}, // on the host's network
		"kernel.shm_rmid_forced": func(c *runtimeapi.PodSandboxConfig) {
			c.Linux.SecurityContext.NamespaceOptions.Ipc = runtimeapi.NamespaceMode_NODE
		},
	} {
		config := h.PodConfig(change, func(c *runtimeapi.PodSandboxConfig) { c.Linux.Sysctls = map[string]string{sysctl: "7"} })
		_, err := h.RunPodSandbox(h.Ctx, &runtimeapi.RunPodSandboxRequest{Config: config})
		h.WantCode(err, codes.InvalidArgument, sysctl)
	}
}

// CVE-2024-3154, CVE-2023-6476: annotations change nothing about a container's
// cgroup.
func TestCVE_2023_6476_AnnotationsAreOnlyText(t *testing.T) {
	h := suite.Test(t)
	annotations := map[string]string{
		"io.kubernetes.cri-o.UnifiedCgroup.c":  "memory.max=max",
		"org.systemd.property.TimeoutStopUSec": "uint64 1",
		"run.oci.systemd.force_cgroup_v1":      "/sys/fs/cgroup",
	}
	pod := h.Pod(func(c *runtimeapi.PodSandboxConfig) { c.Annotations = annotations })
	c := pod.Start(harness.Say("sleep"), func(c *runtimeapi.ContainerConfig) { c.Annotations = annotations },
		harness.Resources(&runtimeapi.LinuxContainerResources{MemoryLimitInBytes: 48 << 20}))
	if got := c.Status().GetResources().GetLinux().GetMemoryLimitInBytes(); got != 48<<20 {
		t.Errorf("memory limit %d", got)
	}
}

// CVE-2017-16539, CVE-2018-10892, GHSA-7ww5: what Kubernetes asks to be masked
// is masked, and the list of a request is passed on unaltered.
func TestCVE_2018_10892_MaskedPaths(t *testing.T) {
	h := suite.Test(t)
	masked := []string{
		"/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
		"/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap",
	}
	c := h.Pod().Start(harness.Say("sleep"), harness.Security(func(s *runtimeapi.LinuxContainerSecurityContext) { s.MaskedPaths = masked }))
	for _, path := range masked {
		for _, verb := range []string{"cat", "ls"} {
			answer, err := c.TryExec(0, verb, path)
			h.Must(err)
			if answer.GetExitCode() == 0 && len(answer.GetStdout()) > 0 {
				t.Errorf("%s %s: %.60q", verb, path, answer.GetStdout())
			}
		}
	}
}

// CVE-2022-1708 and CVE-2022-31030: the output of an exec without end takes no
// memory without end.
func TestCVE_2022_31030_MemoryOfExec(t *testing.T) {
	h := suite.Test(t)
	c := h.Pod().Start(harness.Say("sleep"))
	_, err := c.TryExec(0, "bytes", "1000")
	h.Must(err)
	before := residentMiB(t, h.Node.PID())
	for range 3 {
		if _, err := h.ExecSync(h.Ctx, &runtimeapi.ExecSyncRequest{ContainerId: c.ID, Cmd: []string{"/bin/probe", "bytes", "300000000"}}); err != nil {
			t.Error(err)
		}
	}
	// Two capped streams, gRPC's copy of the answer, and what the collector
	// has not come to yet.
	if after := residentMiB(t, h.Node.PID()); after > before+200 {
		t.Errorf("resident memory of varved grew from %d to %d MiB", before, after)
	}
}

func residentMiB(t *testing.T, pid int) int {
	t.Helper()
	body, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(body)) {
		if value, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.Atoi(strings.Fields(value)[0])
			if err != nil {
				t.Fatal(err)
			}
			return kib / 1024
		}
	}
	t.Fatal("no VmRSS")
	return 0
}

// GHSA-7jxh-36q5-gcqv, CVE-2022-23471: many execs that leave a child behind or
// fail take no descriptor and no thread that stays.
func TestGHSA_7jxh_36q5_gcqv_ExecsLeaveNothing(t *testing.T) {
	h := suite.Test(t)
	c := h.Pod().Start(harness.Say("sleep"))
	files := func() int {
		entries, err := os.ReadDir("/proc/" + strconv.Itoa(h.Node.PID()) + "/fd")
		h.Must(err)
		return len(entries)
	}
	c.Exec("id")
	before := files()
	for range 50 {
		c.TryExec(5, "no-such-command")                                                                          //nolint:errcheck // failing is the point
		h.ExecSync(h.Ctx, &runtimeapi.ExecSyncRequest{ContainerId: c.ID, Cmd: []string{"/no/such"}, Timeout: 5}) //nolint:errcheck // see above
	}
	harness.Eventually(t, "the daemon's open files are as before", func() bool { return files() <= before+20 }) // each that stays would be one of a hundred; spare shims come and go
}
