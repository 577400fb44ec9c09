package container

import (
	"os"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/varve-cri/varve/e2e/harness"
	"github.com/varve-cri/varve/e2e/testimage"
)

// TestHandlers runs the same container by the handlers that the harness configures.
func TestHandlers(t *testing.T) {
	h := suite.Test(t)
	status, err := h.Status(h.Ctx, &runtimeapi.StatusRequest{})
	h.Must(err)
	var names []string
	for _, handler := range status.GetRuntimeHandlers() {
		names = append(names, handler.GetName())
		if !handler.GetFeatures().GetRecursiveReadOnlyMounts() {
			t.Errorf("handler %q has no recursive read-only mounts", handler.GetName())
		}
	}
	if got := strings.Join(names, ","); got != ",groups,none,overlay,strict" {
		t.Errorf("handlers %q", got)
	}

	look := func(c *harness.Container, caps, seccomp, files string) {
		t.Helper()
		text := c.Exec("cat /proc/1/status")
		if got := statusField(text, "CapEff") + " " + statusField(text, "CapBnd") + " " + statusField(text, "Seccomp"); got != caps+" "+caps+" "+seccomp {
			t.Errorf("capabilities and seccomp are %s, want %s %s", got, caps, seccomp)
		}
		// Go's own runtime, which the probe has, raises the soft limit.
		if got := limitLine(c.Exec("cat /proc/1/limits"), "Max open files"); strings.HasSuffix(got, " 200 files") != (files == "few") {
			t.Errorf("limit of files is %s, want %s", got, files)
		}
	}
	strict := h.PodOf("strict")
	look(strict.Start(harness.Say("sleep")), "0000000000000021", "2", "few")
	look(strict.Start(harness.Say("sleep"), harness.Security(func(s *securityContext) {
		s.Capabilities = &runtimeapi.Capability{AddCapabilities: []string{"NET_RAW"}, DropCapabilities: []string{"KILL"}}
		s.Seccomp = &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_Unconfined}
	})), "0000000000002001", "0", "few")
	if got := strict.Status().GetRuntimeHandler(); got != "strict" {
		t.Errorf("status tells handler %q", got)
	}
	look(h.PodOf("none").Start(harness.Say("sleep")), "0000000000000000", "0", "many")
	look(h.Pod().Start(harness.Say("sleep")), "00000000a80425fb", "0", "many")

	_, err = h.RunPodSandbox(h.Ctx, &runtimeapi.RunPodSandboxRequest{Config: h.PodConfig(), RuntimeHandler: "nosuch"})
	h.WantCode(err, codes.InvalidArgument, "runtime_handler", "nosuch")
	_, err = h.PullImage(h.Ctx, &runtimeapi.PullImageRequest{Image: &runtimeapi.ImageSpec{Image: harness.Probe, RuntimeHandler: "nosuch"}})
	h.WantCode(err, codes.InvalidArgument, "image.runtime_handler", "nosuch")
}

// limitLine is the values of a line of /proc/PID/limits.
func limitLine(text, name string) string {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			return strings.Join(strings.Fields(rest), " ")
		}
	}
	return ""
}

// TestHandlerCgroups has a container make a group below its own, and looks where
// that lies; all of it goes with the pod.
func TestHandlerCgroups(t *testing.T) {
	h := suite.Test(t)
	pod := h.PodOf("groups")
	c := pod.Start(harness.Say("sleep"))
	dir := "/sys/fs/cgroup"
	if _, err := os.Stat(dir + "/cgroup.controllers"); err != nil {
		dir += "/pids"
	}
	c.Exec("mkdir " + dir + "/mine")
	own := dir + h.Node.CgroupParent + "/grouped/" + pod.ID + "/" + c.ID
	if _, err := os.Stat(own + "/mine"); err != nil {
		t.Errorf("the container's group: %v", err)
	}
	refused(t, h.Pod().Start(harness.Say("sleep")), "mkdir "+dir+"/mine", "read-only file system")
}

// TestHandlerLayerFormat pulls an image for a handler with a format of its own.
func TestHandlerLayerFormat(t *testing.T) {
	h := suite.Test(t)
	image, err := testimage.Probe(v1.Config{}, testimage.File{Name: "etc/other", Body: "in the other format"})
	h.Must(err)
	h.Must(h.Registry.Push("other:1", image))
	spec := &runtimeapi.ImageSpec{Image: "registry.test/other:1", RuntimeHandler: "overlay"}
	_, err = h.PullImage(h.Ctx, &runtimeapi.PullImageRequest{Image: spec})
	h.Must(err)
	t.Cleanup(func() {
		h.Drain(h.Ctx) //nolint:errcheck // the test's own cleanup says it
		if _, err := h.RemoveImage(h.Ctx, &runtimeapi.RemoveImageRequest{Image: spec}); err != nil {
			t.Error(err)
		}
	})
	answer, err := h.ImageStatus(h.Ctx, &runtimeapi.ImageStatusRequest{Image: spec, Verbose: true})
	h.Must(err)
	if info := answer.GetInfo()["info"]; !strings.Contains(info, `"format":"overlay"`) {
		t.Errorf("the image: %s", info)
	}
	if got := h.PodOf("overlay").Output(harness.Image(spec.Image), harness.Say("cat /etc/other")); got != "in the other format" {
		t.Errorf("got %q", got)
	}
}
