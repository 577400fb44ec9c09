package server

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/imagestore"
)

func TestRetriesJoin(t *testing.T) {
	n := newNode(t)
	n.pull()
	pc := podConfig(t)
	var wg sync.WaitGroup
	ids := make([]string, 8)
	for i := range ids {
		wg.Go(func() {
			r, err := n.RunPodSandbox(n.ctx(), &runtimeapi.RunPodSandboxRequest{Config: pc})
			if err != nil {
				t.Error(err)
			}
			ids[i] = r.GetPodSandboxId()
		})
	}
	wg.Wait()
	for _, id := range ids {
		if id != ids[0] {
			t.Fatalf("retries made several pods: %v", ids)
		}
	}
	cc := containerConfig(pc, "main", "sleep")
	made := make([]string, 8)
	for i := range made {
		wg.Go(func() {
			id, err := n.create(ids[0], pc, cc)
			if err != nil {
				t.Error(err)
			}
			made[i] = id
		})
	}
	wg.Wait()
	for _, id := range made {
		if id != made[0] {
			t.Fatalf("retries made several containers: %v", made)
		}
	}
	if layers := n.images.ListRW(); len(layers) != 1 {
		t.Errorf("layers: %v", layers)
	}
	cc.Args = []string{"print"}
	_, err := n.create(ids[0], pc, cc)
	want(t, err, codes.AlreadyExists, "another configuration")
	if _, err := n.StopPodSandbox(n.ctx(), &runtimeapi.StopPodSandboxRequest{PodSandboxId: ids[0]}); err != nil {
		t.Fatal(err)
	}
	_, err = n.RunPodSandbox(n.ctx(), &runtimeapi.RunPodSandboxRequest{Config: pc})
	want(t, err, codes.AlreadyExists, ids[0])
	pc.Metadata.Attempt = 1
	if again := n.pod(pc); again == ids[0] {
		t.Error("the next attempt is the same pod")
	}
}

func TestGoneIsDone(t *testing.T) {
	n := newNode(t)
	none := strings.Repeat("0", 64)
	ctx := n.ctx()
	for name, call := range map[string]func() error{
		"StopPodSandbox": func() error {
			_, err := n.StopPodSandbox(ctx, &runtimeapi.StopPodSandboxRequest{PodSandboxId: none})
			return err
		},
		"RemovePodSandbox": func() error {
			_, err := n.RemovePodSandbox(ctx, &runtimeapi.RemovePodSandboxRequest{PodSandboxId: none})
			return err
		},
		"StopContainer": func() error {
			_, err := n.StopContainer(ctx, &runtimeapi.StopContainerRequest{ContainerId: none})
			return err
		},
		"RemoveContainer": func() error {
			_, err := n.RemoveContainer(ctx, &runtimeapi.RemoveContainerRequest{ContainerId: none})
			return err
		},
		"RemoveImage": func() error {
			_, err := n.RemoveImage(ctx, &runtimeapi.RemoveImageRequest{Image: &runtimeapi.ImageSpec{Image: "registry.test/none:1"}})
			return err
		},
	} {
		if err := call(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, call := range map[string]func() error{
		"PodSandboxStatus": func() error {
			_, err := n.PodSandboxStatus(ctx, &runtimeapi.PodSandboxStatusRequest{PodSandboxId: none})
			return err
		},
		"CreateContainer": func() error {
			_, err := n.create(none, podConfig(t), containerConfig(podConfig(t), "a"))
			return err
		},
		"StartContainer": func() error {
			_, err := n.StartContainer(ctx, &runtimeapi.StartContainerRequest{ContainerId: none})
			return err
		},
		"ContainerStatus": func() error {
			_, err := n.ContainerStatus(ctx, &runtimeapi.ContainerStatusRequest{ContainerId: none})
			return err
		},
		"ContainerStats": func() error {
			_, err := n.ContainerStats(ctx, &runtimeapi.ContainerStatsRequest{ContainerId: none})
			return err
		},
		"ExecSync": func() error { _, err := n.exec(none, "print"); return err },
		"ReopenContainerLog": func() error {
			_, err := n.ReopenContainerLog(ctx, &runtimeapi.ReopenContainerLogRequest{ContainerId: none})
			return err
		},
		"UpdateContainerResources": func() error {
			_, err := n.UpdateContainerResources(ctx, &runtimeapi.UpdateContainerResourcesRequest{ContainerId: none})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) { want(t, call(), codes.NotFound, none) })
	}
}

func TestCancelUndoes(t *testing.T) {
	n := newNode(t)
	n.pull()
	// A hung host path: a FIFO does not hang stat, so that the deadline is
	// given to the whole call instead, at ever later moments.
	pc := podConfig(t)
	pod := n.pod(pc)
	for i := range 30 {
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(i)*100*time.Microsecond)
		p := podConfig(t)
		r, err := n.RunPodSandbox(ctx, &runtimeapi.RunPodSandboxRequest{Config: p})
		if err == nil {
			n.s.removePodNow(t, r.GetPodSandboxId())
		}
		cc := containerConfig(pc, "main", "sleep")
		cc.Metadata.Attempt = uint32(i)
		c, err := n.CreateContainer(ctx, &runtimeapi.CreateContainerRequest{PodSandboxId: pod, Config: cc, SandboxConfig: pc})
		if err == nil {
			if _, err := n.StartContainer(ctx, &runtimeapi.StartContainerRequest{ContainerId: c.GetContainerId()}); err == nil {
				t.Logf("started within %v", time.Duration(i)*100*time.Microsecond)
			}
		}
		cancel()
	}
	settle(t, n)
	if live := n.s.steps.Live(); len(live) > 0 {
		t.Errorf("still running: %v", live)
	}
}

