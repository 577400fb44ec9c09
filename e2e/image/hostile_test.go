package image

import (
	"archive/tar"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/e2e/testimage"
)

// TestEntriesThatClimbOut: layers whose entries name places outside. The pull
// may refuse them or keep them inside; nothing outside changes (CVE-2021-32760
// and its family).
func TestEntriesThatClimbOut(t *testing.T) {
	h := suite.Test(t)
	outside := t.TempDir()
	victim := filepath.Join(outside, "victim")
	h.Must(os.WriteFile(victim, []byte("as it was"), 0o600))
	up := strings.Repeat("../", 20) + strings.TrimPrefix(outside, "/")
	for name, files := range map[string][]testimage.File{
		"dots":           {{Name: up + "/victim", Body: "changed"}},
		"absolute":       {{Name: victim, Body: "changed"}},
		"new-file":       {{Name: up + "/new", Body: "changed"}},
		"symlink":        {testimage.Symlink("out", outside), {Name: "out/victim", Body: "changed"}},
		"relative-link":  {testimage.Symlink("out", up), {Name: "out/new", Body: "changed"}},
		"hard-link":      {testimage.Hardlink("inside", up+"/victim"), {Name: "inside", Body: "changed"}},
		"abs-hard-link":  {testimage.Hardlink("inside", victim), {Name: "inside", Body: "changed", Mode: 0o777}},
		"link-to-link":   {testimage.Symlink("a", "b"), testimage.Symlink("b", outside), testimage.Hardlink("c", "a/victim"), {Name: "c", Body: "changed"}},
		"mode-by-link":   {testimage.Symlink("a", victim), {Name: "a", Type: tar.TypeDir, Mode: 0o777}},
		"whiteout-climb": {{Name: "../" + up + "/.wh.victim"}, testimage.Symlink("d", outside), {Name: "d/.wh.victim"}},
		"opaque-climb":   {testimage.Symlink("d", outside), {Name: "d/.wh..wh..opq"}},
	} {
		t.Run(name, func(t *testing.T) {
			h := h.For(t)
			image, err := testimage.Build(testimage.Spec{Config: v1.Config{}, Layers: [][]testimage.File{files}})
			h.Must(err)
			repository := "hostile/" + name
			h.Must(h.Registry.Push(repository+":1", image))
			if err := h.Pull(h.Ctx, "registry.test/"+repository+":1"); err != nil {
				t.Logf("refused: %v", err)
			} else {
				remove(h, "registry.test/"+repository+":1")
			}
			body, err := os.ReadFile(victim)
			info, statErr := os.Stat(victim)
			entries, _ := os.ReadDir(outside)
			if err != nil || statErr != nil || string(body) != "as it was" || info.Mode() != 0o600 || len(entries) != 1 {
				t.Fatalf("outside: %q, %v, %v, %v", body, info, entries, err)
			}
		})
	}
}

// TestMalformedManifests: documents that are no image, or two things at once
// (GHSA-5j5w), or too large (CVE-2020-1702), and digests that are paths
// (CVE-2024-3727).
func TestMalformedManifests(t *testing.T) {
	h := suite.Test(t)
	const manifest, index = "application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.index.v1+json"
	config := `"config":{"mediaType":"application/vnd.oci.image.config.v1+json","size":2,"digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"}`
	for i, tc := range []struct{ mediaType, body string }{
		{manifest, `not json`},
		{manifest, `{}`},
		{manifest, `{"schemaVersion":2,"mediaType":"` + manifest + `",` + config + `,"layers":[],"manifests":[{"digest":"sha256:00"}]}`},
		{manifest, `{"schemaVersion":2,` + config + `,"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","size":1,"digest":"sha256:../../../../etc/passwd"}]}`},
		{manifest, `{"schemaVersion":2,"config":{"digest":"sha256:../../x","size":2},"layers":[]}`},
		{manifest, `{"schemaVersion":2,` + config + `,"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","size":-1,"digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"}]}`},
		{index, `{"schemaVersion":2,"manifests":[]}`},
		{manifest, `{"schemaVersion":2,"x":"` + strings.Repeat("x", 9<<20) + `",` + config + `,"layers":[]}`},
	} {
		repository := fmt.Sprint("malformed/", i)
		h.Must(h.Registry.PushBlob(repository, "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a", strings.NewReader("{}")))
		if err := h.Registry.PushManifest(repository, "1", tc.mediaType, []byte(tc.body)); err != nil {
			t.Logf("the registry itself refuses %d: %v", i, err)
			continue
		}
		if err := h.Pull(h.Ctx, "registry.test/"+repository+":1"); err == nil {
			t.Errorf("%.100s: pulled", tc.body)
		}
	}
	list, err := h.ListImages(h.Ctx, &runtimeapi.ListImagesRequest{})
	h.Must(err)
	if len(list.GetImages()) != 1 {
		t.Errorf("images: %v", list.GetImages())
	}
}
