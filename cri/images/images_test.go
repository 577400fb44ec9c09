package images

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/config"
	"github.com/varve-cri/varve/cri/fault"
	"github.com/varve-cri/varve/imagestore"
)

func service(t *testing.T) *Service {
	t.Helper()
	store, err := imagestore.Open(imagestore.Config{Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	cfg := &config.Config{}
	cfg.Complete()
	return New(store, func() *config.Config { return cfg })
}

func TestBadRequests(t *testing.T) {
	s, ctx := service(t), t.Context()
	spec := func(ref string) *runtimeapi.ImageSpec { return &runtimeapi.ImageSpec{Image: ref} }
	for name, call := range map[string]func() error{
		"pull nothing":   func() error { _, err := s.PullImage(ctx, &runtimeapi.PullImageRequest{}); return err },
		"status nothing": func() error { _, err := s.ImageStatus(ctx, &runtimeapi.ImageStatusRequest{}); return err },
		"remove nothing": func() error { _, err := s.RemoveImage(ctx, &runtimeapi.RemoveImageRequest{}); return err },
		"no reference": func() error {
			_, err := s.PullImage(ctx, &runtimeapi.PullImageRequest{Image: spec("UPPER/case name")})
			return err
		},
		"no handler": func() error {
			_, err := s.PullImage(ctx, &runtimeapi.PullImageRequest{Image: &runtimeapi.ImageSpec{Image: "registry.test/a:1", RuntimeHandler: "nosuch"}})
			return err
		},
		"status, no handler": func() error {
			_, err := s.ImageStatus(ctx, &runtimeapi.ImageStatusRequest{Image: &runtimeapi.ImageSpec{Image: "registry.test/a:1", RuntimeHandler: "nosuch"}})
			return err
		},
	} {
		if code, _ := fault.Code(call()); code != codes.InvalidArgument {
			t.Errorf("%s: %v: %v", name, code, call())
		}
	}
	none := spec("registry.test/none:1")
	if r, err := s.ImageStatus(ctx, &runtimeapi.ImageStatusRequest{Image: none, Verbose: true}); err != nil || r.GetImage() != nil || len(r.GetInfo()) > 0 {
		t.Errorf("status of an image that is not there: %v, %v", r, err)
	}
	if _, err := s.RemoveImage(ctx, &runtimeapi.RemoveImageRequest{Image: none}); err != nil {
		t.Errorf("removal of an image that is not there: %v", err)
	}
}

func TestPullFailureCodes(t *testing.T) {
	for kind, want := range map[imagestore.Kind]codes.Code{
		imagestore.Artifact: codes.InvalidArgument,
		imagestore.NotFound: codes.NotFound, imagestore.Unauthorized: codes.Unauthenticated, imagestore.NoSpace: codes.ResourceExhausted,
	} {
		pe := &imagestore.PullError{Kind: kind, Ref: "a", Step: "b", Err: errors.New("c")}
		if code, _ := fault.Code(pe); code != want {
			t.Errorf("%s: %v, want %v", kind, code, want)
		}
	}
}

func TestInfoIsOneObject(t *testing.T) {
	m, err := info(&imagestore.Image{ID: "sha256:1", Pulled: time.Unix(1, 0)}, nil)
	var all map[string]json.RawMessage
	if err != nil || len(m) != 1 || json.Unmarshal([]byte(m["info"]), &all) != nil {
		t.Fatalf("info %v, %v", m, err)
	}
	for _, key := range []string{"imageSpec", "layers", "pulled", "names", "format", "bytes"} {
		if all[key] == nil {
			t.Errorf("info lacks %s: %s", key, m["info"])
		}
	}
}
