package cgroup

import (
	"errors"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Below a group with processes there are no controllers. The groups there take
// processes all the same, and a limit says what is wrong.
func TestParentWithProcesses(t *testing.T) {
	g, err := Create(name(t), nil)
	must(t, err)
	join(t, g, nil)
	below, err := Create(g.Path()+"/ctr", &specs.LinuxResources{})
	must(t, err)
	join(t, below, nil)
	_, err = Create(g.Path()+"/limited", &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: ptr(int64(9))}})
	if Detect() != V2 {
		must(t, err)
		return
	}
	if !errors.Is(err, ErrNoController) || !strings.Contains(err.Error(), g.Path()+" has processes of its own") {
		t.Errorf("a limit: %v", err)
	}
}
