package container

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/e2e/harness"
	"github.com/varve-cri/varve/e2e/testimage"
)

func mount(m *runtimeapi.Mount) harness.Change {
	return func(c *runtimeapi.ContainerConfig) { c.Mounts = append(c.Mounts, m) }
}

// volume is a host directory with a file "note".
func volume(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "note"), []byte("from the host\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestMounts(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod()
	dir := volume(t)
	c := pod.Start(harness.Say("sleep"),
		mount(&runtimeapi.Mount{HostPath: dir, ContainerPath: "/rw"}),
		mount(&runtimeapi.Mount{HostPath: dir, ContainerPath: "/deep/er/ro", Readonly: true}),
		mount(&runtimeapi.Mount{HostPath: filepath.Join(dir, "note"), ContainerPath: "/etc/note"}))
	if got := c.Exec("cat /rw/note /deep/er/ro/note /etc/note"); got != strings.Repeat("from the host\n", 3) {
		t.Errorf("got %q", got)
	}
	c.Exec("write /rw/new from inside")
	if got, err := os.ReadFile(filepath.Join(dir, "new")); err != nil || string(got) != "from inside" {
		t.Errorf("file written through the volume: %q, %v", got, err)
	}
	refused(t, c, "write /deep/er/ro/new x", "read-only file system")

	mounts := map[string]*runtimeapi.Mount{}
	for _, m := range c.Status().GetMounts() {
		mounts[m.GetContainerPath()] = m
	}
	if m := mounts["/deep/er/ro"]; !m.GetReadonly() || m.GetHostPath() != dir {
		t.Errorf("status tells mounts %v", c.Status().GetMounts())
	}
}

// TestMountOptions forbids programs in one of two mounts of the same directory.
func TestMountOptions(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod()
	dir := t.TempDir()
	program, err := testimage.Program("github.com/varve-cri/varve/e2e/probe")
	h.Must(err)
	h.Must(os.WriteFile(filepath.Join(dir, "probe"), program, 0o755))
	c := pod.Start(harness.Say("sleep"),
		mount(&runtimeapi.Mount{HostPath: dir, ContainerPath: "/strict", MountOptions: []string{"noexec", "nosuid", "nodev"}}),
		mount(&runtimeapi.Mount{HostPath: dir, ContainerPath: "/plain"}))
	run := func(path string) bool {
		answer, err := h.ExecSync(h.Ctx, &runtimeapi.ExecSyncRequest{ContainerId: c.ID, Cmd: []string{path, "print", "it", "runs"}})
		return err == nil && answer.GetExitCode() == 0
	}
	if run("/strict/probe") || !run("/plain/probe") {
		t.Errorf("a program runs with noexec: %v, without: %v", run("/strict/probe"), run("/plain/probe"))
	}
	for line := range strings.Lines(c.Exec("cat /proc/self/mountinfo")) {
		if strings.Contains(line, " /strict ") && !strings.Contains(line, " rw,nosuid,nodev,noexec,") {
			t.Errorf("options: %s", line)
		}
	}
	c.Exec("write /strict/x 1")
	_, err = pod.TryCreate(mount(&runtimeapi.Mount{HostPath: dir, ContainerPath: "/v", MountOptions: []string{"noexec", "exec"}}))
	h.WantCode(err, codes.InvalidArgument, "config.mounts[0].mount_options[1]", "exec")
}

func TestMountThroughSymlinkOnTheHost(t *testing.T) {
	h := suite.Test(t)
	dir := volume(t)
	link := filepath.Join(t.TempDir(), "link")
	h.Must(os.Symlink(dir, link))
	got := h.Pod().Output(harness.Say("cat /v/note"), mount(&runtimeapi.Mount{HostPath: link, ContainerPath: "/v"}))
	if got != "from the host\n" {
		t.Errorf("got %q", got)
	}
}

