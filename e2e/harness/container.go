package harness

import (
	"crypto/rand"
	"path/filepath"
	"strings"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/e2e/node"
)

// Container is a container of a test's pod.
type Container struct {
	h       *Test
	ID      string
	LogFile string
}

// Change alters a container's configuration before it is created.
type Change func(*runtimeapi.ContainerConfig)

// Args runs the image's entrypoint, the probe, with arguments.
func Args(args ...string) Change {
	return func(c *runtimeapi.ContainerConfig) { c.Args = args }
}

// Say is Args of one line, cut at spaces.
func Say(line string) Change { return Args(strings.Fields(line)...) }

// Image runs another image than the Probe.
func Image(ref string) Change {
	return func(c *runtimeapi.ContainerConfig) { c.Image.Image = ref }
}

// Security alters the security context.
func Security(change func(*runtimeapi.LinuxContainerSecurityContext)) Change {
	return func(c *runtimeapi.ContainerConfig) { change(c.Linux.SecurityContext) }
}

// Resources sets the resources.
func Resources(r *runtimeapi.LinuxContainerResources) Change {
	return func(c *runtimeapi.ContainerConfig) { c.Linux.Resources = r }
}

// ContainerConfig is a container of the Probe image whose namespaces follow
// the pod's.
func (p *Pod) ContainerConfig(changes ...Change) *runtimeapi.ContainerConfig {
	name := "c" + strings.ToLower(rand.Text()[:8])
	config := &runtimeapi.ContainerConfig{
		Metadata: &runtimeapi.ContainerMetadata{Name: name},
		Image:    &runtimeapi.ImageSpec{Image: Probe},
		LogPath:  name + ".log",
		Labels:   map[string]string{"container": name},
		Linux: &runtimeapi.LinuxContainerConfig{
			SecurityContext: &runtimeapi.LinuxContainerSecurityContext{
				NamespaceOptions: p.Config.GetLinux().GetSecurityContext().GetNamespaceOptions(),
			},
		},
	}
	for _, change := range changes {
		change(config)
	}
	return config
}

// TryCreate creates a container; the caller looks at the error.
func (p *Pod) TryCreate(changes ...Change) (*Container, error) {
	config := p.ContainerConfig(changes...)
	answer, err := p.h.CreateContainer(p.h.Ctx, &runtimeapi.CreateContainerRequest{
		PodSandboxId: p.ID, Config: config, SandboxConfig: p.Config,
	})
	if err != nil {
		return nil, err
	}
	return &Container{h: p.h, ID: answer.GetContainerId(), LogFile: filepath.Join(p.Config.LogDirectory, config.LogPath)}, nil
}

// Create creates a container.
func (p *Pod) Create(changes ...Change) *Container {
	p.h.T.Helper()
	c, err := p.TryCreate(changes...)
	if err != nil {
		p.h.T.Fatalf("create container: %v", err)
	}
	return c
}

// Start creates and starts a container.
func (p *Pod) Start(changes ...Change) *Container {
	p.h.T.Helper()
	c := p.Create(changes...)
	if err := c.TryStart(); err != nil {
		p.h.T.Fatalf("start container: %v", err)
	}
	return c
}

// Output runs a container to its end, which must be exit code 0, and returns
// what it wrote to stdout.
func (p *Pod) Output(changes ...Change) string {
	p.h.T.Helper()
	c := p.Start(changes...)
	status := c.WaitExit()
	if status.GetExitCode() != 0 {
		p.h.T.Fatalf("exit code %d (%s): %s", status.GetExitCode(), status.GetReason(), c.Log().All())
	}
	return c.Log().Stdout()
}

// TryStart starts the container; the caller looks at the error.
func (c *Container) TryStart() error {
	_, err := c.h.StartContainer(c.h.Ctx, &runtimeapi.StartContainerRequest{ContainerId: c.ID})
	return err
}

// Status is the container's status.
func (c *Container) Status() *runtimeapi.ContainerStatus {
	c.h.T.Helper()
	answer, err := c.h.ContainerStatus(c.h.Ctx, &runtimeapi.ContainerStatusRequest{ContainerId: c.ID})
	if err != nil {
		c.h.T.Fatalf("status of container %s: %v", c.ID, err)
	}
	return answer.GetStatus()
}

// WaitExit waits until the container has exited.
func (c *Container) WaitExit() *runtimeapi.ContainerStatus {
	c.h.T.Helper()
	var status *runtimeapi.ContainerStatus
	Eventually(c.h.T, "container exits", func() bool {
		status = c.Status()
		return status.GetState() == runtimeapi.ContainerState_CONTAINER_EXITED
	})
	return status
}

// WaitLog waits until the container's log holds the words.
func (c *Container) WaitLog(words string) {
	c.h.T.Helper()
	Eventually(c.h.T, "log says "+words, func() bool { return strings.Contains(c.Log().All(), words) })
}

// Stop stops the container with a grace period.
func (c *Container) Stop(grace time.Duration) {
	c.h.T.Helper()
	_, err := c.h.StopContainer(c.h.Ctx, &runtimeapi.StopContainerRequest{ContainerId: c.ID, Timeout: int64(grace / time.Second)})
	if err != nil {
		c.h.T.Fatalf("stop container %s: %v", c.ID, err)
	}
}

// Remove removes the container.
func (c *Container) Remove() {
	c.h.T.Helper()
	if _, err := c.h.RemoveContainer(c.h.Ctx, &runtimeapi.RemoveContainerRequest{ContainerId: c.ID}); err != nil {
		c.h.T.Fatalf("remove container %s: %v", c.ID, err)
	}
}

// TryExec runs the probe in the container.
func (c *Container) TryExec(timeout time.Duration, args ...string) (*runtimeapi.ExecSyncResponse, error) {
	return c.h.ExecSync(c.h.Ctx, &runtimeapi.ExecSyncRequest{
		ContainerId: c.ID, Cmd: append([]string{"/bin/probe"}, args...), Timeout: int64(timeout / time.Second),
	})
}

// Exec runs one line of the probe's commands, which must end with exit code 0,
// and returns its stdout.
func (c *Container) Exec(line string) string {
	c.h.T.Helper()
	answer, err := c.TryExec(node.Patience(time.Minute), strings.Fields(line)...)
	if err != nil {
		c.h.T.Fatalf("exec %s: %v", line, err)
	}
	if answer.GetExitCode() != 0 {
		c.h.T.Fatalf("exec %s: exit code %d: %s", line, answer.GetExitCode(), answer.GetStderr())
	}
	return string(answer.GetStdout())
}
