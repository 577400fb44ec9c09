package container

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
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
	_, err = pod.TryCreate(harness.Security(func(s *securityContext) {
		s.Capabilities = &runtimeapi.Capability{AddCapabilities: []string{"FLY"}}
	}))
	h.WantCode(err, codes.InvalidArgument, "FLY")
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

func TestPrivileged(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod(harness.OwnNetwork, func(c *runtimeapi.PodSandboxConfig) { c.Linux.SecurityContext.Privileged = true })
	c := pod.Start(harness.Say("sleep"), harness.Security(func(s *securityContext) {
		s.Privileged = true
		s.Seccomp = &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_RuntimeDefault}
	}))
	if got := statusField(c.Exec("cat /proc/1/status"), "Seccomp"); got != "0" {
		t.Errorf("seccomp mode is %s", got)
	}
	c.Exec("open /dev/full + write /proc/sys/net/core/somaxconn 4096")
	c.Exec("mkdir /tmp/m + mount /tmp/m")
	for line := range strings.Lines(c.Exec("cat /proc/self/mountinfo")) {
		if strings.Contains(line, " /sys ") && strings.Contains(line, " ro,") {
			t.Errorf("/sys is read-only: %s", line)
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
}
