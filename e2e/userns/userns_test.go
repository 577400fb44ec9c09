package userns

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/e2e/harness"
	"github.com/varve-cri/varve/e2e/testimage"
)

func ownerOf(info fs.FileInfo) [2]uint32 {
	st := info.Sys().(*syscall.Stat_t) //nolint:forcetypeassert // of Lstat
	return [2]uint32{st.Uid, st.Gid}
}

func TestFeatures(t *testing.T) {
	h := suite.Test(t)
	answer, err := h.Status(h.Ctx, &runtimeapi.StatusRequest{})
	h.Must(err)
	if !answer.GetFeatures().GetUserNamespacesHostNetwork() {
		t.Error("not with the host's network")
	}
	for _, handler := range answer.GetRuntimeHandlers() {
		if !handler.GetFeatures().GetUserNamespaces() {
			t.Errorf("not of handler %q", handler.GetName())
		}
	}
}

// TestWhoIsWho has three containers in one user namespace, which is none of the
// host's: root inside is a user without rights outside.
func TestWhoIsWho(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod(harness.OwnNetwork, from(100000))
	var all []*harness.Container
	for range 3 {
		all = append(all, pod.Start(harness.Say("ns + sleep")))
	}
	seen := map[string]bool{}
	for _, c := range all {
		if got := words(c.Exec("cat /proc/self/uid_map /proc/self/gid_map /proc/1/uid_map")); got != "0 100000 40000 0 150000 40000 0 100000 40000" {
			t.Errorf("maps %s", got)
		}
		status := onHost(h, c, "status")
		if field(status, "Uid") != "100000\t100000\t100000\t100000" || field(status, "Gid") != "150000\t150000\t150000\t150000" {
			t.Errorf("to the host it is %s, %s", field(status, "Uid"), field(status, "Gid"))
		}
		c.WaitLog("user:[")
		for line := range strings.Lines(c.Log().Stdout()) {
			if strings.HasPrefix(line, "user:") {
				seen[line] = true
			}
		}
		if got := c.Exec("ns"); !strings.Contains(got, c.Log().Stdout()) {
			t.Errorf("an exec is in %s, the container in %s", got, c.Log().Stdout())
		}
	}
	host, err := os.Readlink("/proc/self/ns/user")
	h.Must(err)
	if len(seen) != 1 || seen[host+"\n"] {
		t.Errorf("user namespaces %v, the host's is %s", seen, host)
	}
	options := pod.Status().GetLinux().GetNamespaces().GetOptions().GetUsernsOptions()
	if options.GetUids()[0].GetHostId() != 100000 {
		t.Errorf("the status tells %v", options)
	}
}

// TestFiles looks at the image's files, at what is written, and at volumes with
// and without a mapping, from both sides.
func TestFiles(t *testing.T) {
	h := suite.Test(t)
	probe, err := testimage.ProbeFiles()
	h.Must(err)
	program := probe[3]
	program.Name, program.Mode = "bin/setuid/id", 0o4755
	ref := h.Image("users", v1.Config{}, testimage.File{Name: "etc/alice", Body: "x", UID: 1234, GID: 1235}, program)
	plain, mapped := t.TempDir(), t.TempDir()
	for _, dir := range []string{plain, mapped} {
		h.Must(os.Chmod(dir, 0o777))
		h.Must(os.WriteFile(filepath.Join(dir, "mine"), []byte("x"), 0o600))
	}
	pod := h.Pod(from(100000))
	c := pod.Start(harness.Image(ref), harness.Say("sleep"), volume(plain, "/plain", 0), volume(mapped, "/mapped", 100000))
	got := c.Exec("stat /etc /etc/note /etc/alice /bin/probe /etc/hosts /dev /dev/null /dev/shm /mapped/mine /plain/mine")
	for line := range strings.Lines(got) {
		words := strings.Fields(line)
		want := map[string]string{"/etc/alice": "1234:1235", "/plain/mine": "65534:65534"}[words[4]]
		if want == "" {
			want = "0:0"
		}
		if words[1] != want {
			t.Errorf("%s belongs to %s, want %s", words[4], words[1], want)
		}
	}
	fails(t, c, "cat /plain/mine", "permission denied")
	c.Exec("cat /mapped/mine + write /plain/new x + write /mapped/new x + write /etc/new x + chown /etc/note 7 8 + chown /mapped/mine 9 10 + append /dev/stdout x")
	owner(t, filepath.Join(plain, "new"), 100000, 150000)
	owner(t, filepath.Join(mapped, "new"), 0, 0)
	owner(t, filepath.Join(mapped, "mine"), 9, 10)
	fails(t, c, "chown /etc/note 40000 0", "invalid argument") // there is no such user
	if got := c.Exec("stat /etc/note"); !strings.Contains(got, " 7:8 ") {
		t.Errorf("after chown: %s", got)
	}
	user := pod.Start(harness.Image(ref), harness.Say("sleep"), harness.Security(func(s *securityContext) {
		s.RunAsUser, s.RunAsGroup, s.SupplementalGroups = &runtimeapi.Int64Value{Value: 1000}, &runtimeapi.Int64Value{Value: 1001}, []int64{1002}
	}))
	if got := words(user.Exec("id")); got != "uid=1000 euid=1000 gid=1001 egid=1001 groups=[1001 1002]" {
		t.Errorf("the user is %s", got)
	}
	answer, err := h.ExecSync(h.Ctx, &runtimeapi.ExecSyncRequest{ContainerId: user.ID, Cmd: []string{"/bin/setuid/id"}})
	if err != nil || !strings.Contains(string(answer.GetStdout()), "uid=1000 euid=0 ") {
		t.Errorf("a program that is root's: %v, %v", answer, err)
	}
	if uids := field(onHost(h, user, "status"), "Uid"); uids != "101000\t101000\t101000\t101000" {
		t.Errorf("to the host the user is %s", uids)
	}
	fails(t, user, "write /etc/new2 x", "permission denied")
	user.Exec("append /dev/stdout x")
}

