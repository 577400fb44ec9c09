package harness

import (
	"context"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/e2e/audit"
	"github.com/varve-cri/varve/e2e/node"
	"github.com/varve-cri/varve/e2e/testimage"
)

// Test is one test's hold of the suite: its pods are removed when it ends, and
// then nothing may be left that was not there before.
type Test struct {
	*Suite
	T   *testing.T
	Ctx context.Context //nolint:containedctx // the test's
}

// Test begins a test.
func (s *Suite) Test(t *testing.T) *Test {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), node.Patience(5*time.Minute))
	before := s.audit()
	t.Cleanup(func() {
		defer cancel()
		if err := s.Drain(ctx); err != nil {
			t.Errorf("remove the test's pods: %v", err)
		}
		var left []string
		for end := time.Now().Add(node.Patience(time.Minute)); ; time.Sleep(20 * time.Millisecond) {
			late := time.Now().After(end)
			if left = audit.Minus(s.audit(), before); len(left) == 0 || late {
				break
			}
		}
		if len(left) > 0 {
			t.Errorf("leaked:\n  %s", strings.Join(left, "\n  "))
		}
	})
	return &Test{Suite: s, T: t, Ctx: ctx}
}

// For is the same test in a subtest, which then is the one that fails.
func (h *Test) For(t *testing.T) *Test {
	sub := *h
	sub.T = t
	return &sub
}

// audit is the node's audit without the daemon and its waiting shims, which
// come and go with new numbers.
func (s *Suite) audit() []string {
	var found []string
	for _, item := range s.Node.Take() {
		if strings.HasPrefix(item, "process ") && !strings.Contains(item, s.Node.CgroupParent) {
			continue
		}
		if strings.HasPrefix(item, "socket "+s.Node.Socket()) {
			continue
		}
		found = append(found, item)
	}
	return found
}

// Pull pulls an image by name.
func (s *Suite) Pull(ctx context.Context, ref string) error {
	_, err := s.PullImage(ctx, &runtimeapi.PullImageRequest{Image: &runtimeapi.ImageSpec{Image: ref}})
	return err
}

// Image builds an image on top of the probe, pushes it as name:1, pulls it and
// returns its name. It is removed when the test ends.
func (h *Test) Image(name string, config v1.Config, files ...testimage.File) string {
	h.T.Helper()
	image, err := testimage.Probe(config, files...)
	if err != nil {
		h.T.Fatal(err)
	}
	return h.Push(name, image)
}

// Push pushes an image as name:1, pulls it and returns its name.
func (h *Test) Push(name string, image v1.Image) string {
	h.T.Helper()
	if err := h.Registry.Push(name+":1", image); err != nil {
		h.T.Fatal(err)
	}
	ref := "registry.test/" + name + ":1"
	if err := h.Pull(h.Ctx, ref); err != nil {
		h.T.Fatalf("pull %s: %v", ref, err)
	}
	h.T.Cleanup(func() {
		h.Drain(h.Ctx) //nolint:errcheck // the test's own cleanup says it
		if _, err := h.RemoveImage(h.Ctx, &runtimeapi.RemoveImageRequest{Image: &runtimeapi.ImageSpec{Image: ref}}); err != nil {
			h.T.Errorf("remove image %s: %v", ref, err)
		}
	})
	return ref
}

// WantCode fails the test unless err has the gRPC code and holds the words.
func (h *Test) WantCode(err error, code codes.Code, words ...string) {
	h.T.Helper()
	if status.Code(err) != code {
		h.T.Errorf("got code %s, want %s: %v", status.Code(err), code, err)
		return
	}
	message := status.Convert(err).Message()
	for _, word := range words {
		if !strings.Contains(message, word) {
			h.T.Errorf("the message lacks %q: %s", word, message)
		}
	}
	if strings.Contains(message, "failed to") {
		h.T.Errorf("the message says \"failed to\": %s", message)
	}
}

// Must fails the test at once when err is set.
func (h *Test) Must(err error) {
	h.T.Helper()
	if err != nil {
		h.T.Fatal(err)
	}
}
