package immunity

import (
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

func imageVolume(path, image, sub string) harness.Change {
	return func(c *runtimeapi.ContainerConfig) {
		c.Mounts = append(c.Mounts, &runtimeapi.Mount{ContainerPath: path, Image: &runtimeapi.ImageSpec{Image: image}, ImageSubPath: sub, Readonly: true})
	}
}

// CVE-2019-16884 and CVE-2019-19921: an image's files do not pass for the kernel's.
func TestCVE_2019_16884_ImageVolumeOverProc(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod()
	for _, path := range []string{"/proc", "/proc/self/attr", "/x/../proc", "/proc/sys", "/proc/cpuinfo", "/sys", "/dev"} {
		_, err := pod.TryCreate(imageVolume(path, harness.Probe, "etc"))
		h.WantCode(err, codes.InvalidArgument, "container_path")
	}
	// A target that is a link to /proc in the container's own image: procfs comes last
	// and lies over whatever that leads to.
	image := h.Image("cve-2019-16884-volume", v1.Config{}, testimage.Symlink("innocent", "/proc/self"))
	got := pod.Output(harness.Image(image), harness.Say("ls /proc/self/attr /innocent/attr"), imageVolume("/innocent/attr", harness.Probe, "etc"))
	if strings.Contains(got, "passwd") || !strings.Contains(got, "current") {
		t.Errorf("/proc/self/attr holds\n%s", got)
	}
}

// Sub paths of an image volume that lead out: by links, absolute and climbing, by
// the magic links of /proc, and in the request itself (the class of CVE-2017-1002101
// and CVE-2024-45310).
func TestImageVolumeSubPathEscapes(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod()
	secret := filepath.Join(t.TempDir(), "secret")
	h.Must(os.Mkdir(secret, 0o755))
	h.Must(os.WriteFile(secret+"/file", []byte("of the host"), 0o644))
	image := h.Image("volume-escapes", v1.Config{},
		testimage.Symlink("absolute", secret), testimage.Symlink("climbing", strings.Repeat("../", 30)+secret[1:]),
		testimage.Symlink("magic", "/proc/self/root"), testimage.Symlink("cwd", "/proc/self/cwd/"+secret), testimage.Symlink("fd", "/proc/self/fd/3"))
	for _, sub := range []string{"absolute", "absolute/file", "climbing", "magic" + secret, "cwd", "fd", ".." + secret, "../../../../" + secret, secret} {
		if _, err := pod.TryCreate(imageVolume("/v", image, sub)); err == nil {
			t.Errorf("%s was mounted", sub)
		}
	}
}
