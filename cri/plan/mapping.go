package plan

import (
	"github.com/opencontainers/runtime-spec/specs-go"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/fault"
	"github.com/varve-cri/varve/runtime/idmap"
)

// mountMappings reads the owners that a mount's files are to have. The kernel
// needs them for users and for groups.
func mountMappings(field string, m *runtimeapi.Mount) (uids, gids []specs.LinuxIDMapping, err error) {
	if len(m.UidMappings) == 0 && len(m.GidMappings) == 0 {
		return nil, nil, nil
	}
	if uids, err = mappings(field+"uidMappings", m.UidMappings); err != nil {
		return nil, nil, err
	}
	gids, err = mappings(field+"gidMappings", m.GidMappings)
	return uids, gids, err
}

// mappings turns the CRI's form of a mapping into the spec's.
func mappings(field string, list []*runtimeapi.IDMapping) ([]specs.LinuxIDMapping, error) {
	out := make([]specs.LinuxIDMapping, len(list))
	for i, m := range list {
		out[i] = specs.LinuxIDMapping{ContainerID: m.GetContainerId(), HostID: m.GetHostId(), Size: m.GetLength()}
	}
	if err := idmap.Check(ranges(out)); err != nil {
		return nil, fault.Invalid(field, "%v", err)
	}
	return out, nil
}

// ranges turns the spec's form of a mapping into the runtime's.
func ranges(list []specs.LinuxIDMapping) []idmap.Range {
	if len(list) == 0 {
		return nil
	}
	out := make([]idmap.Range, len(list))
	for i, m := range list {
		out[i] = idmap.Range{Inside: m.ContainerID, Outside: m.HostID, Length: m.Size}
	}
	return out
}
