package harness

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Pod is a pod of a test.
type Pod struct {
	h      *Test
	ID     string
	Config *runtimeapi.PodSandboxConfig
}

// PodChange alters a pod's configuration before it runs.
type PodChange func(*runtimeapi.PodSandboxConfig)

// PodConfig is a pod on the host's network, which is the quickest, with names
// of its own.
func (h *Test) PodConfig(changes ...PodChange) *runtimeapi.PodSandboxConfig {
	logs := filepath.Join(h.T.TempDir(), "logs")
	if err := os.MkdirAll(logs, 0o700); err != nil {
		h.T.Fatal(err)
	}
	config := &runtimeapi.PodSandboxConfig{
		Metadata: &runtimeapi.PodSandboxMetadata{
			Name: strings.ToLower(filepath.Base(h.T.Name())), Namespace: "e2e", Uid: rand.Text(),
		},
		LogDirectory: logs,
		Labels:       map[string]string{"test": "e2e"},
		Linux: &runtimeapi.LinuxPodSandboxConfig{
			SecurityContext: &runtimeapi.LinuxSandboxSecurityContext{
				NamespaceOptions: &runtimeapi.NamespaceOption{
					Network: runtimeapi.NamespaceMode_NODE, Pid: runtimeapi.NamespaceMode_CONTAINER,
				},
			},
		},
	}
	for _, change := range changes {
		change(config)
	}
	return config
}

// OwnNetwork gives the pod a network namespace and a CNI address.
func OwnNetwork(c *runtimeapi.PodSandboxConfig) {
	c.Linux.SecurityContext.NamespaceOptions.Network = runtimeapi.NamespaceMode_POD
	c.Hostname = c.Metadata.Name
}

// SharedPID makes the pod's containers share one PID namespace.
func SharedPID(c *runtimeapi.PodSandboxConfig) {
	c.Linux.SecurityContext.NamespaceOptions.Pid = runtimeapi.NamespaceMode_POD
}

// Pod runs a pod.
func (h *Test) Pod(changes ...PodChange) *Pod {
	h.T.Helper()
	return h.PodOf("", changes...)
}

// PodOf runs a pod of a runtime handler.
func (h *Test) PodOf(handler string, changes ...PodChange) *Pod {
	h.T.Helper()
	config := h.PodConfig(changes...)
	answer, err := h.RunPodSandbox(h.Ctx, &runtimeapi.RunPodSandboxRequest{Config: config, RuntimeHandler: handler})
	if err != nil {
		h.T.Fatalf("run pod: %v", err)
	}
	return &Pod{h: h, ID: answer.GetPodSandboxId(), Config: config}
}

// For is the same pod in a subtest, which then is the one that fails.
func (p *Pod) For(t *testing.T) *Pod {
	sub := *p
	sub.h = p.h.For(t)
	return &sub
}

// Status is the pod's status.
func (p *Pod) Status() *runtimeapi.PodSandboxStatus {
	p.h.T.Helper()
	answer, err := p.h.PodSandboxStatus(p.h.Ctx, &runtimeapi.PodSandboxStatusRequest{PodSandboxId: p.ID})
	if err != nil {
		p.h.T.Fatalf("status of pod %s: %v", p.ID, err)
	}
	return answer.GetStatus()
}

// Stop stops the pod.
func (p *Pod) Stop() {
	p.h.T.Helper()
	if _, err := p.h.StopPodSandbox(p.h.Ctx, &runtimeapi.StopPodSandboxRequest{PodSandboxId: p.ID}); err != nil {
		p.h.T.Fatalf("stop pod %s: %v", p.ID, err)
	}
}
