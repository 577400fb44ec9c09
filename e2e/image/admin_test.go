package image

import (
	"context"
	"errors"
	"os"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/varve-cri/varve/cri/admin/client"
	"github.com/varve-cri/varve/cri/admin/wire"
	"github.com/varve-cri/varve/e2e/harness"
	"github.com/varve-cri/varve/e2e/testregistry"
	"github.com/varve-cri/varve/imagestore/progress"
)

// newest is the pull that began last, which may have ended.
func newest(h *harness.Test) progress.State {
	h.T.Helper()
	pulls, err := client.New(h.Node.AdminSocket()).Pulls(h.Ctx)
	h.Must(err)
	if len(pulls) == 0 {
		return progress.State{}
	}
	return pulls[len(pulls)-1]
}

// The operator's socket of a real daemon: who may use it, what the CRI pulls is
// seen there and the other way round, and the store owns all that is in it.
func TestAdminSocket(t *testing.T) {
	h := suite.Test(t)
	admin := client.New(h.Node.AdminSocket())
	info, err := os.Stat(h.Node.AdminSocket())
	h.Must(err)
	if info.Mode() != os.ModeSocket|0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	h.Must(h.Registry.Push("admin/app:1", tiny(t, v1.Config{})))
	const ref = "registry.test/admin/app:1"
	last, err := admin.Pull(h.Ctx, wire.PullRequest{Image: ref}, func(progress.State) error { return nil })
	h.Must(err)
	if last.Stage != progress.Done || len(last.Layers) != 1 || last.Layers[0].Stage != progress.LayerDone {
		t.Fatalf("%+v", last)
	}
	h.Must(h.Pull(h.Ctx, ref))
	if newest := newest(h); newest.Reference != ref || !newest.Unchanged || newest.Image != last.Image {
		t.Errorf("the CRI's pull is %+v", newest)
	}
	images, err := admin.Images(h.Ctx, ref)
	h.Must(err)
	if len(images) != 1 || images[0].ID != last.Image {
		t.Errorf("%+v", images)
	}
	remove(h, ref)
	var said *client.Error
	if _, err := admin.Images(h.Ctx, ref); !errors.As(err, &said) || said.Code != "NotFound" {
		t.Errorf("after the removal: %v", err)
	}
	harness.Eventually(t, "the removed layer's space is free", func() bool {
		store, err := admin.Store(h.Ctx)
		h.Must(err)
		if len(store.Orphans) > 0 {
			t.Errorf("orphans: %v", store.Orphans)
		}
		return store.TrashPending == 0
	})
}

// A client of the operator's socket, and one of the CRI, that goes away cancels
// its pull.
func TestClientsThatGoAwayCancel(t *testing.T) {
	h := suite.Test(t)
	h.Registry.Fault("admin/slow", testregistry.Fault{Blobs: testregistry.BlobStalled})
	h.Must(h.Registry.Push("admin/slow:1", tiny(t, v1.Config{})))
	const ref = "registry.test/admin/slow:1"
	admin := client.New(h.Node.AdminSocket())
	for name, pull := range map[string]func(context.Context) error{
		"admin": func(ctx context.Context) error {
			_, err := admin.Pull(ctx, wire.PullRequest{Image: ref}, func(progress.State) error { return nil })
			return err
		},
		"CRI": func(ctx context.Context) error { return h.Pull(ctx, ref) },
	} {
		before := newest(h).ID
		ctx, cancel := context.WithCancel(h.Ctx)
		ended := make(chan error, 1)
		go func() { ended <- pull(ctx) }()
		harness.Eventually(t, name+": the layer is being fetched", func() bool {
			p := newest(h)
			return p.ID != before && p.Reference == ref && len(p.Layers) == 1 && p.Layers[0].Stage == progress.LayerFetching && p.Fetched > 0
		})
		cancel()
		if err := <-ended; err == nil {
			t.Errorf("%s: the pull succeeded", name)
		}
		harness.Eventually(t, name+": the pull has ended", func() bool {
			p := newest(h)
			return p.ID != before && p.Stage == progress.Failed && p.Kind == "canceled"
		})
	}
}
