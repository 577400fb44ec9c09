package server

import (
	"fmt"
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// BenchmarkStats is one container's statistics and those of a hundred, over a
// real socket; the status of one for comparison, as the price of the way.
func BenchmarkStats(b *testing.B) {
	n := newNode(b)
	n.pull()
	pc := podConfig(b)
	pod := n.pod(pc)
	var id string
	for i := range 100 {
		id = n.run(pod, pc, containerConfig(pc, fmt.Sprint("c", i), "sleep"))
	}
	ctx := b.Context()
	for name, call := range map[string]func() error{
		"status": func() error {
			_, err := n.ContainerStatus(ctx, &runtimeapi.ContainerStatusRequest{ContainerId: id})
			return err
		},
		"one": func() error {
			_, err := n.ContainerStats(ctx, &runtimeapi.ContainerStatsRequest{ContainerId: id})
			return err
		},
		"list": func() error {
			_, err := n.ListContainerStats(ctx, &runtimeapi.ListContainerStatsRequest{})
			return err
		},
		"pods": func() error {
			_, err := n.ListPodSandboxStats(ctx, &runtimeapi.ListPodSandboxStatsRequest{})
			return err
		},
		"metrics": func() error {
			_, err := n.ListPodSandboxMetrics(ctx, &runtimeapi.ListPodSandboxMetricsRequest{})
			return err
		},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := call(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
