package immunity

import (
	"archive/tar"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/e2e/harness"
	"github.com/varve-cri/varve/e2e/testimage"
)

// CVE-2026-53488: an image's labels and variables are text of the image. They
// become neither labels nor annotations nor a logger of the container.
func TestCVE_2026_53488_LabelsOfTheImage(t *testing.T) {
	h := suite.Test(t)
	ran := filepath.Join(t.TempDir(), "ran")
	evil := map[string]string{
		"io.kubernetes.container.logpath": "binary:///bin/touch?" + ran, "io.containerd.runc.v2.group": "x", "containerd.io/restart.loguri": "binary:///bin/touch?" + ran,
		"io.kubernetes.pod.uid": "other", "io.kubernetes.container.name": "other", "io.kubernetes.cri-o.LogPath": ran, "nerdctl/log-uri": "binary:///bin/touch?" + ran,
	}
	image := h.Image("cve-2026-53488", v1.Config{Labels: evil})
	c := h.Pod().Start(harness.Image(image), harness.Say("print hello + sleep"))
	c.WaitLog("hello")
	config := c.Status()
	for key, value := range evil {
		if config.GetLabels()[key] == value || config.GetAnnotations()[key] == value {
			t.Errorf("the container has the image's label %s", key)
		}
	}
	if strings.Contains(config.GetLogPath(), "binary") || config.GetLogPath() == ran {
		t.Errorf("log path %s", config.GetLogPath())
	}
	if _, err := os.Lstat(ran); err == nil {
		t.Error("a label made a file on the host")
	}
}

// CVE-2026-55686: a working directory that the image leads out by a symbolic link
// is made nowhere but in the container.
func TestCVE_2026_55686_WorkingDirectoryThroughLinks(t *testing.T) {
	h := suite.Test(t)
	outside := t.TempDir()
	h.Must(os.WriteFile(filepath.Join(outside, "victim"), []byte("host"), 0o600))
	for name, c := range map[string]struct {
		files []testimage.File
		dir   string
	}{
		"absolute":  {[]testimage.File{testimage.Symlink("work", outside)}, "/work/new/er"},
		"climbing":  {[]testimage.File{testimage.Symlink("work", strings.Repeat("../", 20)+outside[1:])}, "/work/new"},
		"itself":    {[]testimage.File{testimage.Symlink("work", outside)}, "/work"},
		"two links": {[]testimage.File{testimage.Symlink("a", "/proc/self/root"), testimage.Symlink("work", "a"+outside)}, "/work/new"},
		"a file":    {[]testimage.File{testimage.Symlink("work", outside+"/victim")}, "/work"},
	} {
		t.Run(name, func(t *testing.T) {
			h := suite.Test(t)
			image := h.Image("cve-2026-55686-"+strings.ReplaceAll(name, " ", "-"), v1.Config{WorkingDir: c.dir}, c.files...)
			if err := startError(h.Pod(), harness.Image(image), harness.Say("sleep")); err != nil {
				t.Logf("refused: %v", err)
			}
		})
	}
	entries, err := os.ReadDir(outside)
	if err != nil || len(entries) != 1 {
		t.Errorf("on the host: %v, %v", entries, err)
	}
}

// CVE-2024-23652: mount points that the image made links to places of the host
// are neither made nor removed there.
func TestCVE_2024_23652_MountPointsThroughLinks(t *testing.T) {
	h := suite.Test(t)
	outside, volume := t.TempDir(), t.TempDir()
	h.Must(os.MkdirAll(filepath.Join(outside, "keep", "empty"), 0o755))
	h.Must(os.WriteFile(filepath.Join(outside, "file"), nil, 0o600))
	before := tree(t, outside)
	image := h.Image("cve-2024-23652", v1.Config{}, testimage.Symlink("dir", outside+"/keep"), testimage.Symlink("out", strings.Repeat("../", 20)+outside[1:]))
	for _, target := range []string{"/dir", "/dir/empty", "/out", "/out/new", "/out/file", "/out/keep/empty/new"} {
		pod := h.Pod()
		err := startError(pod, harness.Image(image), harness.Say("sleep"), func(c *runtimeapi.ContainerConfig) {
			c.Mounts = append(c.Mounts, &runtimeapi.Mount{HostPath: volume, ContainerPath: target})
		})
		if err != nil {
			t.Logf("%s refused: %v", target, err)
		}
		h.Must(h.RemovePod(h.Ctx, pod.ID))
	}
	if after := tree(t, outside); after != before {
		t.Errorf("on the host before:\n%s\nafter:\n%s", before, after)
	}
	if entries, _ := os.ReadDir(volume); len(entries) > 0 {
		t.Errorf("in the volume: %v", entries)
	}
}

