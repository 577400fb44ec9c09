package crash

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/admin/client"
	"github.com/varve-cri/varve/e2e/harness"
	"github.com/varve-cri/varve/e2e/testimage"
)

// TestRequestsPastTheirDeadline ends requests after every few hundred
// microseconds of their work. Whatever was undone or done, the same request
// succeeds after it, and the audit finds nothing more than that.
func TestRequestsPastTheirDeadline(t *testing.T) {
	h := suite.Test(t)
	for after := 200 * time.Microsecond; after < 40*time.Millisecond; after += after / 3 {
		config := h.PodConfig(harness.OwnNetwork)
		short := func(call func(ctx context.Context)) {
			ctx, cancel := context.WithTimeout(h.Ctx, after)
			defer cancel()
			call(ctx)
		}
		run := &runtimeapi.RunPodSandboxRequest{Config: config}
		short(func(ctx context.Context) { h.RunPodSandbox(ctx, run) }) //nolint:errcheck // that it fails is likely
		pod, err := h.RunPodSandbox(h.Ctx, run)
		h.Must(err)

		create := &runtimeapi.CreateContainerRequest{
			PodSandboxId: pod.GetPodSandboxId(), SandboxConfig: config,
			Config: &runtimeapi.ContainerConfig{
				Metadata: &runtimeapi.ContainerMetadata{Name: "c"}, Args: []string{"sleep"},
				Image: &runtimeapi.ImageSpec{Image: harness.Probe}, Linux: &runtimeapi.LinuxContainerConfig{},
			},
		}
		short(func(ctx context.Context) { h.CreateContainer(ctx, create) }) //nolint:errcheck // see above
		c, err := h.CreateContainer(h.Ctx, create)
		h.Must(err)
		start := &runtimeapi.StartContainerRequest{ContainerId: c.GetContainerId()}
		short(func(ctx context.Context) { h.StartContainer(ctx, start) }) //nolint:errcheck // see above
		short(func(ctx context.Context) {
			h.StopContainer(ctx, &runtimeapi.StopContainerRequest{ContainerId: start.ContainerId})
		}) //nolint:errcheck // see above
		short(func(ctx context.Context) {
			h.StopPodSandbox(ctx, &runtimeapi.StopPodSandboxRequest{PodSandboxId: pod.GetPodSandboxId()})
		}) //nolint:errcheck // see above
		h.Must(h.RemovePod(h.Ctx, pod.GetPodSandboxId()))
	}
}

// impatient sends a request that is given up at a random moment, by its deadline
// or by its client, and then the same again, twice at once.
func impatient(h *harness.Test, what string, call func(ctx context.Context) error) {
	h.T.Helper()
	after := time.Duration(rand.ExpFloat64() * float64(4*time.Millisecond))
	ctx, cancel := context.WithTimeout(h.Ctx, after)
	code := codes.DeadlineExceeded
	if rand.N(2) == 0 {
		cancel()
		code = codes.Canceled
		ctx, cancel = context.WithCancel(h.Ctx)
		time.AfterFunc(after, cancel)
	}
	defer cancel()
	if err := call(ctx); err != nil && status.Code(err) != code {
		h.T.Errorf("%s given up after %v: %v", what, after, err)
	}
	results := make(chan error, 2)
	for range 2 {
		go func() { results <- call(h.Ctx) }()
	}
	for range 2 {
		if err := <-results; err != nil {
			h.T.Fatalf("%s given up after %v and sent again: %v", what, after, err)
		}
	}
}

// TestEveryRequestGivenUp gives up every request that makes or removes something,
// at random moments. Sent again it has done what it should, once.
func TestEveryRequestGivenUp(t *testing.T) {
	h := suite.Test(t)
	image, err := testimage.Probe(v1.Config{}, testimage.File{Name: "of", Body: t.Name()})
	h.Must(err)
	h.Must(h.Registry.Push("given-up:1", image))
	spec := &runtimeapi.ImageSpec{Image: "registry.test/given-up:1"}
	for range 25 {
		impatient(h, "PullImage", func(ctx context.Context) error {
			_, err := h.PullImage(ctx, &runtimeapi.PullImageRequest{Image: spec})
			return err
		})
		givenUpLife(h, spec)
		impatient(h, "RemoveImage", func(ctx context.Context) error {
			_, err := h.RemoveImage(ctx, &runtimeapi.RemoveImageRequest{Image: spec})
			return err
		})
		st, err := h.ImageStatus(h.Ctx, &runtimeapi.ImageStatusRequest{Image: spec})
		if err != nil || st.GetImage() != nil {
			t.Fatalf("the image is still there: %v, %v", st, err)
		}
	}
	store, err := client.New(h.Node.AdminSocket()).Store(h.Ctx)
	if err != nil || len(store.Orphans) > 0 {
		t.Errorf("left in the store: %v, %v", store.Orphans, err)
	}
}

