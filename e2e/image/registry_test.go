package image

import (
	"context"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/e2e/harness"
	"github.com/varve-cri/varve/e2e/node"
	"github.com/varve-cri/varve/e2e/testregistry"
	"github.com/varve-cri/varve/imagestore/progress"
)

func arch() string { return runtime.GOARCH }

// TestWhatCanGoWrong: a clear error that names the image, nothing kept, and the
// same pull succeeds when the registry is well again.
func TestWhatCanGoWrong(t *testing.T) {
	h := suite.Test(t)
	h.Must(h.Registry.Push("wrong:1", tiny(t, v1.Config{})))
	t.Cleanup(func() { h.Registry.Fault("wrong", testregistry.Fault{}) })
	for name, tc := range map[string]struct {
		fault testregistry.Fault
		words []string
	}{
		"401":     {testregistry.Fault{Status: http.StatusUnauthorized}, []string{"401"}},
		"404":     {testregistry.Fault{Status: http.StatusNotFound}, []string{"not found"}},
		"429":     {testregistry.Fault{Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"1"}}}, []string{"429"}},
		"500":     {testregistry.Fault{Status: http.StatusInternalServerError}, []string{"500"}},
		"503":     {testregistry.Fault{Status: http.StatusServiceUnavailable}, []string{"503"}},
		"torn":    {testregistry.Fault{Blobs: testregistry.BlobTorn}, nil},
		"altered": {testregistry.Fault{Blobs: testregistry.BlobAltered}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			h := h.For(t)
			h.Registry.Fault("wrong", tc.fault)
			ctx, cancel := context.WithTimeout(h.Ctx, node.Patience(3*time.Minute))
			defer cancel()
			err := h.Pull(ctx, "registry.test/wrong:1")
			if err == nil {
				t.Fatal("the pull succeeded")
			}
			if !strings.Contains(err.Error(), "registry.test/wrong:1") {
				t.Errorf("the image is not named: %v", err)
			}
			for _, word := range tc.words {
				if !strings.Contains(strings.ToLower(err.Error()), word) {
					t.Errorf("the error lacks %q: %v", word, err)
				}
			}
			answer, err := h.ImageStatus(h.Ctx, &runtimeapi.ImageStatusRequest{Image: spec("registry.test/wrong:1")})
			h.Must(err)
			if answer.GetImage() != nil {
				t.Errorf("an image is there: %v", answer)
			}
			h.Registry.Fault("wrong", testregistry.Fault{})
			h.Must(h.Pull(h.Ctx, "registry.test/wrong:1"))
			remove(h, "registry.test/wrong:1")
		})
	}
}

func TestMissingImage(t *testing.T) {
	h := suite.Test(t)
	for _, ref := range []string{"registry.test/never/pushed:1", "registry.test/probe:no-such-tag"} {
		h.WantCode(h.Pull(h.Ctx, ref), codes.NotFound, ref)
	}
	for _, ref := range []string{"", "registry.test/UPPER:1", "registry.test/x@sha256:short", "registry.test/a b:1"} {
		h.WantCode(h.Pull(h.Ctx, ref), codes.InvalidArgument)
	}
}

// TestSlowRegistry: the caller's deadline ends a pull, and a cancelled pull
// leaves nothing.
func TestSlowRegistry(t *testing.T) {
	h := suite.Test(t)
	h.Must(h.Registry.Push("slow:1", tiny(t, v1.Config{})))
	t.Cleanup(func() { h.Registry.Fault("slow", testregistry.Fault{}) })
	for _, fault := range []testregistry.Fault{{Delay: time.Hour}, {Blobs: testregistry.BlobStalled}} {
		h.Registry.Fault("slow", fault)
		ctx, cancel := context.WithTimeout(h.Ctx, 500*time.Millisecond)
		err := h.Pull(ctx, "registry.test/slow:1")
		cancel()
		if code := status.Code(err); code != codes.DeadlineExceeded && code != codes.Canceled {
			t.Errorf("got %v", err)
		}
		h.Registry.Fault("slow", testregistry.Fault{})
		// The daemon learns a little later that nobody waits, and until then one may join the pull that hangs.
		harness.Eventually(t, "the pull has ended", func() bool { return newest(h).Stage.Ended() })
		h.Must(h.Pull(h.Ctx, "registry.test/slow:1"))
		remove(h, "registry.test/slow:1")
	}
}