// TestRights has all capabilities over the pod and none over the host.
func TestRights(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod(harness.OwnNetwork, from(100000))
	c := pod.Start(harness.Say("serve :80 inside"), harness.Security(func(s *securityContext) {
		s.Capabilities = &runtimeapi.Capability{AddCapabilities: []string{"ALL"}}
		// Where there is AppArmor, its default profile lets nobody mount.
		s.Apparmor = &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_Unconfined}
		s.MaskedPaths, s.ReadonlyPaths = []string{"/proc/keys", "/sys/firmware"}, []string{"/proc/sys"}
	}))
	if got := c.Exec("get http://127.0.0.1:80/"); got != "inside\n" {
		t.Errorf("port 80 says %q", got)
	}
	c.Exec("mtu eth0 1400 + sethostname mine")
	fails(t, c, "mknod /dev/sda 8 0", "operation not permitted")
	fails(t, c, "umount /proc/keys", "invalid argument")
	fails(t, c, "umount /proc", "invalid argument")
	fails(t, c, "write /proc/sys/net/ipv4/ip_forward 1", "read-only file system")
	if got := c.Exec("stat /proc/keys"); !strings.Contains(got, " 1:3 ") {
		t.Errorf("/proc/keys is not masked: %s", got)
	}
	c.Exec("mkdir /tmp/m + mount /tmp/m")
	name, err := os.Hostname()
	h.Must(err)
	if name == "mine" {
		t.Error("the host has got another name")
	}
	less := pod.Start(harness.Say("sleep"))
	fails(t, less, "mtu eth0 1300", "operation not permitted")
	fails(t, less, "mount /tmp", "operation not permitted")
}

// TestProcMount has what the kubelet sends for Unmasked: empty lists.
func TestProcMount(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod(from(100000))
	c := pod.Start(harness.Say("sleep"))
	below := 0
	for line := range strings.Lines(c.Exec("cat /proc/self/mountinfo")) {
		if strings.Contains(line, " /proc") {
			below++
		}
	}
	if below != 1 {
		t.Errorf("%d mounts on /proc", below)
	}
	fails(t, c, "write /proc/sys/kernel/panic 1", "permission denied")
	// In the host's user namespace an empty list stands for the usual one.
	other := h.Pod().Start(harness.Say("sleep"))
	fails(t, other, "write /proc/sys/kernel/panic 1", "read-only file system")
}

func TestPrivileged(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod(from(100000), func(c *runtimeapi.PodSandboxConfig) { c.Linux.SecurityContext.Privileged = true })
	c := pod.Start(harness.Say("sleep"), harness.Security(func(s *securityContext) { s.Privileged = true }))
	c.Exec("mkdir /tmp/m + mount /tmp/m")
	fails(t, c, "write /proc/sys/kernel/panic 1", "permission denied")
	if got := c.Exec("ls /dev"); strings.Contains(got, "mem\n") || strings.Contains(got, "vda") {
		t.Errorf("devices of the host: %s", got)
	}
}

