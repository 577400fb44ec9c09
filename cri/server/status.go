package server

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// RuntimeName is what Version and the node's status show.
const RuntimeName = "varve"

// Version says who we are.
func (s *Server) Version(context.Context, *runtimeapi.VersionRequest) (*runtimeapi.VersionResponse, error) {
	return &runtimeapi.VersionResponse{
		Version:     "0.1.0", // of the kubelet's side of this very message, by long custom
		RuntimeName: RuntimeName, RuntimeVersion: s.version, RuntimeApiVersion: "v1",
	}, nil
}

// Status says whether pods can be run, and what the runtime can do.
func (s *Server) Status(_ context.Context, req *runtimeapi.StatusRequest) (*runtimeapi.StatusResponse, error) {
	net := &runtimeapi.RuntimeCondition{Type: runtimeapi.NetworkReady, Status: true}
	if err := s.net.Ready(); err != nil {
		net.Status, net.Reason, net.Message = false, "NetworkPluginNotReady", err.Error()
	}
	resp := &runtimeapi.StatusResponse{
		Status: &runtimeapi.RuntimeStatus{Conditions: []*runtimeapi.RuntimeCondition{
			{Type: runtimeapi.RuntimeReady, Status: true}, net,
		}},
		Features: &runtimeapi.RuntimeFeatures{SupplementalGroupsPolicy: true, MountOptions: true},
	}
	userns := s.userns.check()
	resp.Features.UserNamespacesHostNetwork = userns == nil
	for _, name := range s.conf().HandlerNames() {
		resp.RuntimeHandlers = append(resp.RuntimeHandlers, &runtimeapi.RuntimeHandler{
			Name: name, Features: &runtimeapi.RuntimeHandlerFeatures{RecursiveReadOnlyMounts: s.facts().RecursiveRO, UserNamespaces: userns == nil},
		})
	}
	if !req.GetVerbose() {
		return resp, nil
	}
	var err error
	resp.Info, err = verbose(map[string]any{
		"config":  s.conf(),
		"version": map[string]string{"varved": s.version, "go": runtime.Version(), "cri": "v1"},
		"network": s.net.Describe(),
		"images":  s.images.Format(),
		"node":    map[string]any{"running": s.live(), "uptime": time.Since(s.begun).Round(time.Second).String()},
	})
	return resp, err
}

// live is the operations of this moment and the step each is in.
func (s *Server) live() []string {
	out := []string{} // not nil: JSON has a word for that as well
	for _, l := range s.steps.Live() {
		out = append(out, fmt.Sprintf("%s (%s): %s", l.Op, l.ID, l))
	}
	return out
}

// verbose makes an info map: each value as a JSON object.
func verbose(parts map[string]any) (map[string]string, error) {
	out := make(map[string]string, len(parts))
	for k, v := range parts {
		b, err := json.Marshal(v)
		if err != nil {
			return nil, fmt.Errorf("info %s: %w", k, err)
		}
		out[k] = string(b)
	}
	return out, nil
}

// RuntimeConfig tells the kubelet the cgroup driver.
func (s *Server) RuntimeConfig(context.Context, *runtimeapi.RuntimeConfigRequest) (*runtimeapi.RuntimeConfigResponse, error) {
	driver := runtimeapi.CgroupDriver_CGROUPFS
	if s.cfg.Cgroup.Driver == "systemd" {
		driver = runtimeapi.CgroupDriver_SYSTEMD
	}
	return &runtimeapi.RuntimeConfigResponse{Linux: &runtimeapi.LinuxRuntimeConfiguration{CgroupDriver: driver}}, nil
}

// UpdateRuntimeConfig notes the node's pod address range for the plugins that
// want it.
func (s *Server) UpdateRuntimeConfig(_ context.Context, req *runtimeapi.UpdateRuntimeConfigRequest) (*runtimeapi.UpdateRuntimeConfigResponse, error) {
	cidr := req.GetRuntimeConfig().GetNetworkConfig().GetPodCidr()
	if cidr == "" {
		return &runtimeapi.UpdateRuntimeConfigResponse{}, nil
	}
	if err := s.net.SetPodCIDR(cidr); err != nil {
		return nil, invalid("runtime_config.network_config.pod_cidr", "%v", err)
	}
	return &runtimeapi.UpdateRuntimeConfigResponse{}, nil
}
