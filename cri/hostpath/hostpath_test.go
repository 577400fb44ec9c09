package hostpath

import (
	"context"
	"errors"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/fault"
	"github.com/varve-cri/varve/cri/plan"
)

func TestCheck(t *testing.T) {
	c := &Checker{Limit: 10 * time.Second}
	dir := t.TempDir()
	if err := c.Check(t.Context(), []plan.Source{{Field: "mounts[0].host_path", Path: dir}}); err != nil {
		t.Error(err)
	}
	var bad *fault.InvalidError
	err := c.Check(t.Context(), []plan.Source{{Field: "mounts[0].host_path", Path: dir}, {Field: "mounts[1].host_path", Path: dir + "/none"}})
	if !errors.As(err, &bad) || bad.Field != "mounts[1].host_path" {
		t.Errorf("a path that is not there: %v", err)
	}
	err = c.Check(t.Context(), []plan.Source{{Field: "mounts[0].host_path", Path: "/proc/self", Propagation: runtimeapi.MountPropagation_PROPAGATION_BIDIRECTIONAL}})
	if err != nil && !errors.As(err, &bad) { // as the machine's /proc is mounted
		t.Errorf("propagation: %v", err)
	}
}

func TestLimits(t *testing.T) {
	c := &Checker{} // no time at all: no path answers within it
	list := []plan.Source{{Field: "mounts[0].host_path", Path: t.TempDir()}}
	if err := c.Check(t.Context(), list); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("no time: %v", err)
	}
	c = &Checker{Limit: time.Second}
	c.probes.Store(maxProbes)
	if code, _ := fault.Code(c.Check(t.Context(), list)); code != codes.ResourceExhausted {
		t.Errorf("with %d looks that hang: %v", maxProbes, code)
	}
	if c.probes.Load() != maxProbes {
		t.Errorf("%d looks are counted", c.probes.Load())
	}
}