// TestCgroup is CVE-2025-47291: every process is in the container's own cgroups.
func TestCgroup(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod(from(100000), harness.SharedPID)
	c := pod.Start(harness.Say("sleep"), harness.Resources(&runtimeapi.LinuxContainerResources{MemoryLimitInBytes: 64 << 20}))
	groups := 0
	for line := range strings.Lines(onHost(h, c, "cgroup")) {
		_, path, _ := strings.Cut(strings.TrimSpace(line), ":/")
		if !strings.HasSuffix(path, "/"+pod.ID+"/"+c.ID) {
			t.Errorf("it is in %s", line)
		}
		groups++
	}
	if groups == 0 {
		t.Error("no cgroup at all")
	}
	for line := range strings.Lines(c.Exec("cat /proc/self/cgroup")) {
		if fields := strings.SplitN(strings.TrimSpace(line), ":", 3); fields[2] != "/" && !strings.HasPrefix(fields[2], "/exec") && !strings.Contains(fields[2], "varve") {
			t.Errorf("inside it is in %s", line)
		}
	}
}

// TestShared shares processes, /dev/shm and IPC within the pod.
func TestShared(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod(from(100000), harness.SharedPID)
	a := pod.Start(harness.Say("sleep 1000s"))
	b := pod.Start(harness.Say("sleep 2000s"), harness.Security(func(s *securityContext) {
		s.Capabilities = &runtimeapi.Capability{AddCapabilities: []string{"SYS_PTRACE"}}
	}))
	a.Exec("write /dev/shm/note hello")
	if got := b.Exec("cat /dev/shm/note + stat /dev/shm/note"); !strings.HasPrefix(got, "hello") || !strings.Contains(got, " 0:0 ") {
		t.Errorf("the other container sees %s", got)
	}
	if got := b.Exec("pids"); !strings.Contains(got, "1000s") || !strings.Contains(got, "2000s") || !strings.Contains(got, "1 pause") {
		t.Errorf("processes %s", got)
	}
	b.Stop(0)
	a.Exec("rm /dev/shm/note")
}

// TestTwoMaps has two pods with different maps, and one without, of one image at
// the same time; what one writes is its own.
func TestTwoMaps(t *testing.T) {
	h := suite.Test(t)
	pods := map[string]*harness.Pod{"100000": h.Pod(from(100000)), "300000": h.Pod(from(300000)), "0": h.Pod()}
	running := map[string]*harness.Container{}
	for first, pod := range pods {
		running[first] = pod.Start(harness.Say("sleep"))
	}
	for first, c := range running {
		c.Exec("write /etc/note of-" + first)
	}
	for first, c := range running {
		if got := c.Exec("cat /etc/note + stat /etc/note /etc/passwd"); !strings.HasPrefix(got, "of-"+first) || strings.Count(got, " 0:0 ") < 2 {
			t.Errorf("%s: %s", first, got)
		}
		if got := strings.Fields(field(onHost(h, c, "status"), "Uid"))[0]; got != first {
			t.Errorf("%s is user %s of the host", first, got)
		}
	}
}

func TestImageVolume(t *testing.T) {
	h := suite.Test(t)
	image, err := testimage.Build(testimage.Spec{Layers: [][]testimage.File{{
		testimage.Dir("data"), {Name: "data/secret", Body: "x", Mode: 0o600}, {Name: "data/alice", Body: "y", UID: 1234, GID: 1235},
	}}})
	h.Must(err)
	ref := h.Push("data", image)
	mount := func(path, sub string) harness.Change {
		return func(c *runtimeapi.ContainerConfig) {
			c.Mounts = append(c.Mounts, &runtimeapi.Mount{ContainerPath: path, Image: &runtimeapi.ImageSpec{Image: ref}, ImageSubPath: sub, Readonly: true})
		}
	}
	c := h.Pod(from(100000)).Start(harness.Say("sleep"), mount("/all", ""), mount("/part", "data"))
	if got := c.Exec("cat /all/data/secret /part/alice + stat /all/data/secret /part/alice"); !strings.HasPrefix(got, "xy") || !strings.Contains(got, " 0:0 ") || !strings.Contains(got, " 1234:1235 ") {
		t.Errorf("got %s", got)
	}
	fails(t, c, "write /all/data/secret z", "read-only file system")
}

