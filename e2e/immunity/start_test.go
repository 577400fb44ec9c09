package immunity

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/e2e/harness"
	"github.com/varve-cri/varve/e2e/testimage"
)

// startError creates and starts, and returns the first error.
func startError(pod *harness.Pod, changes ...harness.Change) error {
	c, err := pod.TryCreate(changes...)
	if err != nil {
		return err
	}
	return c.TryStart()
}

// CVE-2016-3697: a numeric user is a number, whatever the image's passwd says.
func TestCVE_2016_3697_NumericUser(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod()
	got := pod.Output(harness.Say("id"), harness.Security(func(s *runtimeapi.LinuxContainerSecurityContext) {
		s.RunAsUser = &runtimeapi.Int64Value{Value: 1000}
	}))
	if !strings.HasPrefix(got, "uid=1000 euid=1000 ") {
		t.Errorf("run_as_user 1000 is %s", got)
	}
	image := h.Image("cve-2016-3697", v1.Config{User: "1000"})
	if got := pod.Output(harness.Say("id"), harness.Image(image)); !strings.HasPrefix(got, "uid=1000 euid=1000 ") {
		t.Errorf("USER 1000 is %s", got)
	}
}

// CVE-2024-40635 and CVE-2026-46680: ids that overflow are refused, not root.
func TestCVE_2024_40635_UserOverflow(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod()
	for i, user := range []string{"2147483648", "4294967296", "4294967296:0", "0:4294967296", "-1", "18446744073709551616", "+0x0"} {
		image := h.Image(fmt.Sprint("cve-2024-40635-", i), v1.Config{User: user})
		if err := startError(pod, harness.Image(image), harness.Say("id")); err == nil {
			t.Errorf("USER %s started", user)
		}
	}
	_, err := pod.TryCreate(harness.Security(func(s *runtimeapi.LinuxContainerSecurityContext) {
		s.RunAsUser = &runtimeapi.Int64Value{Value: 4294967296}
	}))
	h.WantCode(err, codes.InvalidArgument, "run_as_user")
}

// CVE-2024-21626: a working directory below /proc/self/fd, and descriptors of
// the host in the container.
func TestCVE_2024_21626_LeakedDescriptors(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod()
	c := pod.Start(harness.Say("fds + print all + sleep"))
	c.WaitLog("all\n")
	if got := strings.Count(c.Log().Stdout(), "\n"); got != 4 {
		t.Errorf("descriptors of the first process:\n%s", c.Log().Stdout())
	}
	if got := strings.Count(c.Exec("fds"), "\n"); got != 3 {
		t.Errorf("descriptors of an exec:\n%s", c.Exec("fds"))
	}
	for fd := 3; fd < 20; fd++ {
		err := startError(pod, harness.Say("ls ."), func(c *runtimeapi.ContainerConfig) { c.WorkingDir = fmt.Sprintf("/proc/self/fd/%d", fd) })
		if err == nil {
			t.Errorf("a container started in descriptor %d", fd)
		}
	}
	// A path that climbs is a path of the container.
	climbing := pod.Start(harness.Say("readlink /proc/self/cwd"), func(c *runtimeapi.ContainerConfig) {
		c.WorkingDir = "/proc/self/fd/3/../../../../.." + h.T.TempDir()
	})
	climbing.WaitExit()
	if got := climbing.Log().Stdout(); strings.Contains(got, "unreachable") {
		t.Errorf("working directory: %s", got)
	}
}

// CVE-2019-5736: a script whose interpreter is /proc/self/exe makes the kernel
// run whatever program was starting it. That must be nothing that a container
// could then write to: the shim runs from memory that is sealed.
func TestCVE_2019_5736_ProgramOfTheHost(t *testing.T) {
	h := suite.Test(t)
	image := h.Image("cve-2019-5736", v1.Config{},
		testimage.File{Name: "bin/trick", Body: "#!/proc/self/exe print\n", Mode: 0o755})
	c := h.Pod().Start(harness.Image(image), harness.Say("sleep"))
	if got := c.Exec("exe"); got != "/bin/probe\n" {
		t.Errorf("/proc/self/exe of an exec is %s", got)
	}
	h.ExecSync(h.Ctx, &runtimeapi.ExecSyncRequest{ContainerId: c.ID, Cmd: []string{"/bin/trick"}, Timeout: 5}) //nolint:errcheck // what it says does not matter
	shims := 0
	for _, p := range h.Node.Processes() {
		f, err := os.Open(fmt.Sprintf("/proc/%d/exe", p.PID))
		if err != nil || !strings.Contains(p.Line, "varve-shim") {
			continue
		}
		shims++
		seals, err := unix.FcntlInt(f.Fd(), unix.F_GET_SEALS, 0)
		f.Close()
		if err != nil || seals&unix.F_SEAL_WRITE == 0 {
			t.Errorf("the program of %s can be written to: seals %x, %v", p, seals, err)
		}
	}
	if shims == 0 {
		t.Error("no shim was found")
	}
}

