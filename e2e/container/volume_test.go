package container

import (
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/e2e/harness"
	"github.com/varve-cri/varve/e2e/testimage"
)

// dataImage pushes and pulls an image of files, without a program.
func dataImage(h *harness.Test, name string, files ...testimage.File) string {
	h.T.Helper()
	image, err := testimage.Build(testimage.Spec{Config: v1.Config{}, Layers: [][]testimage.File{files}})
	h.Must(err)
	return h.Push(name, image)
}

func imageVolume(path, image, sub string) *runtimeapi.Mount {
	return &runtimeapi.Mount{ContainerPath: path, Image: &runtimeapi.ImageSpec{Image: image}, ImageSubPath: sub, Readonly: true}
}

// TestImageVolume shares one image among containers of two pods, by all of it and
// by parts, over a kill of the daemon and after its removal.
func TestImageVolume(t *testing.T) {
	h := suite.Test(t)
	probe, err := testimage.ProbeFiles()
	h.Must(err)
	ref := dataImage(h, "volume", append(probe, testimage.Dir("data"), testimage.File{Name: "data/x", Body: "x of the volume"}, testimage.Symlink("link", "/data/x"))...)
	strict := imageVolume("/strict", ref, "")
	strict.MountOptions = []string{"noexec", "nosuid", "nodev"}
	volumes := []harness.Change{harness.Say("sleep"), mount(imageVolume("/all", ref, "")), mount(imageVolume("/part", ref, "data")), mount(imageVolume("/file", ref, "link")), mount(strict)}
	one, two := h.Pod(), h.Pod()
	a, b, late := one.Start(volumes...), two.Start(volumes...), two.Create(volumes...)
	look := func(c *harness.Container) {
		t.Helper()
		if got := c.Exec("cat /all/data/x /part/x /file"); got != strings.Repeat("x of the volume", 3) {
			t.Errorf("got %q", got)
		}
		refused(t, c, "write /all/new x", "read-only file system")
		refused(t, c, "write /file x", "read-only file system")
	}
	look(a)
	look(b)
	// Programs of a volume can be run (since CRI 0.36), unless its options forbid it.
	run := func(path string) (*runtimeapi.ExecSyncResponse, error) {
		return h.ExecSync(h.Ctx, &runtimeapi.ExecSyncRequest{ContainerId: a.ID, Cmd: []string{path + "/bin/probe", "print", "it", "runs"}})
	}
	if answer, err := run("/all"); err != nil || string(answer.GetStdout()) != "it runs\n" {
		t.Errorf("a program of the volume: %v, %v", answer, err)
	}
	if answer, err := run("/strict"); err == nil && answer.GetExitCode() == 0 {
		t.Error("a program of a noexec volume ran")
	}
	for line := range strings.Lines(a.Exec("cat /proc/self/mountinfo")) {
		if strings.Contains(line, " /strict ") && !strings.Contains(line, " ro,nosuid,nodev,noexec,") {
			t.Errorf("options: %s", line)
		}
	}
	status, err := h.ImageStatus(h.Ctx, &runtimeapi.ImageStatusRequest{Image: &runtimeapi.ImageSpec{Image: ref}})
	h.Must(err)
	for _, m := range late.Status().GetMounts() {
		if m.GetImage().GetImageRef() != status.GetImage().GetId() || m.GetImage().GetImage() != status.GetImage().GetId() || m.GetImage().GetUserSpecifiedImage() != ref {
			t.Errorf("status tells %v", m)
		}
	}
	_, err = h.RemoveImage(h.Ctx, &runtimeapi.RemoveImageRequest{Image: &runtimeapi.ImageSpec{Image: ref}})
	h.Must(err)
	h.Kill(t)
	h.Restart(t)
	look(a)
	h.Must(late.TryStart())
	look(late)
	_, err = one.TryCreate(volumes...)
	h.WantCode(err, codes.NotFound, "ImageVolumeMountFailed: ", ref)
}

func TestImageVolumeRefused(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod()
	writable := imageVolume("/v", harness.Probe, "")
	writable.Readonly = false
	both := imageVolume("/v", harness.Probe, "")
	both.HostPath = "/etc"
	for words, m := range map[string]*runtimeapi.Mount{
		"ImageVolumeMountFailed: ": imageVolume("/v", harness.Probe, "not/there"),
		"read-only":                writable,
		"beside host_path":         both,
		"no image may be":          imageVolume("/sys/fs/cgroup", harness.Probe, ""),
	} {
		_, err := pod.TryCreate(mount(m))
		h.WantCode(err, codes.InvalidArgument, words)
	}
}