// settle waits until calls whose callers have gone have ended, those too that
// have not begun yet: what was sent before this Version is with a goroutine when
// that is answered.
func settle(t *testing.T, n *node) {
	t.Helper()
	if _, err := n.Version(n.ctx(), &runtimeapi.VersionRequest{}); err != nil {
		t.Error(err)
	}
	await(t, "all operations end", func() bool {
		all := stacks()
		for _, busy := range []string{"created by google.golang.org/grpc.(*Server).serveStreams", "serial.(*Joint).work("} {
			if strings.Contains(all, busy) {
				return false
			}
		}
		return len(n.s.steps.Live()) == 0
	})
}

func (s *Server) removePodNow(t testing.TB, id string) {
	t.Helper()
	if _, err := s.RemovePodSandbox(context.Background(), &runtimeapi.RemovePodSandboxRequest{PodSandboxId: id}); err != nil {
		t.Error(err)
	}
}

func TestStatus(t *testing.T) {
	n := newNode(t)
	v, err := n.Version(n.ctx(), &runtimeapi.VersionRequest{})
	if err != nil || v.GetRuntimeName() != "varve" || v.GetRuntimeApiVersion() != "v1" {
		t.Errorf("version %v, %v", v, err)
	}
	st, err := n.Status(n.ctx(), &runtimeapi.StatusRequest{Verbose: true})
	if err != nil {
		t.Fatal(err)
	}
	conditions := map[string]bool{}
	for _, c := range st.GetStatus().GetConditions() {
		conditions[c.GetType()] = c.GetStatus()
	}
	if !conditions["RuntimeReady"] || conditions["NetworkReady"] {
		t.Errorf("conditions %v: want no network without a configuration", conditions)
	}
	if len(st.GetRuntimeHandlers()) == 0 || st.GetRuntimeHandlers()[0].GetName() != "" || !st.GetFeatures().GetSupplementalGroupsPolicy() || st.GetInfo()["config"] == "" {
		t.Errorf("status %v", st)
	}
	for key, value := range st.GetInfo() {
		if !strings.HasPrefix(value, "{") { // crictl shows an object as one, the rest as text
			t.Errorf("info %s is %s", key, value)
		}
	}
	var layers imagestore.Format
	if err := json.Unmarshal([]byte(st.GetInfo()["images"]), &layers); err != nil || layers.Name == "" || layers.Reason == "" {
		t.Errorf("the layers' format and why: %s, %v", st.GetInfo()["images"], err)
	}
	if !strings.Contains(st.GetInfo()["node"], `"running":[]`) {
		t.Errorf("operations of a node at rest: %s", st.GetInfo()["node"])
	}
	rc, err := n.RuntimeConfig(n.ctx(), &runtimeapi.RuntimeConfigRequest{})
	if err != nil || rc.GetLinux().GetCgroupDriver() != runtimeapi.CgroupDriver_CGROUPFS {
		t.Errorf("runtime config %v, %v", rc, err)
	}
}

func TestImages(t *testing.T) {
	n := newNode(t)
	none, err := n.ImageStatus(n.ctx(), &runtimeapi.ImageStatusRequest{Image: &runtimeapi.ImageSpec{Image: probe}})
	if err != nil || none.GetImage() != nil {
		t.Errorf("before the pull: %v, %v", none, err)
	}
	n.pull()
	st, err := n.ImageStatus(n.ctx(), &runtimeapi.ImageStatusRequest{Image: &runtimeapi.ImageSpec{Image: probe}, Verbose: true})
	if err != nil || st.GetImage().GetId() == "" || st.GetImage().GetSize() == 0 || len(st.GetImage().GetRepoTags()) != 1 || !strings.Contains(st.GetInfo()["info"], `"imageSpec":{`) {
		t.Errorf("after the pull: %v, %v", st, err)
	}
	list, err := n.ListImages(n.ctx(), &runtimeapi.ListImagesRequest{Filter: &runtimeapi.ImageFilter{Image: &runtimeapi.ImageSpec{Image: probe}}})
	if err != nil || len(list.GetImages()) != 1 {
		t.Errorf("list: %v, %v", list, err)
	}
	fs, err := n.ImageFsInfo(n.ctx(), &runtimeapi.ImageFsInfoRequest{})
	if err != nil || len(fs.GetImageFilesystems()) != 1 || fs.GetImageFilesystems()[0].GetFsId().GetMountpoint() == "" || len(fs.GetContainerFilesystems()) != 1 {
		t.Errorf("file system: %v, %v", fs, err)
	}
	_, err = n.PullImage(n.ctx(), &runtimeapi.PullImageRequest{Image: &runtimeapi.ImageSpec{Image: "registry.test/none:1"}})
	want(t, err, codes.NotFound, "registry.test/none:1")
	if _, err := n.RemoveImage(n.ctx(), &runtimeapi.RemoveImageRequest{Image: &runtimeapi.ImageSpec{Image: probe}}); err != nil {
		t.Fatal(err)
	}
	if list, err := n.ListImages(n.ctx(), &runtimeapi.ListImagesRequest{}); err != nil || len(list.GetImages()) != 0 {
		t.Errorf("after the removal: %v, %v", list, err)
	}
}
