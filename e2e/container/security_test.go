package container

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/varve-cri/varve/e2e/harness"
)

type securityContext = runtimeapi.LinuxContainerSecurityContext

func number(n int64) *runtimeapi.Int64Value { return &runtimeapi.Int64Value{Value: n} }

func TestUsersAndGroups(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod()
	for name, tc := range map[string]struct {
		change func(*securityContext)
		want   string
	}{
		"nobody said": {func(*securityContext) {}, "uid=0 euid=0 gid=0 egid=0 groups=[0]"},
		"uid":         {func(s *securityContext) { s.RunAsUser = number(4000) }, "uid=4000 euid=4000 gid=0 egid=0 groups=[0]"},
		"uid that the image knows": {func(s *securityContext) { s.RunAsUser = number(1234) },
			"uid=1234 euid=1234 gid=1235 egid=1235 groups=[1235 2000]"},
		"name": {func(s *securityContext) { s.RunAsUsername = "alice" }, "uid=1234 euid=1234 gid=1235 egid=1235 groups=[1235 2000]"},
		"uid and gid": {func(s *securityContext) { s.RunAsUser, s.RunAsGroup = number(4000), number(5000) },
			"uid=4000 euid=4000 gid=5000 egid=5000 groups=[5000]"},
		"supplemental, merged": {func(s *securityContext) {
			s.RunAsUser, s.SupplementalGroups = number(1234), []int64{7000}
		}, "uid=1234 euid=1234 gid=1235 egid=1235 groups=[1235 2000 7000]"},
		// CVE-2016-3697: a user of that name would be root.
		"uid that is a name of the image": {func(s *securityContext) { s.RunAsUser = number(1000) }, "uid=1000 euid=1000 gid=0 egid=0 groups=[0]"},
		"name and gid": {func(s *securityContext) { s.RunAsUsername, s.RunAsGroup = "alice", number(5000) },
			"uid=1234 euid=1234 gid=5000 egid=5000 groups=[2000 5000]"},
		"strict with nothing": {func(s *securityContext) {
			s.RunAsUser, s.SupplementalGroupsPolicy = number(1234), runtimeapi.SupplementalGroupsPolicy_Strict
		}, "uid=1234 euid=1234 gid=1235 egid=1235 groups=[1235]"},
		"supplemental, strict": {func(s *securityContext) {
			s.RunAsUser, s.SupplementalGroups = number(1234), []int64{7000}
			s.SupplementalGroupsPolicy = runtimeapi.SupplementalGroupsPolicy_Strict
		}, "uid=1234 euid=1234 gid=1235 egid=1235 groups=[1235 7000]"},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			c := pod.For(t).Start(harness.Say("id"), harness.Security(tc.change))
			c.WaitExit()
			if got := c.Log().Stdout(); got != tc.want+"\n" {
				t.Errorf("got %s, want %s", got, tc.want)
			}
			user := c.Status().GetUser().GetLinux()
			if got := fmt.Sprintf("uid=%d euid=%d gid=%d", user.GetUid(), user.GetUid(), user.GetGid()); !strings.HasPrefix(tc.want, got+" ") {
				t.Errorf("status tells user %v, want %s", user, tc.want)
			}
			// As the kernel tells them, which sorts them.
			if got := fmt.Sprintf("groups=%v", slices.Sorted(slices.Values(user.GetSupplementalGroups()))); !strings.HasSuffix(tc.want, got) {
				t.Errorf("status tells %s, want %s", got, tc.want)
			}
		})
	}
}

func TestUsersThatAreNotThere(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod()
	for name, tc := range map[string]struct {
		change func(*securityContext)
		words  string
	}{
		"name":              {func(s *securityContext) { s.RunAsUsername = "nobody-here" }, "nobody-here"},
		"number as a name":  {func(s *securityContext) { s.RunAsUsername = "4294967296" }, "run_as_username"},
		"name and uid":      {func(s *securityContext) { s.RunAsUsername, s.RunAsUser = "alice", number(1) }, "run_as_username"},
		"uid out of range":  {func(s *securityContext) { s.RunAsUser = number(1 << 31) }, "run_as_user"},
		"group below 0":     {func(s *securityContext) { s.RunAsUser, s.SupplementalGroups = number(1), []int64{-1} }, "supplemental_groups[0]"},
		"unknown policy":    {func(s *securityContext) { s.SupplementalGroupsPolicy = 7 }, "supplemental_groups_policy"},
		"group but no user": {func(s *securityContext) { s.RunAsGroup = number(5) }, "run_as_group"},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			_, err := pod.TryCreate(harness.Security(tc.change))
			h.For(t).WantCode(err, codes.InvalidArgument, tc.words)
		})
	}
	ref := h.Image("user-of-the-image", v1.Config{User: "ghost:wheel"})
	_, err := pod.TryCreate(harness.Image(ref))
	h.WantCode(err, codes.InvalidArgument, "ghost")
}

