package pod

import (
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestVersionStatusAndRuntimeConfig(t *testing.T) {
	h := suite.Test(t)
	version, err := h.Version(h.Ctx, &runtimeapi.VersionRequest{Version: "v1"})
	h.Must(err)
	if version.GetRuntimeName() != "varve" || version.GetRuntimeApiVersion() != "v1" || version.GetRuntimeVersion() == "" {
		t.Errorf("version: %v", version)
	}
	status, err := h.Status(h.Ctx, &runtimeapi.StatusRequest{Verbose: true})
	h.Must(err)
	conditions := map[string]bool{}
	for _, c := range status.GetStatus().GetConditions() {
		conditions[c.GetType()] = c.GetStatus()
	}
	if !conditions["RuntimeReady"] || !conditions["NetworkReady"] {
		t.Errorf("conditions: %v", status.GetStatus().GetConditions())
	}
	defaultHandler := false
	for _, handler := range status.GetRuntimeHandlers() {
		if handler.GetName() == "" {
			defaultHandler = handler.GetFeatures().GetRecursiveReadOnlyMounts()
		}
	}
	if !defaultHandler {
		t.Errorf("no handler named \"\" that has recursive read-only mounts: %v", status.GetRuntimeHandlers())
	}
	if !status.GetFeatures().GetSupplementalGroupsPolicy() {
		t.Errorf("features: %v", status.GetFeatures())
	}
	if len(status.GetInfo()) == 0 {
		t.Error("verbose status has no info")
	}
	config, err := h.RuntimeConfig(h.Ctx, &runtimeapi.RuntimeConfigRequest{})
	h.Must(err)
	if config.GetLinux().GetCgroupDriver() != runtimeapi.CgroupDriver_CGROUPFS {
		t.Errorf("cgroup driver: %v", config)
	}
}
