package observe

import (
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/e2e/harness"
	"github.com/varve-cri/varve/e2e/testimage"
)

func TestMetricsOfALife(t *testing.T) {
	h := suite.Test(t)
	// Another test may have started the daemon anew, which then has counted no pull.
	pulled := &runtimeapi.ImageSpec{Image: h.Image("counted", v1.Config{}, testimage.File{Name: "counted"})}
	_, err := h.RemoveImage(h.Ctx, &runtimeapi.RemoveImageRequest{Image: pulled})
	h.Must(err)
	pod := h.Pod(harness.OwnNetwork, harness.SharedPID)
	pod.Start(harness.Say("sleep"))
	pod.Create(harness.Say("sleep"))
	pod.Start(harness.Say("exit 0")).WaitExit()
	var text string
	wanted := []string{
		`varve_pods{state="ready"} 1`, `varve_containers{state="running"} 1`, `varve_containers{state="created"} 1`, `varve_containers{state="exited"} 1`,
		"varve_shims 2", `varve_rpc_requests_total{code="OK",method="CreateContainer"} `, `varve_step_duration_seconds_count{operation="RunPodSandbox",step="network"} `,
		`varve_pulls_total{result="done"} `, "varve_images 1", "go_goroutines ", "process_open_fds ",
	}
	// The exit is told before its shim has gone.
	var lacks string
	defer func() {
		if lacks != "" {
			t.Errorf("lacks %s", lacks)
		}
	}()
	harness.Eventually(t, "the metrics tell of all", func() bool {
		text, lacks = get(t, "/metrics"), ""
		for _, want := range wanted {
			if !strings.Contains(text, want) {
				lacks += " " + want
			}
		}
		return lacks == ""
	})
	// A look is made when somebody asks, and what counts was found twice.
	for range 2 {
		checked := func() string {
			_, after, _ := strings.Cut(get(t, "/metrics"), "\nvarve_leaks_checked_timestamp_seconds ")
			at, _, _ := strings.Cut(after, "\n")
			return at
		}
		before := checked()
		harness.Eventually(t, "another look for leaks", func() bool {
			time.Sleep(200 * time.Millisecond) // a scrape is no small thing
			at := checked()
			return at != "" && at != before
		})
	}
	text = get(t, "/metrics")
	for _, kind := range []string{"cgroup", "layer", "mount", "namespace", "shim", "state"} {
		if !strings.Contains(text, `varve_leaks{kind="`+kind+`"} 0`) {
			t.Errorf("leaks of kind %s:\n%s", kind, text)
		}
	}
}

func TestProfiles(t *testing.T) {
	suite.Test(t)
	if got := get(t, "/debug/pprof/goroutine?debug=1"); !strings.Contains(got, "goroutine profile: total ") || !strings.Contains(got, "google.golang.org/grpc") {
		t.Errorf("got %.300s", got)
	}
}