// statusField is a line of /proc/self/status as the container's first process
// sees it.
func statusField(text, field string) string {
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, field+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func TestCapabilities(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod(func(c *runtimeapi.PodSandboxConfig) { c.Linux.SecurityContext.Privileged = true })
	body, err := os.ReadFile("/proc/self/status")
	h.Must(err)
	ours := statusField(string(body), "CapBnd")
	const byDefault = "00000000a80425fb" // the 14 that every runtime gives
	for name, tc := range map[string]struct {
		change func(*securityContext)
		eff    string
	}{
		"default": {func(*securityContext) {}, byDefault},
		"none": {func(s *securityContext) {
			s.Capabilities = &runtimeapi.Capability{DropCapabilities: []string{"ALL"}}
		}, "0000000000000000"},
		"one": {func(s *securityContext) {
			s.Capabilities = &runtimeapi.Capability{DropCapabilities: []string{"ALL"}, AddCapabilities: []string{"NET_ADMIN"}}
		}, "0000000000001000"},
		"one less": {func(s *securityContext) {
			s.Capabilities = &runtimeapi.Capability{DropCapabilities: []string{"CHOWN"}}
		}, "00000000a80425fa"},
		"all": {func(s *securityContext) {
			s.Capabilities = &runtimeapi.Capability{AddCapabilities: []string{"ALL"}}
		}, ours},
		"all dropped, all added": {func(s *securityContext) {
			s.Capabilities = &runtimeapi.Capability{AddCapabilities: []string{"ALL"}, DropCapabilities: []string{"ALL"}}
		}, "0000000000000000"},
		"privileged": {func(s *securityContext) { s.Privileged = true }, ours},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			c := pod.For(t).Start(harness.Say("sleep"), harness.Security(tc.change))
			for who, text := range map[string]string{"first process": c.Exec("cat /proc/1/status"), "exec": c.Exec("cat /proc/self/status")} {
				if got := statusField(text, "CapEff"); got != tc.eff {
					t.Errorf("%s: effective %s, want %s", who, got, tc.eff)
				}
				if got := statusField(text, "CapInh"); got != "0000000000000000" {
					t.Errorf("%s: inheritable %s", who, got)
				}
			}
		})
	}
	for _, field := range []func(*runtimeapi.Capability){
		func(c *runtimeapi.Capability) { c.AddCapabilities = []string{"FLY"} },
		func(c *runtimeapi.Capability) { c.DropCapabilities = []string{"FLY"} },
		func(c *runtimeapi.Capability) { c.AddAmbientCapabilities = []string{"FLY"} },
	} {
		_, err = pod.TryCreate(harness.Security(func(s *securityContext) {
			s.Capabilities = &runtimeapi.Capability{}
			field(s.Capabilities)
		}))
		h.WantCode(err, codes.InvalidArgument, "FLY")
	}
}

