package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/runtime/cgroup"
)

// network is what a pod is connected to.
type network string

const (
	hostNetwork network = "host network"
	cniNetwork  network = "CNI"
)

var networks = []network{hostNetwork, cniNetwork}

var podNumber atomic.Int64

// pod is one pod with one container, and where its times go.
type pod struct {
	e         *endpoint
	network   network
	config    *runtimeapi.PodSandboxConfig
	id        string
	container string
	attempt   uint32
	silent    bool // its times are not kept
}

// newPod plans a pod. Nothing is done yet.
func (b *bench) newPod(e *endpoint, network network) *pod {
	n := podNumber.Add(1)
	name := fmt.Sprintf("bench-%d-%d", os.Getpid(), n)
	options := &runtimeapi.NamespaceOption{Pid: runtimeapi.NamespaceMode_CONTAINER}
	if network == hostNetwork {
		options.Network = runtimeapi.NamespaceMode_NODE
	}
	logs := filepath.Join(b.logDir(), name)
	os.MkdirAll(logs, 0o700) //nolint:errcheck // as in logDir
	return &pod{e: e, network: network, config: &runtimeapi.PodSandboxConfig{
		Metadata:     &runtimeapi.PodSandboxMetadata{Name: name, Uid: name, Namespace: "bench"},
		Labels:       map[string]string{"bench": "1"},
		LogDirectory: logs,
		Linux: &runtimeapi.LinuxPodSandboxConfig{SecurityContext: &runtimeapi.LinuxSandboxSecurityContext{
			NamespaceOptions: options, Seccomp: runtimeDefault,
		}, CgroupParent: podsGroup() + "/" + name},
	}}
}

// podsGroup is the cgroup of all pods of this run.
func podsGroup() string { return fmt.Sprintf("/varve-bench-%d", os.Getpid()) }

var runtimeDefault = &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_RuntimeDefault}

// timed runs one call and keeps its time as "phase, network".
func (p *pod) timed(phase string, call func() error) error {
	begin := time.Now()
	if err := call(); err != nil {
		return fmt.Errorf("%s through %s (%s): %w", phase, p.e.name, p.network, err)
	}
	p.keep(phase, time.Since(begin))
	return nil
}

func (p *pod) keep(phase string, d time.Duration) {
	if !p.silent {
		p.e.Of(sampleName(phase, p.network)).AddTime(d)
	}
}

func sampleName(phase string, n network) string { return phase + ", " + string(n) }

// up runs the pod and its container; the sum is kept as "pod up". The pod's
// cgroup is there before the clock starts: making it is the kubelet's part.
func (p *pod) up(ctx context.Context) error {
	if _, err := cgroup.Create(p.config.GetLinux().GetCgroupParent(), nil); err != nil {
		return err
	}
	begin := time.Now()
	err := p.timed("RunPodSandbox", func() error {
		answer, err := p.e.client.RunPodSandbox(ctx, &runtimeapi.RunPodSandboxRequest{Config: p.config})
		p.id = answer.GetPodSandboxId()
		return err
	})
	if err != nil {
		return err
	}
	if err := p.startContainer(ctx); err != nil {
		return err
	}
	p.keep("pod up", time.Since(begin))
	return nil
}

// startContainer creates and starts the pod's container.
func (p *pod) startContainer(ctx context.Context) error {
	config := p.containerConfig()
	err := p.timed("CreateContainer", func() error {
		answer, err := p.e.client.CreateContainer(ctx, &runtimeapi.CreateContainerRequest{
			PodSandboxId: p.id, Config: config, SandboxConfig: p.config,
		})
		p.container = answer.GetContainerId()
		return err
	})
	if err != nil {
		return err
	}
	return p.timed("StartContainer", func() error {
		_, err := p.e.client.StartContainer(ctx, &runtimeapi.StartContainerRequest{ContainerId: p.container})
		return err
	})
}

func (p *pod) containerConfig() *runtimeapi.ContainerConfig {
	c := &runtimeapi.ContainerConfig{
		Metadata: &runtimeapi.ContainerMetadata{Name: "main", Attempt: p.attempt},
		Image:    &runtimeapi.ImageSpec{Image: imageName},
		Command:  []string{pauseProgram},
		LogPath:  fmt.Sprintf("main_%d.log", p.attempt),
		Linux: &runtimeapi.LinuxContainerConfig{
			Resources: &runtimeapi.LinuxContainerResources{CpuShares: 102, MemoryLimitInBytes: 128 << 20},
			SecurityContext: &runtimeapi.LinuxContainerSecurityContext{
				NamespaceOptions: p.config.GetLinux().GetSecurityContext().GetNamespaceOptions(),
				Seccomp:          runtimeDefault, NoNewPrivs: true,
				MaskedPaths:   []string{"/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"},
				ReadonlyPaths: []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"},
			},
		},
	}
	p.attempt++
	return c
}

// execTrue runs true in the container.
func (p *pod) execTrue(ctx context.Context) error {
	return p.timed("ExecSync", func() error {
		answer, err := p.e.client.ExecSync(ctx, &runtimeapi.ExecSyncRequest{ContainerId: p.container, Cmd: []string{trueProgram}, Timeout: 30})
		if err == nil && answer.GetExitCode() != 0 {
			err = fmt.Errorf("exit code %d: %s", answer.GetExitCode(), answer.GetStderr())
		}
		return err
	})
}

// look asks for the container's status and stats.
func (p *pod) look(ctx context.Context) error {
	err := p.timed("ContainerStatus", func() error {
		_, err := p.e.client.ContainerStatus(ctx, &runtimeapi.ContainerStatusRequest{ContainerId: p.container})
		return err
	})
	if err != nil {
		return err
	}
	return p.timed("ContainerStats", func() error {
		_, err := p.e.client.ContainerStats(ctx, &runtimeapi.ContainerStatsRequest{ContainerId: p.container})
		return err
	})
}

// stop stops the container without grace and removes it.
func (p *pod) stop(ctx context.Context) error {
	err := p.timed("StopContainer(0)", func() error {
		_, err := p.e.client.StopContainer(ctx, &runtimeapi.StopContainerRequest{ContainerId: p.container})
		return err
	})
	if err != nil {
		return err
	}
	return p.timed("RemoveContainer", func() error {
		_, err := p.e.client.RemoveContainer(ctx, &runtimeapi.RemoveContainerRequest{ContainerId: p.container})
		return err
	})
}

// down takes the pod away with all that runs in it.
func (p *pod) down(ctx context.Context) error {
	begin := time.Now()
	err := p.timed("StopPodSandbox", func() error {
		_, err := p.e.client.StopPodSandbox(ctx, &runtimeapi.StopPodSandboxRequest{PodSandboxId: p.id})
		return err
	})
	if err != nil {
		return err
	}
	err = p.timed("RemovePodSandbox", func() error {
		_, err := p.e.client.RemovePodSandbox(ctx, &runtimeapi.RemovePodSandboxRequest{PodSandboxId: p.id})
		return err
	})
	if err != nil {
		return err
	}
	p.keep("pod down", time.Since(begin))
	return cgroup.Open(p.config.GetLinux().GetCgroupParent()).Remove()
}