// CVE-2024-8676, CVE-2026-53489, CVE-2026-53492: an image that has the form of a
// checkpoint is an image. Its dumps, which name mounts, annotations, devices and
// log files, are files like any others.
func TestCVE_2024_8676_CVE_2026_53489_CVE_2026_53492_CheckpointImage(t *testing.T) {
	h := suite.Test(t)
	secret := t.TempDir()
	h.Must(os.WriteFile(filepath.Join(secret, "secret"), []byte("of the host"), 0o600))
	dump := `{"mounts":[{"destination":"/stolen","source":"` + secret + `","type":"bind","options":["rbind"]}],"annotations":{"cdi.k8s.io/x":"vendor.com/device=all"},"linux":{"devices":[{"path":"/dev/mem","type":"c","major":1,"minor":1}]}}`
	labels := map[string]string{"io.kubernetes.cri-o.annotations.checkpoint.name": "x", "org.criu.checkpoint.container.name": "x", "io.kubernetes.cri-o.annotations.checkpoint.engine.name": "cri-o"}
	image := h.Image("cve-2024-8676", v1.Config{Labels: labels},
		testimage.File{Name: "spec.dump", Body: dump}, testimage.File{Name: "config.dump", Body: dump}, testimage.File{Name: "bind.mounts", Body: `[{"source":"` + secret + `","destination":"/stolen"}]`},
		testimage.Symlink("container.log", secret+"/secret"), testimage.Dir("checkpoint"), testimage.File{Name: "io.kubernetes.cri-o.LogPath", Body: secret + "/secret"})
	c := h.Pod().Start(harness.Image(image), harness.Say("print hello + sleep"))
	c.WaitLog("hello")
	for _, line := range []string{"cat /stolen/secret", "cat /container.log", "cat /dev/mem"} {
		answer, err := c.TryExec(0, strings.Fields(line)...)
		h.Must(err)
		if answer.GetExitCode() == 0 || len(answer.GetStdout()) > 0 {
			t.Errorf("%s: %.100q", line, answer.GetStdout())
		}
	}
	if got := c.Log().All(); strings.Contains(got, "of the host") || len(c.Status().GetMounts()) != 0 {
		t.Errorf("log %q, mounts %v", got, c.Status().GetMounts())
	}
	for key := range c.Status().GetAnnotations() {
		if strings.HasPrefix(key, "cdi.k8s.io") {
			t.Errorf("annotation %s", key)
		}
	}
}

// CVE-2025-4437, CVE-2026-47262: a container whose image has a passwd or group
// file without an end is refused, and the daemon does not read it. (Huge and sparse
// ones are a test of imagestore, where their size costs no container.)
func TestCVE_2025_4437_CVE_2026_47262_HugePasswd(t *testing.T) {
	h := suite.Test(t)
	for name, file := range map[string]string{"passwd": "etc/passwd", "group": "etc/group"} {
		image := h.Image("cve-2025-4437-"+name, v1.Config{User: "nobody-knows:none"}, testimage.File{Name: file, Type: tar.TypeSymlink, Link: "../dev/zero"}, testimage.Dir("dev"), testimage.File{Name: "dev/zero", Type: tar.TypeChar, Major: 1, Minor: 5, Mode: 0o666})
		before := residentMiB(t, h.Node.PID())
		err := startError(h.Pod(), harness.Image(image), harness.Say("sleep"))
		h.WantCode(err, codes.FailedPrecondition, "/"+file)
		if after := residentMiB(t, h.Node.PID()); after > before+40 {
			t.Errorf("resident memory of varved grew from %d to %d MiB", before, after)
		}
	}
}
