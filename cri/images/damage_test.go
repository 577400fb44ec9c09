package images

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/e2e/testimage"
	"github.com/varve-cri/varve/e2e/testregistry"
	"github.com/varve-cri/varve/imagestore"
	"github.com/varve-cri/varve/imagestore/registry"
)

// The kubelet, which asks before it pulls, finds a damaged image missing, and its
// pull mends it; people see what is wrong.
func TestStatusOfDamagedImage(t *testing.T) {
	r, err := testregistry.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	image, err := testimage.Build(testimage.Spec{Config: v1.Config{}, Layers: [][]testimage.File{{{Name: "f", Body: "hello"}}}})
	if err == nil {
		err = r.Push("app:1", image)
	}
	if err != nil {
		t.Fatal(err)
	}
	root, rules := t.TempDir(), registry.Rules{r.Host: {PlainHTTP: true}}
	s := service(t)
	if s.store, err = imagestore.Open(imagestore.Config{Root: root, Registries: rules, Format: imagestore.FormatOverlay}); err != nil {
		t.Fatal(err)
	}
	spec := &runtimeapi.ImageSpec{Image: r.Host + "/app:1"}
	status := func(verbose bool) *runtimeapi.ImageStatusResponse {
		t.Helper()
		resp, err := s.ImageStatus(t.Context(), &runtimeapi.ImageStatusRequest{Image: spec, Verbose: verbose})
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	pull := func() {
		t.Helper()
		if _, err := s.PullImage(t.Context(), &runtimeapi.PullImageRequest{Image: spec}); err != nil {
			t.Fatal(err)
		}
	}
	pull()
	files, err := filepath.Glob(root + "/layers/*/tree/f")
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	if err := os.WriteFile(files[0], []byte("jello"), 0o600); err != nil {
		t.Fatal(err)
	}
	// The registry is away when the damage is found.
	if err := s.store.Close(); err != nil {
		t.Fatal(err)
	}
	away := registry.Rules{r.Host: {Endpoints: []registry.Endpoint{{URL: "http://127.0.0.1:1"}}}}
	quick := registry.Limits{Attempts: 1}
	if s.store, err = imagestore.Open(imagestore.Config{Root: root, Registries: away, Network: quick}); err != nil {
		t.Fatal(err)
	}
	if err := s.store.CheckLayers(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.store.Close(); err != nil {
		t.Fatal(err)
	}
	if s.store, err = imagestore.Open(imagestore.Config{Root: root, Registries: rules}); err != nil {
		t.Fatal(err)
	}
	defer s.store.Close()
	if status(false).GetImage() != nil {
		t.Error("the kubelet would not pull the damaged image")
	}
	if got := status(true); got.GetImage() == nil || !strings.Contains(got.GetInfo()["info"], `"damaged":"layer sha256:`) || !strings.Contains(got.GetInfo()["info"], "/f has another content") {
		t.Errorf("verbose: %v", got)
	}
	if n := len(s.store.Damaged()); n != 1 { // what the metric varve_layers_damaged tells
		t.Errorf("%d damaged layers", n)
	}
	pull()
	if status(false).GetImage() == nil || strings.Contains(status(true).GetInfo()["info"], "damaged") {
		t.Error("the pull did not mend the image")
	}
}