// TestCapabilitiesOfUsers is who has what when the first process is not root:
// nothing that is not ambient (CVE-2018-1000400), and in no case more than the
// bounding set.
func TestCapabilitiesOfUsers(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod()
	const none, netBind, chown, killBind = "0000000000000000", "0000000000000400", "0000000000000001", "0000000000000420"
	for name, tc := range map[string]struct {
		caps          *runtimeapi.Capability
		user          int64
		eff, amb, bnd string
	}{
		"user":      {nil, 1234, none, none, "00000000a80425fb"},
		"user, add": {&runtimeapi.Capability{DropCapabilities: []string{"ALL"}, AddCapabilities: []string{"CHOWN"}}, 1234, none, none, chown},
		"user, ambient": {&runtimeapi.Capability{DropCapabilities: []string{"ALL"}, AddAmbientCapabilities: []string{"NET_BIND_SERVICE"}},
			1234, netBind, netBind, netBind},
		"user, add and ambient": {&runtimeapi.Capability{
			DropCapabilities: []string{"all"}, AddCapabilities: []string{"kill", "CAP_NET_BIND_SERVICE"}, AddAmbientCapabilities: []string{"CAP_NET_BIND_SERVICE"},
		}, 1234, netBind, netBind, killBind},
		"root, add and ambient": {&runtimeapi.Capability{
			DropCapabilities: []string{"ALL"}, AddCapabilities: []string{"KILL"}, AddAmbientCapabilities: []string{"NET_BIND_SERVICE"},
		}, 0, killBind, netBind, killBind},
		"dropped": {&runtimeapi.Capability{
			DropCapabilities: []string{"ALL", "NET_BIND_SERVICE"}, AddAmbientCapabilities: []string{"NET_BIND_SERVICE"},
		}, 1234, none, none, none},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			c := pod.For(t).Start(harness.Say("sleep"), harness.Security(func(s *securityContext) {
				s.Capabilities, s.RunAsUser = tc.caps, number(tc.user)
			}))
			for who, text := range map[string]string{"first process": c.Exec("cat /proc/1/status"), "exec": c.Exec("cat /proc/self/status")} {
				for field, want := range map[string]string{"CapEff": tc.eff, "CapPrm": tc.eff, "CapAmb": tc.amb, "CapInh": tc.amb, "CapBnd": tc.bnd} {
					if got := statusField(text, field); got != want {
						t.Errorf("%s: %s is %s, want %s", who, field, got, want)
					}
				}
			}
		})
	}
}

func TestNoNewPrivileges(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod()
	for _, want := range []bool{true, false} {
		got := pod.Output(harness.Say("cat /proc/self/status"), harness.Security(func(s *securityContext) { s.NoNewPrivs = want }))
		if on := statusField(got, "NoNewPrivs") == "1"; on != want {
			t.Errorf("no_new_privs is %v, want %v", on, want)
		}
	}
}

func profile(kind runtimeapi.SecurityProfile_ProfileType, path string) harness.Change {
	return harness.Security(func(s *securityContext) {
		s.Seccomp = &runtimeapi.SecurityProfile{ProfileType: kind, LocalhostRef: path}
	})
}

func TestSeccomp(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod()
	local := filepath.Join(t.TempDir(), "no-uname.json")
	h.Must(os.WriteFile(local, []byte(`{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
		{"names":["uname"],"action":"SCMP_ACT_ERRNO","errnoRet":38}]}`), 0o600))

	c := pod.Start(harness.Say("sleep"), profile(runtimeapi.SecurityProfile_RuntimeDefault, ""))
	if got := statusField(c.Exec("cat /proc/1/status"), "Seccomp"); got != "2" {
		t.Errorf("RuntimeDefault: seccomp mode of the first process is %s", got)
	}
	refused(t, c, "keyctl", "operation not permitted")
	refused(t, c, "unshare", "operation not permitted")
	c.Exec("uname")

	c = pod.Start(harness.Say("sleep"), profile(runtimeapi.SecurityProfile_Localhost, local))
	refused(t, c, "uname", "function not implemented")
	c.Exec("keyctl")

	c = pod.Start(harness.Say("sleep"), profile(runtimeapi.SecurityProfile_Unconfined, ""))
	if got := statusField(c.Exec("cat /proc/self/status"), "Seccomp"); got != "0" {
		t.Errorf("Unconfined: seccomp mode is %s", got)
	}
}

func TestSeccompProfilesThatAreNoGood(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod()
	malformed := filepath.Join(t.TempDir(), "malformed.json")
	h.Must(os.WriteFile(malformed, []byte(`{"defaultAction":"SCMP_ACT_`), 0o600))
	unknown := filepath.Join(t.TempDir(), "unknown.json")
	h.Must(os.WriteFile(unknown, []byte(`{"defaultAction":"SCMP_ACT_DANCE"}`), 0o600))
	for _, path := range []string{"/no/such/profile.json", malformed, unknown} {
		c, err := pod.TryCreate(profile(runtimeapi.SecurityProfile_Localhost, path))
		if err == nil {
			err = c.TryStart()
		}
		if err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("profile %s: got %v", path, err)
		}
	}
	_, err := pod.TryCreate(profile(runtimeapi.SecurityProfile_Localhost, "relative.json"))
	h.WantCode(err, codes.InvalidArgument, "relative.json")
}