// givenUpLife is one pod's and container's.
func givenUpLife(h *harness.Test, image *runtimeapi.ImageSpec) {
	changes := []harness.PodChange{harness.OwnNetwork, harness.SharedPID}[:rand.N(3)]
	config := h.PodConfig(changes...)
	var pods, containers ids
	impatient(h, "RunPodSandbox", func(ctx context.Context) error {
		r, err := h.RunPodSandbox(ctx, &runtimeapi.RunPodSandboxRequest{Config: config})
		pods.add(r.GetPodSandboxId())
		return err
	})
	pod := pods.last(h)
	create := &runtimeapi.CreateContainerRequest{
		PodSandboxId: pod, SandboxConfig: config,
		Config: &runtimeapi.ContainerConfig{
			Metadata: &runtimeapi.ContainerMetadata{Name: "c"}, Args: []string{"sleep"}, Image: image,
			Linux: &runtimeapi.LinuxContainerConfig{SecurityContext: &runtimeapi.LinuxContainerSecurityContext{
				NamespaceOptions: config.GetLinux().GetSecurityContext().GetNamespaceOptions(),
			}},
		},
	}
	impatient(h, "CreateContainer", func(ctx context.Context) error {
		r, err := h.CreateContainer(ctx, create)
		containers.add(r.GetContainerId())
		return err
	})
	id := containers.last(h)
	state := func(want runtimeapi.ContainerState) {
		h.T.Helper()
		st, err := h.ContainerStatus(h.Ctx, &runtimeapi.ContainerStatusRequest{ContainerId: id})
		if err != nil || st.GetStatus().GetState() != want {
			h.T.Fatalf("want %v: %v, %v", want, st, err)
		}
	}
	impatient(h, "StartContainer", func(ctx context.Context) error {
		_, err := h.StartContainer(ctx, &runtimeapi.StartContainerRequest{ContainerId: id})
		return err
	})
	state(runtimeapi.ContainerState_CONTAINER_RUNNING)
	if rand.N(2) == 0 {
		impatient(h, "StopContainer", func(ctx context.Context) error {
			_, err := h.StopContainer(ctx, &runtimeapi.StopContainerRequest{ContainerId: id})
			return err
		})
		state(runtimeapi.ContainerState_CONTAINER_EXITED)
	}
	if rand.N(2) == 0 {
		impatient(h, "RemoveContainer", func(ctx context.Context) error {
			_, err := h.RemoveContainer(ctx, &runtimeapi.RemoveContainerRequest{ContainerId: id})
			return err
		})
		_, err := h.ContainerStatus(h.Ctx, &runtimeapi.ContainerStatusRequest{ContainerId: id})
		h.WantCode(err, codes.NotFound)
	}
	impatient(h, "StopPodSandbox", func(ctx context.Context) error {
		_, err := h.StopPodSandbox(ctx, &runtimeapi.StopPodSandboxRequest{PodSandboxId: pod})
		return err
	})
	impatient(h, "RemovePodSandbox", func(ctx context.Context) error {
		_, err := h.RemovePodSandbox(ctx, &runtimeapi.RemovePodSandboxRequest{PodSandboxId: pod})
		return err
	})
	_, err := h.PodSandboxStatus(h.Ctx, &runtimeapi.PodSandboxStatusRequest{PodSandboxId: pod})
	h.WantCode(err, codes.NotFound)
}

// ids are the answers of requests that want the same.
type ids struct {
	mu  sync.Mutex
	all []string // guarded by mu
}

func (i *ids) add(id string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if id != "" {
		i.all = append(i.all, id)
	}
}

// last is the id that all of them were answered with.
func (i *ids) last(h *harness.Test) string {
	h.T.Helper()
	i.mu.Lock()
	defer i.mu.Unlock()
	n := len(i.all)
	if n < 2 || i.all[n-1] != i.all[n-2] || i.all[0] != i.all[n-1] {
		h.T.Fatalf("the answers are %v", i.all)
	}
	return i.all[n-1]
}