func TestMountSourceMissing(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod()
	c, err := pod.TryCreate(mount(&runtimeapi.Mount{HostPath: "/no/such/path", ContainerPath: "/v"}))
	if err == nil { // the look may come as late as at the start
		err = c.TryStart()
	}
	if err == nil || !strings.Contains(err.Error(), "/no/such/path") {
		t.Errorf("got %v", err)
	}
}

func TestRecursiveReadOnly(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod()
	dir := volume(t)
	below := filepath.Join(dir, "below")
	h.Must(os.Mkdir(below, 0o755))
	h.Must(unix.Mount("none", below, "tmpfs", 0, ""))
	t.Cleanup(func() { unix.Unmount(below, unix.MNT_DETACH) }) //nolint:errcheck // the audit finds it
	c := pod.Start(harness.Say("sleep"),
		mount(&runtimeapi.Mount{HostPath: dir, ContainerPath: "/ro", Readonly: true}),
		mount(&runtimeapi.Mount{HostPath: dir, ContainerPath: "/rro", Readonly: true, RecursiveReadOnly: true}))
	c.Exec("write /ro/below/x 1")
	refused(t, c, "write /rro/below/x 1", "read-only file system")

	_, err := pod.TryCreate(mount(&runtimeapi.Mount{HostPath: dir, ContainerPath: "/rro", RecursiveReadOnly: true}))
	h.WantCode(err, codes.InvalidArgument, "recursive_read_only")
}

// TestPropagation mounts on the host below a volume while the container runs,
// and in the container below another. The sources are mounts of their own that
// are shared, because / of this machine may not be.
func TestPropagation(t *testing.T) {
	for _, tc := range []struct {
		mode             runtimeapi.MountPropagation
		intoPod, outOfIt bool
	}{
		{runtimeapi.MountPropagation_PROPAGATION_PRIVATE, false, false},
		{runtimeapi.MountPropagation_PROPAGATION_HOST_TO_CONTAINER, true, false},
		{runtimeapi.MountPropagation_PROPAGATION_BIDIRECTIONAL, true, true},
	} {
		t.Run(tc.mode.String(), func(t *testing.T) {
			h := suite.Test(t)
			dir := t.TempDir()
			h.Must(unix.Mount("none", dir, "tmpfs", 0, ""))
			t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) }) //nolint:errcheck // TempDir's removal would fail
			h.Must(unix.Mount("", dir, "", unix.MS_SHARED, ""))
			h.Must(os.MkdirAll(filepath.Join(dir, "host"), 0o755))
			h.Must(os.MkdirAll(filepath.Join(dir, "pod"), 0o755))
			c := h.Pod().Start(harness.Say("sleep"),
				harness.Security(func(s *runtimeapi.LinuxContainerSecurityContext) {
					s.Capabilities = &runtimeapi.Capability{AddCapabilities: []string{"SYS_ADMIN"}}
					// The default profile lets no container mount, capable or not.
					s.Apparmor = &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_Unconfined}
				}),
				mount(&runtimeapi.Mount{HostPath: dir, ContainerPath: "/v", Propagation: tc.mode}))

			h.Must(unix.Mount("none", filepath.Join(dir, "host"), "tmpfs", 0, ""))
			h.Must(os.WriteFile(filepath.Join(dir, "host/x"), nil, 0o644))
			answer, err := c.TryExec(0, "exists", "/v/host/x")
			h.Must(err)
			if got := answer.GetExitCode() == 0; got != tc.intoPod {
				t.Errorf("a mount on the host is seen inside: %v, want %v", got, tc.intoPod)
			}
			c.Exec("mount /v/pod + write /v/pod/x 1")
			if _, err := os.Stat(filepath.Join(dir, "pod/x")); (err == nil) != tc.outOfIt {
				t.Errorf("a mount of the container is seen on the host: %v, want %v", err == nil, tc.outOfIt)
			}
		})
	}
}