// TestHostNetwork has the host's network with none of the host's rights over it.
func TestHostNetwork(t *testing.T) {
	h := suite.Test(t)
	c := h.Pod(from(100000)).Start(harness.Say("sleep"), harness.Security(func(s *securityContext) {
		s.Capabilities = &runtimeapi.Capability{AddCapabilities: []string{"ALL"}}
	}))
	host, err := os.Readlink("/proc/self/ns/net")
	h.Must(err)
	if got := c.Exec("ns"); !strings.Contains(got, host) {
		t.Errorf("namespaces %s, the host's network is %s", got, host)
	}
	fails(t, c, "mtu lo 1400", "operation not permitted")
	c.Exec("ls /sys/class/net")
	fails(t, c, "write /sys/kernel/x y", "read-only file system")
}

// TestRestart kills the daemon beside running containers, and has a created one
// started by the next daemon.
func TestRestart(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod(harness.OwnNetwork, harness.SharedPID, from(100000))
	old, late := pod.Start(harness.Say("sleep")), pod.Create(harness.Say("sleep"))
	old.Exec("write /etc/new x")
	h.Kill(t)
	h.Restart(t)
	h.Must(late.TryStart())
	for _, c := range []*harness.Container{old, late, pod.Start(harness.Say("sleep"))} {
		if got := words(c.Exec("cat /proc/self/uid_map + append /dev/stdout x")); got != "0 100000 40000 x" {
			t.Errorf("after a restart: %s", got)
		}
	}
	if got := old.Exec("stat /etc/new"); !strings.Contains(got, " 0:0 ") {
		t.Errorf("what was written belongs to %s", got)
	}
	old.Stop(0)
	old.Remove()
	pod.Stop()
}

// TestRefusals are the requests that CRI has refused, and those that could not
// work.
func TestRefusals(t *testing.T) {
	h := suite.Test(t)
	pod := func(u *runtimeapi.UserNamespace) error {
		_, err := h.RunPodSandbox(h.Ctx, &runtimeapi.RunPodSandboxRequest{Config: h.PodConfig(func(c *runtimeapi.PodSandboxConfig) {
			c.Linux.SecurityContext.NamespaceOptions.UsernsOptions = u
		})})
		return err
	}
	const field = "userns_options"
	h.WantCode(pod(&runtimeapi.UserNamespace{Mode: runtimeapi.NamespaceMode_CONTAINER}), codes.InvalidArgument, field+".mode")
	h.WantCode(pod(&runtimeapi.UserNamespace{Mode: runtimeapi.NamespaceMode_TARGET}), codes.InvalidArgument, field+".mode")
	h.WantCode(pod(&runtimeapi.UserNamespace{Uids: ids(1, 1)}), codes.InvalidArgument, field+".gids")
	two := append(ids(1, 1), ids(2, 1)...)
	h.WantCode(pod(&runtimeapi.UserNamespace{Uids: two, Gids: two}), codes.InvalidArgument, field+".uids", "2 mappings")

	mapped := h.Pod(from(100000))
	options := func(u *runtimeapi.UserNamespace) harness.Change {
		return harness.Security(func(s *securityContext) {
			s.NamespaceOptions = &runtimeapi.NamespaceOption{Network: runtimeapi.NamespaceMode_NODE, Pid: runtimeapi.NamespaceMode_CONTAINER, UsernsOptions: u}
		})
	}
	_, err := mapped.TryCreate(options(&runtimeapi.UserNamespace{Mode: runtimeapi.NamespaceMode_NODE}))
	h.WantCode(err, codes.InvalidArgument, field+".mode", "the pod has a user namespace")
	_, err = mapped.TryCreate(options(&runtimeapi.UserNamespace{Uids: ids(100001, 40000), Gids: ids(150000, 40000)}))
	h.WantCode(err, codes.InvalidArgument, field, "not the pod's")
	_, err = h.Pod().TryCreate(options(&runtimeapi.UserNamespace{Uids: ids(100000, 40000), Gids: ids(150000, 40000)}))
	h.WantCode(err, codes.InvalidArgument, field+".mode", "no user namespace of its own")
	_, err = mapped.TryCreate(harness.Security(func(s *securityContext) { s.RunAsUser = &runtimeapi.Int64Value{Value: 40000} }))
	h.WantCode(err, codes.InvalidArgument, "run_as_user", "40000 is not mapped")
}