// TestPrivileged goes through the eight effects that the CRI lists; what it asks
// for beside is of no effect. The fourth and the eighth show where the kernel has
// AppArmor and SELinux.
func TestPrivileged(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod(harness.OwnNetwork, func(c *runtimeapi.PodSandboxConfig) { c.Linux.SecurityContext.Privileged = true })
	host, err := os.ReadDir("/dev")
	h.Must(err)
	c := pod.Start(harness.Say("sleep"), harness.Security(func(s *securityContext) {
		s.Privileged = true
		s.Seccomp = &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_RuntimeDefault}
		s.Apparmor = &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_Localhost, LocalhostRef: "no-such-profile"}
		s.Capabilities = &runtimeapi.Capability{DropCapabilities: []string{"ALL"}}
		s.MaskedPaths, s.ReadonlyPaths = []string{"/proc/interrupts", "/etc/note"}, []string{"/proc/sys"}
	}))
	own, err := os.ReadFile("/proc/self/status")
	h.Must(err)
	text := c.Exec("cat /proc/1/status")
	for field, want := range map[string]string{"CapEff": statusField(string(own), "CapBnd"), "Seccomp": "0"} { // 1, 5
		if got := statusField(text, field); got != want {
			t.Errorf("%s is %s, want %s", field, got, want)
		}
	}
	if got := c.Exec("cat /etc/note /proc/interrupts"); !strings.HasPrefix(got, "from the image\n") || !strings.Contains(got, "CPU0") { // 2
		t.Errorf("what should be unmasked says %s", got)
	}
	c.Exec("openfor w /proc/sys/net/core/somaxconn + write /proc/sys/net/core/somaxconn 4096") // 3
	c.Exec("mkdir /tmp/m + mount /tmp/m")
	for line := range strings.Lines(c.Exec("cat /proc/self/mountinfo")) {
		if (strings.Contains(line, " /sys ") || strings.Contains(line, " /proc ")) && strings.Contains(line, " ro,") {
			t.Errorf("read-only: %s", line)
		}
		if strings.Contains(line, " /proc/") || strings.Contains(line, " /sys/firmware") {
			t.Errorf("covered: %s", line)
		}
	}
	c.Exec("mknod /tmp/kmsg 1 11 + openfor w /tmp/kmsg + openfor w /dev/full") // 6
	there := c.Exec("ls /dev")                                                 // 7
	for _, e := range host {
		if e.Type()&os.ModeDevice == 0 || e.Name() == "console" || e.Name() == "ptmx" || strings.Contains("\n"+there, "\n"+e.Name()+"\n") {
			continue
		}
		// One that has gone meanwhile, as loop devices do, need not be there.
		if _, err := os.Lstat("/dev/" + e.Name()); err == nil {
			t.Errorf("the host's /dev/%s is not there", e.Name())
		}
	}
}

// TestAppArmor is what a node does with profiles: where the kernel has AppArmor,
// they are enforced; where it has not, one that somebody relies on is refused.
func TestAppArmor(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod()
	with := func(kind runtimeapi.SecurityProfile_ProfileType, name string) harness.Change {
		return harness.Security(func(s *securityContext) {
			s.Apparmor = &runtimeapi.SecurityProfile{ProfileType: kind, LocalhostRef: name}
		})
	}
	_, err := pod.TryCreate(with(runtimeapi.SecurityProfile_Localhost, "no-such-profile"))
	h.WantCode(err, codes.InvalidArgument, "no-such-profile")
	enabled, err := os.ReadFile("/sys/module/apparmor/parameters/enabled")
	if err != nil || enabled[0] != 'Y' {
		pod.Start(harness.Say("sleep"), with(runtimeapi.SecurityProfile_RuntimeDefault, ""))
		pod.Start(harness.Say("sleep"), with(runtimeapi.SecurityProfile_Unconfined, ""))
		return
	}
	file := filepath.Join(t.TempDir(), "profile")
	h.Must(os.WriteFile(file, []byte("profile varve-e2e-no-write flags=(attach_disconnected) {\n  file,\n  capability,\n  network,\n  signal,\n  ptrace,\n  deny /tmp/** w,\n}\n"), 0o600))
	load := func(flag string) {
		t.Helper()
		if said, err := exec.Command("apparmor_parser", flag, file).CombinedOutput(); err != nil {
			t.Fatalf("apparmor_parser %s: %v: %s", flag, err, said)
		}
	}
	load("-Kr")
	t.Cleanup(func() { load("-R") })
	c := pod.Start(harness.Say("sleep"), with(runtimeapi.SecurityProfile_Localhost, "varve-e2e-no-write"))
	refused(t, c, "write /tmp/x 1", "permission denied")
	c.Exec("write /etc/x 1")
	for kind, want := range map[runtimeapi.SecurityProfile_ProfileType]string{
		runtimeapi.SecurityProfile_RuntimeDefault: "varve-default (enforce)", runtimeapi.SecurityProfile_Unconfined: "unconfined",
	} {
		c := pod.Start(harness.Say("sleep"), with(kind, ""))
		for _, file := range []string{"/proc/1/attr/current", "/proc/self/attr/current"} {
			if got := strings.TrimSpace(c.Exec("cat " + file)); got != want {
				t.Errorf("%s: %s is %q, want %q", kind, file, got, want)
			}
		}
	}
	if got := pod.Output(harness.Say("cat /proc/self/attr/current")); got != "varve-default (enforce)\n" {
		t.Errorf("without a word: %q", got)
	}
	// A pod of the restricted kind: none of it keeps the profile from being set.
	restricted := pod.Start(harness.Say("sleep"), harness.Security(func(s *securityContext) {
		s.RunAsUser, s.NoNewPrivs = number(1234), true
		s.Capabilities = &runtimeapi.Capability{DropCapabilities: []string{"ALL"}}
		s.Seccomp = &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_RuntimeDefault}
		s.Apparmor = &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_RuntimeDefault}
	}))
	if got := restricted.Exec("cat /proc/1/attr/current /proc/self/attr/current"); got != strings.Repeat("varve-default (enforce)\n", 2) {
		t.Errorf("restricted: %q", got)
	}
}