// CVE-2025-31133, CVE-2026-41579, CVE-2026-47766, CVE-2023-28642: /dev, /dev/null
// and /proc that the image made symbolic links. The container may start or not;
// the host must stay as it is.
func TestCVE_2026_41579_SymlinkedDevAndProc(t *testing.T) {
	h := suite.Test(t)
	outside := t.TempDir()
	h.Must(os.WriteFile(filepath.Join(outside, "null"), []byte("host"), 0o644))
	before := tree(t, outside) + tree(t, "/etc")
	for name, files := range map[string][]testimage.File{
		"dev-to-etc":      {testimage.Symlink("dev", "/etc")},
		"dev-to-host":     {testimage.Symlink("dev", outside)},
		"dev-climbs":      {testimage.Symlink("dev", "../../../../../.."+outside)},
		"proc-to-etc":     {testimage.Symlink("proc", "/etc")},
		"sys-to-host":     {testimage.Symlink("sys", outside)},
		"null-to-host":    {testimage.Dir("dev"), testimage.Symlink("dev/null", outside+"/null")},
		"etc-climbs":      {testimage.Symlink("mnt", "../../../../.."+outside)},
		"console-to-host": {testimage.Dir("dev"), testimage.Symlink("dev/console", outside+"/null")},
	} {
		t.Run(name, func(t *testing.T) {
			h := suite.Test(t)
			image := h.Image("cve-2026-41579-"+name, v1.Config{}, files...)
			pod := h.Pod()
			err := startError(pod, harness.Image(image), harness.Say("cat /proc/kcore + sleep"),
				func(c *runtimeapi.ContainerConfig) { c.Tty = name == "console-to-host" },
				harness.Security(func(s *runtimeapi.LinuxContainerSecurityContext) { s.MaskedPaths = []string{"/proc/kcore"} }))
			if err != nil {
				t.Logf("refused: %v", err)
			}
			h.Must(h.RemovePod(h.Ctx, pod.ID))
		})
	}
	if after := tree(t, outside) + tree(t, "/etc"); after != before {
		t.Errorf("files of the host before:\n%s\nafter:\n%s", before, after)
	}
}

// tree lists the files below dir with modes and sizes.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil {
			return nil // what others remove meanwhile
		}
		fmt.Fprintln(&b, path, info.Mode(), info.Size())
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// CVE-2024-5154: an image whose /etc leads out gets no file of the host changed.
func TestCVE_2024_5154_EtcLeadsOut(t *testing.T) {
	h := suite.Test(t)
	outside := t.TempDir()
	files, err := testimage.ProbeFiles()
	h.Must(err)
	layer := []testimage.File{testimage.Dir("bin"), testimage.Symlink("etc", "../../../../../.."+outside)}
	for _, f := range files {
		if strings.HasPrefix(f.Name, "bin/p") {
			layer = append(layer, f)
		}
	}
	image, err := testimage.Build(testimage.Spec{Config: v1.Config{Entrypoint: []string{"/bin/probe"}}, Layers: [][]testimage.File{layer}})
	h.Must(err)
	ref := h.Push("cve-2024-5154", image)
	pod := h.Pod(harness.OwnNetwork)
	if err := startError(pod, harness.Image(ref), harness.Say("sleep")); err != nil {
		t.Logf("refused: %v", err)
	}
	if entries, err := os.ReadDir(outside); err != nil || len(entries) > 0 {
		t.Errorf("made on the host: %v, %v", entries, err)
	}
}

// CVE-2022-23648: VOLUME paths that climb copy nothing of the host.
func TestCVE_2022_23648_VolumeTraversal(t *testing.T) {
	h := suite.Test(t)
	secret := t.TempDir()
	h.Must(os.WriteFile(filepath.Join(secret, "secret"), []byte("of the host"), 0o600))
	image := h.Image("cve-2022-23648", v1.Config{Volumes: map[string]struct{}{
		"/../../../../../.." + secret: {}, "../../.." + secret: {}, "/proc": {}, // /proc: CVE-2019-16884
	}})
	pod := h.Pod()
	c, err := pod.TryCreate(harness.Image(image), harness.Say("sleep"))
	if err == nil {
		err = c.TryStart()
	}
	if err != nil {
		t.Logf("refused: %v", err)
		return
	}
	answer, err := c.TryExec(0, "cat", filepath.Join(secret, "secret"))
	h.Must(err)
	if strings.Contains(string(answer.GetStdout()), "of the host") {
		t.Error("the container reads a file of the host")
	}
	if got := c.Exec("cat /proc/self/status"); !strings.Contains(got, "Seccomp") {
		t.Errorf("/proc is not proc: %s", got)
	}
}

// CVE-2022-4318 and CVE-2026-15809: a newline in HOME writes no line anywhere.
func TestCVE_2022_4318_NewlineInHome(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod()
	env := func(name, value string) harness.Change {
		return func(c *runtimeapi.ContainerConfig) {
			c.Envs = []*runtimeapi.KeyValue{{Key: name, Value: []byte(value)}}
		}
	}
	asNobody := harness.Security(func(s *runtimeapi.LinuxContainerSecurityContext) { s.RunAsUser = &runtimeapi.Int64Value{Value: 4321} })
	_, err := pod.TryCreate(env("HOME", "x\nroot2::0:0"), asNobody)
	h.WantCode(err, codes.InvalidArgument, "HOME")
	c := pod.Start(harness.Say("sleep"), env("RAW", "\xff\xfe\nx"), asNobody)
	if got := c.Exec("cat /etc/passwd"); got != testimage.Passwd {
		t.Errorf("/etc/passwd is\n%s", got)
	}
	if got := c.Exec("env RAW"); got != "\xff\xfe\nx\n" {
		t.Errorf("bytes of an environment value: %q", got)
	}
}