func TestRootFilesystem(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod()
	c := pod.Start(harness.Say("sleep"))
	c.Exec("write /etc/note changed + mkdir /new + rm /etc/group")
	if got := c.Exec("cat /etc/note"); got != "changed" {
		t.Errorf("got %q", got)
	}
	if got := pod.Output(harness.Say("cat /etc/note")); got != "from the image\n" {
		t.Errorf("another container of the image sees %q", got)
	}
	ro := pod.Start(harness.Say("sleep"), harness.Security(func(s *runtimeapi.LinuxContainerSecurityContext) { s.ReadonlyRootfs = true }))
	refused(t, ro, "write /etc/note x", "read-only file system")
	ro.Exec("write /dev/shm/x 1")
}

func TestMaskedAndReadonlyPaths(t *testing.T) {
	h := suite.Test(t)
	c := h.Pod().Start(harness.Say("sleep"), harness.Security(func(s *runtimeapi.LinuxContainerSecurityContext) {
		s.MaskedPaths = []string{"/proc/interrupts", "/proc/acpi", "/sys/firmware", "/etc/note", "/not/there"}
		s.ReadonlyPaths = []string{"/proc/sys", "/etc"}
	}))
	if got := c.Exec("cat /etc/note /proc/interrupts"); got != "" {
		t.Errorf("masked files say %q", got)
	}
	if got := c.Exec("ls /sys/firmware"); got != "" {
		t.Errorf("a masked directory holds %q", got)
	}
	refused(t, c, "write /sys/firmware/x 1", "read-only file system")
	if got := c.Exec("write /etc/note gone + cat /etc/note"); got != "" {
		t.Errorf("what is written to a masked file comes back: %q", got)
	}
	refused(t, c, "write /proc/sys/kernel/hostname x", "read-only file system")
	refused(t, c, "write /etc/new x", "read-only file system")
}

func TestDevicesAndOwnFilesystems(t *testing.T) {
	h := suite.Test(t)
	c := h.Pod().Start(harness.Say("sleep"))
	c.Exec("open /dev/zero + open /dev/urandom + write /dev/null x")
	table := c.Exec("cat /proc/self/mountinfo")
	for _, want := range []string{" / / ", " /proc ", " /sys ", " /dev ", " /dev/pts ", " /dev/shm ", " /dev/mqueue ", " /sys/fs/cgroup"} {
		if !strings.Contains(table, want) {
			t.Errorf("no mount%sin\n%s", want, table)
		}
	}
	for line := range strings.Lines(table) {
		if strings.Contains(line, " /sys ") && !strings.Contains(line, " ro") {
			t.Errorf("/sys is writable: %s", line)
		}
		if strings.Contains(line, h.Dir) && strings.Contains(line, "/images") && !strings.Contains(line, " / / ") {
			t.Errorf("a mount of the node is seen: %s", line)
		}
	}
	if got := c.Exec("stat /dev/null"); !strings.HasPrefix(got, "20666 0:0 1:3 ") {
		t.Errorf("/dev/null is %s", got)
	}
	refused(t, c, "open /dev/kmsg", "no such file")

	dev := h.Pod().Start(harness.Say("sleep"), func(c *runtimeapi.ContainerConfig) {
		c.Devices = []*runtimeapi.Device{{HostPath: "/dev/full", ContainerPath: "/dev/mine", Permissions: "rw"}}
	})
	if got := dev.Exec("open /dev/mine + stat /dev/mine"); !strings.Contains(got, " 1:7 ") {
		t.Errorf("the device is %s", got)
	}
}

// refused runs an exec that must fail with words on stderr.
func refused(t *testing.T, c *harness.Container, line, words string) {
	t.Helper()
	answer, err := c.TryExec(0, strings.Fields(line)...)
	if err != nil {
		t.Errorf("exec %s: %v", line, err)
		return
	}
	if answer.GetExitCode() == 0 || !strings.Contains(string(answer.GetStderr()), words) {
		t.Errorf("exec %s: exit code %d, stderr %q; want a failure with %q", line, answer.GetExitCode(), answer.GetStderr(), words)
	}
}