// TestSELinux is what a node does with labels: where the kernel has SELinux, with
// a policy that knows the types of containers, processes and files get them; where
// it has not, they are of no meaning.
func TestSELinux(t *testing.T) {
	h := suite.Test(t)
	dir := volume(t)
	pod := h.Pod(func(c *runtimeapi.PodSandboxConfig) {
		c.Linux.SecurityContext.SelinuxOptions = &runtimeapi.SELinuxOption{Level: "s0:c7,c8"}
		c.Linux.SecurityContext.Privileged = true
	})
	image := imageVolume("/image", harness.Probe, "etc")
	volumes := []harness.Change{
		harness.Say("sleep"), mount(image), mount(&runtimeapi.Mount{HostPath: dir, ContainerPath: "/v", SelinuxRelabel: true}),
	}
	c := pod.Start(volumes...)
	if got := c.Exec("cat /v/note"); got != "from the host\n" {
		t.Errorf("the volume says %q", got)
	}
	if _, err := os.Stat("/sys/fs/selinux/enforce"); err != nil {
		refused(t, c, "label /v/note", "no data available")
		return
	}
	own := h.Pod().Start(append(volumes[:2:2], harness.Security(func(s *securityContext) {
		s.SelinuxOptions = &runtimeapi.SELinuxOption{Level: "s0:c9,c10"}
	}))...)
	for container, level := range map[*harness.Container]string{c: "s0:c7,c8", own: "s0:c9,c10"} {
		for _, file := range []string{"/proc/1/attr/current", "/proc/self/attr/current"} {
			if got := strings.TrimRight(container.Exec("cat "+file), "\x00\n"); got != "system_u:system_r:container_t:"+level {
				t.Errorf("%s is %s", file, got)
			}
		}
		files := strings.Fields(container.Exec("label / /bin/probe /etc/note /etc/hosts /etc/resolv.conf /dev /dev/pts /dev/shm /image /image/note"))
		for i, got := range files {
			if got != "system_u:object_r:container_file_t:"+level {
				t.Errorf("file %d is labelled %s", i, got)
			}
		}
	}
	if got := c.Exec("label /v /v/note"); got != strings.Repeat("system_u:object_r:container_file_t:s0:c7,c8\n", 2) {
		t.Errorf("the volume is labelled %s", got)
	}
	privileged := pod.Start(harness.Say("sleep"), harness.Security(func(s *securityContext) { s.Privileged = true }))
	if got := privileged.Exec("cat /proc/1/attr/current"); strings.Contains(got, "container_t") {
		t.Errorf("a privileged container is %s", got)
	}
	_, err := pod.TryCreate(mount(&runtimeapi.Mount{HostPath: "/etc", ContainerPath: "/v", SelinuxRelabel: true}))
	h.WantCode(err, codes.InvalidArgument, "config.mounts[0].selinux_relabel", "/etc belongs to the system")
}
