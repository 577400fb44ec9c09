package cdi

import (
	"fmt"
	"strings"
	"sync"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"tags.cncf.io/container-device-interface/pkg/cdi"
	"tags.cncf.io/container-device-interface/pkg/parser"

	"github.com/varve-cri/varve/cri/fault"
	"github.com/varve-cri/varve/cri/record"
)

// Registry is the devices of some directories. A device of a later directory
// hides the same one of an earlier.
type Registry struct {
	dirs []string

	mu    sync.Mutex
	files map[string]*file // by path, as read last
}

// New returns the registry of directories, which need not be there.
func New(dirs []string) *Registry {
	return &Registry{dirs: dirs, files: map[string]*file{}}
}

// Resolve gives what the devices of a request do to its container, in order: of
// each specification, first what all its devices have in common. The error is a
// *fault.InvalidError that names the field.
func (r *Registry) Resolve(devices []*runtimeapi.CDIDevice) ([]record.Edits, error) {
	if len(devices) == 0 {
		return nil, nil
	}
	found, bad := r.scan()
	var out []record.Edits
	common := map[*cdi.Spec]bool{}
	seen := map[string]bool{}
	for i, d := range devices {
		name := d.GetName()
		field := fmt.Sprintf("config.CDI_devices[%d].name", i)
		if _, _, _, err := parser.ParseQualifiedName(name); err != nil {
			return nil, &fault.InvalidError{Field: field, Problem: fmt.Sprintf("%.256q is not vendor/class=name: %v", name, err)}
		}
		if seen[name] {
			continue
		}
		seen[name] = true
		device, err := find(name, found)
		if err != nil {
			return nil, &fault.InvalidError{Field: field, Problem: r.explain(err, bad)}
		}
		spec := device.GetSpec()
		if !common[spec] {
			common[spec] = true
			out = append(out, record.Edits{From: spec.Kind, ContainerEdits: spec.ContainerEdits})
		}
		out = append(out, record.Edits{From: name, ContainerEdits: device.ContainerEdits})
	}
	return out, nil
}

// find looks for the device in the specifications, the last directory's first.
func find(name string, specs []*cdi.Spec) (*cdi.Device, error) {
	vendor, class, device := parser.ParseDevice(name)
	var best *cdi.Device
	for _, s := range specs {
		if s.GetVendor() != vendor || s.GetClass() != class {
			continue
		}
		d := s.GetDevice(device)
		switch {
		case d == nil || best != nil && best.GetSpec().GetPriority() > s.GetPriority():
		case best != nil && best.GetSpec().GetPriority() == s.GetPriority():
			return nil, fmt.Errorf("%s is in %s and in %s", name, best.GetSpec().GetPath(), s.GetPath())
		default:
			best = d
		}
	}
	if best == nil {
		return nil, fmt.Errorf("%s is not a device of this node", name)
	}
	return best, nil
}

// explain adds where was looked, and what of it could not be read.
func (r *Registry) explain(err error, bad []error) string {
	text := err.Error() + "; its CDI specifications are in " + strings.Join(r.dirs, ", ")
	if len(bad) > 0 {
		text += fmt.Sprintf("; %d cannot be used, the first: %v", len(bad), bad[0])
	}
	return text
}
