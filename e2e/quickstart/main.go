// Command quickstart shows a running varve with one pod: it pulls an image,
// starts a server and a client container in one pod, prints what they wrote
// and what an exec in one of them says, and leaves the pod running.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/e2e/criclient"
)

func main() {
	socket := flag.String("socket", "/run/varve/varve.sock", "socket of varved")
	image := flag.String("image", "", "image to run; its program is e2e/probe")
	logs := flag.String("logs", "/run/varve-quickstart/logs", "directory of the pod's logs")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := show(ctx, *socket, *image, *logs); err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

func show(ctx context.Context, socket, image, logs string) error {
	client, err := criclient.Dial(socket)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := client.WaitReady(ctx); err != nil {
		return err
	}
	d := demo{Client: client, image: image, logs: logs}
	for _, step := range []func(context.Context) error{d.pull, d.pod, d.containers, d.output, d.exec} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// demo is the pod as it grows from step to step.
type demo struct {
	*criclient.Client
	image, logs string
	podID       string
	podConfig   *runtimeapi.PodSandboxConfig
	ids         []string // containers
	logFiles    []string
}

func (d *demo) pull(ctx context.Context) error {
	start := time.Now()
	answer, err := d.PullImage(ctx, &runtimeapi.PullImageRequest{Image: &runtimeapi.ImageSpec{Image: d.image}})
	if err != nil {
		return err
	}
	fmt.Printf("pulled     %s\n           %s in %s\n", d.image, answer.GetImageRef(), since(start))
	return nil
}

func (d *demo) pod(ctx context.Context) error {
	// A name of its own for each run, so that the quick start can run again
	// beside the pod that it left.
	attempt := uint32(time.Now().Unix())
	d.podConfig = &runtimeapi.PodSandboxConfig{
		Metadata:     &runtimeapi.PodSandboxMetadata{Name: "hello", Namespace: "default", Uid: fmt.Sprint("hello-", attempt), Attempt: 0},
		Hostname:     "hello",
		LogDirectory: filepath.Join(d.logs, fmt.Sprint("hello-", attempt)),
		Linux:        &runtimeapi.LinuxPodSandboxConfig{},
	}
	if err := os.MkdirAll(d.podConfig.LogDirectory, 0o700); err != nil {
		return err
	}
	start := time.Now()
	answer, err := d.RunPodSandbox(ctx, &runtimeapi.RunPodSandboxRequest{Config: d.podConfig})
	if err != nil {
		return err
	}
	d.podID = answer.GetPodSandboxId()
	status, err := d.PodSandboxStatus(ctx, &runtimeapi.PodSandboxStatusRequest{PodSandboxId: d.podID})
	if err != nil {
		return err
	}
	fmt.Printf("pod        %.13s address %s, in %s\n", d.podID, status.GetStatus().GetNetwork().GetIp(), since(start))
	return nil
}

func (d *demo) containers(ctx context.Context) error {
	for _, c := range []struct{ name, args string }{
		{"server", "serve 127.0.0.1:8080 hello from the other container of this pod"},
		{"client", "get http://127.0.0.1:8080/ + sleep"},
	} {
		start := time.Now()
		config := &runtimeapi.ContainerConfig{
			Metadata: &runtimeapi.ContainerMetadata{Name: c.name},
			Image:    &runtimeapi.ImageSpec{Image: d.image},
			Args:     strings.Fields(c.args),
			LogPath:  c.name + ".log",
			Linux:    &runtimeapi.LinuxContainerConfig{},
		}
		created, err := d.CreateContainer(ctx, &runtimeapi.CreateContainerRequest{
			PodSandboxId: d.podID, Config: config, SandboxConfig: d.podConfig,
		})
		if err != nil {
			return err
		}
		id := created.GetContainerId()
		if _, err := d.StartContainer(ctx, &runtimeapi.StartContainerRequest{ContainerId: id}); err != nil {
			return err
		}
		d.ids = append(d.ids, id)
		d.logFiles = append(d.logFiles, filepath.Join(d.podConfig.LogDirectory, config.LogPath))
		fmt.Printf("container  %.13s %s, created and started in %s\n", id, c.name, since(start))
	}
	return nil
}

// output prints the containers' logs once the client has its answer.
func (d *demo) output(ctx context.Context) error {
	for {
		said, err := os.ReadFile(d.logFiles[1])
		if err == nil && len(said) > 0 {
			break
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for output in %s: %w", d.logFiles[1], ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
	for _, name := range d.logFiles {
		said, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		fmt.Printf("log        %s\n%s", name, indent(string(said)))
	}
	return nil
}

func (d *demo) exec(ctx context.Context) error {
	command := []string{"/bin/probe", "hostname", "+", "id", "+", "pids"}
	start := time.Now()
	answer, err := d.ExecSync(ctx, &runtimeapi.ExecSyncRequest{ContainerId: d.ids[1], Cmd: command, Timeout: 10})
	if err != nil {
		return err
	}
	fmt.Printf("exec       %s: exit code %d in %s\n%s", strings.Join(command, " "), answer.GetExitCode(), since(start),
		indent(string(answer.GetStdout())+string(answer.GetStderr())))
	return nil
}

func since(start time.Time) time.Duration { return time.Since(start).Round(100 * time.Microsecond) }

func indent(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString("           " + line)
	}
	return b.String()
}
