package lifecycle

import (
	"fmt"
	"sync"
	"testing"

	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/e2e/harness"
)

// asking is the configuration of a pod that asks for ports of the host.
func asking(h *harness.Test, name string, list ...*runtimeapi.PortMapping) *runtimeapi.PodSandboxConfig {
	return h.PodConfig(harness.OwnNetwork, func(c *runtimeapi.PodSandboxConfig) {
		c.Metadata.Name, c.PortMappings = name, list
	})
}

// Two pods cannot have one port of the host: the second hears whose it is, and
// gets it when that one is stopped.
func TestHostPortOfAnotherPod(t *testing.T) {
	h := suite.Test(t)
	port, other := free(h), free(h)
	first := ports(h, &runtimeapi.PortMapping{ContainerPort: 80, HostPort: port})
	first.Start(harness.Say("serve :80 first"))
	run := func(c *runtimeapi.PodSandboxConfig) (string, error) {
		answer, err := h.RunPodSandbox(h.Ctx, &runtimeapi.RunPodSandboxRequest{Config: c})
		return answer.GetPodSandboxId(), err
	}
	want := fmt.Sprintf("host port %d/tcp on 127.0.0.1 is that of pod e2e/%s (%s) on all addresses", port, first.Config.Metadata.Name, first.ID)
	second := asking(h, "second", &runtimeapi.PortMapping{ContainerPort: 81, HostPort: other}, &runtimeapi.PortMapping{ContainerPort: 80, HostPort: port, HostIp: "127.0.0.1"})
	_, err := run(second)
	h.WantCode(err, codes.FailedPrecondition, "RunPodSandbox e2e/second: network: ", want)
	h.Kill(t)
	h.Restart(t)
	_, err = run(second)
	h.WantCode(err, codes.FailedPrecondition, want)
	answer, err := h.ListPodSandbox(h.Ctx, &runtimeapi.ListPodSandboxRequest{})
	h.Must(err)
	if n := len(answer.GetItems()); n != 1 {
		t.Errorf("%d pods are there, with the one that was refused", n)
	}
	getSoon(h, fmt.Sprintf("http://127.0.0.1:%d/", port), "first\n")

	// Another protocol is another port, and a pod on the host's network maps none.
	_, err = run(asking(h, "udp", &runtimeapi.PortMapping{ContainerPort: 80, HostPort: port, Protocol: runtimeapi.Protocol_UDP}))
	h.Must(err)
	onHost := h.PodConfig(func(c *runtimeapi.PodSandboxConfig) { c.PortMappings = first.Config.PortMappings })
	onHost.Metadata.Name = "host"
	_, err = run(onHost)
	h.Must(err)

	first.Stop() // and stays, as the kubelet has it
	pod := h.Pod(harness.OwnNetwork, func(c *runtimeapi.PodSandboxConfig) {
		c.Metadata, c.PortMappings = second.Metadata, second.PortMappings
	})
	pod.Start(harness.Say("serve :80 second"))
	getSoon(h, fmt.Sprintf("http://127.0.0.1:%d/", port), "second\n")
	// The same pod's next attempt, as the kubelet restarts it.
	pod.Stop()
	second.Metadata.Attempt++
	_, err = run(second)
	h.Must(err)
}

// Of many pods that ask for one port at once, one gets it.
func TestHostPortAtOnce(t *testing.T) {
	h := suite.Test(t)
	port := free(h)
	errs := make([]error, 6)
	var wg sync.WaitGroup
	for i := range errs {
		config := asking(h, fmt.Sprint("pod", i), &runtimeapi.PortMapping{ContainerPort: 80, HostPort: port})
		wg.Go(func() {
			_, errs[i] = h.RunPodSandbox(h.Ctx, &runtimeapi.RunPodSandboxRequest{Config: config})
		})
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
			continue
		}
		h.WantCode(err, codes.FailedPrecondition, fmt.Sprintf("host port %d/tcp on all addresses is that of pod e2e/pod", port))
	}
	if won != 1 {
		t.Errorf("%d pods have one port", won)
	}
}