// TestCancelReachesTheRegistry: a client of the CRI that goes away ends the
// transfer at once.
func TestCancelReachesTheRegistry(t *testing.T) {
	h := suite.Test(t)
	h.Registry.Fault("cancel", testregistry.Fault{Blobs: testregistry.BlobStalled})
	h.Must(h.Registry.Push("cancel:1", tiny(t, v1.Config{})))
	left, asked := len(h.Registry.Left("cancel")), len(h.Registry.Requests("cancel"))
	ctx, cancel := context.WithCancel(h.Ctx)
	ended := make(chan error, 1)
	go func() { ended <- h.Pull(ctx, "registry.test/cancel:1") }()
	var pull progress.State
	harness.Eventually(t, "the config and the layer are asked for", func() bool {
		n := 0
		for _, q := range h.Registry.Requests("cancel")[asked:] {
			if strings.Contains(q.Path, "/blobs/") {
				n++
			}
		}
		pull = newest(h)
		return n >= 2 && len(pull.Layers) == 1 && pull.Fetched > 0 // half of the layer has come
	})
	canceled := time.Now()
	cancel()
	h.WantCode(<-ended, codes.Canceled)
	harness.Eventually(t, "the registry sees the connection closed", func() bool { return len(h.Registry.Left("cancel")) > left })
	// A few ms on a quiet machine.
	t.Logf("after %v", h.Registry.Left("cancel")[left].Sub(canceled))
	// A transfer that is not cancelled goes on until it counts as stalled, and is taken up again.
	if p := newest(h); p.ID != pull.ID || p.Resumes != pull.Resumes || p.Retries != pull.Retries {
		t.Errorf("the pull went on: %+v, then %+v", pull, p)
	}
}

// TestRegistryDown: the kubelet looks for a word of its own in the message.
func TestRegistryDown(t *testing.T) {
	h := suite.Test(t)
	h.Must(h.Registry.Push("down:1", tiny(t, v1.Config{})))
	h.Registry.Fault("down", testregistry.Fault{HangUp: true})
	t.Cleanup(func() { h.Registry.Fault("down", testregistry.Fault{}) })
	err := h.Pull(h.Ctx, "registry.test/down:1")
	if err == nil || !strings.Contains(err.Error(), "RegistryUnavailable") {
		t.Errorf("got %v", err)
	}
}

func TestCredentials(t *testing.T) {
	h := suite.Test(t)
	t.Cleanup(func() { h.Registry.Fault("private", testregistry.Fault{}) })
	ref := h.Registry.Host + "/private:1"
	for name, token := range map[string]bool{"basic": false, "token": true} {
		t.Run(name, func(t *testing.T) {
			h := h.For(t)
			h.Must(h.Registry.Push("private:1", tiny(t, v1.Config{})))
			h.Registry.Fault("private", testregistry.Fault{User: "someone", Password: "s3cret", Token: token})
			pull := func(auth *runtimeapi.AuthConfig) error {
				_, err := h.PullImage(h.Ctx, &runtimeapi.PullImageRequest{Image: spec(ref), Auth: auth})
				return err
			}
			for _, wrong := range []*runtimeapi.AuthConfig{nil, {Username: "someone", Password: "guess"}} {
				err := pull(wrong)
				h.WantCode(err, codes.Unauthenticated, ref)
				if err != nil && strings.Contains(err.Error(), "guess") {
					t.Errorf("the password is in the error: %v", err)
				}
			}
			h.Must(pull(&runtimeapi.AuthConfig{Username: "someone", Password: "s3cret"}))
			remove(h, ref)
		})
	}
}

// TestOneDownloadForManyPulls: a layer is fetched once however many ask.
func TestOneDownloadForManyPulls(t *testing.T) {
	h := suite.Test(t)
	image := tiny(t, v1.Config{})
	h.Must(h.Registry.Push("popular:1", image))
	h.Registry.Fault("popular", testregistry.Fault{Delay: 50 * time.Millisecond})
	t.Cleanup(func() { h.Registry.Fault("popular", testregistry.Fault{}) })
	const n = 8
	asked := len(h.Registry.Requests("popular"))
	errs := make(chan error, n)
	for range n {
		go func() { errs <- h.Pull(h.Ctx, "registry.test/popular:1") }()
	}
	for range n {
		h.Must(<-errs)
	}
	layers, err := image.Layers()
	h.Must(err)
	digest, err := layers[0].Digest()
	h.Must(err)
	count := 0
	for _, r := range h.Registry.Requests("popular")[asked:] {
		if r.Method == http.MethodGet && strings.HasSuffix(r.Path, digest.String()) {
			count++
		}
	}
	if count != 1 {
		t.Errorf("the layer was fetched %d times", count)
	}
	remove(h, "registry.test/popular:1")
}
