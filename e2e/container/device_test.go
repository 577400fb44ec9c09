package container

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/e2e/harness"
)

// specification puts a CDI specification where the node looks for them.
func specification(h *harness.Test, name, text string) (path string) {
	h.T.Helper()
	dir := filepath.Join(h.Dir, "cdi")
	h.Must(os.MkdirAll(dir, 0o755))
	path = filepath.Join(dir, name)
	h.Must(os.WriteFile(path, []byte(text), 0o644))
	h.T.Cleanup(func() { os.Remove(path) })
	return path
}

func cdi(names ...string) harness.Change {
	return func(c *runtimeapi.ContainerConfig) {
		for _, n := range names {
			c.CDIDevices = append(c.CDIDevices, &runtimeapi.CDIDevice{Name: n})
		}
	}
}

// TestCDI has a vendor with two devices; what they do is kept when their
// specification is taken away and the daemon killed.
func TestCDI(t *testing.T) {
	h := suite.Test(t)
	dir := volume(t)
	path := specification(h, "vendor.yaml", `
cdiVersion: "0.7.0"
kind: vendor.test/gpu
containerEdits:
  env: ["GPU_ALL=1"]
  mounts: [{hostPath: "`+dir+`", containerPath: /opt/gpu, options: [ro, nosuid, nodev, rbind, rprivate]}]
devices:
- name: "0"
  containerEdits:
    env: ["GPU=zero"]
    additionalGids: [4444]
    deviceNodes:
    - {path: /dev/gpu/log, hostPath: /dev/kmsg, permissions: r}
    - {path: /dev/gpu/full, type: c, major: 1, minor: 7, fileMode: 432, uid: 7, gid: 8}
    mounts: [{hostPath: tmpfs, containerPath: /run/gpu, type: tmpfs, options: [size=1m, nosuid, nodev]}]
- name: "1"
  containerEdits: {env: ["GPU=one"]}
`)
	pod := h.Pod()
	user := harness.Security(func(s *securityContext) { s.RunAsUser = number(1234) })
	mayRead := harness.Security(syslog)
	c := pod.Start(harness.Say("sleep"), cdi("vendor.test/gpu=1", "vendor.test/gpu=0"), user, mayRead, func(c *runtimeapi.ContainerConfig) {
		c.Envs = []*runtimeapi.KeyValue{{Key: "GPU", Value: []byte("none")}}
	})
	late := pod.Create(harness.Say("sleep"), cdi("vendor.test/gpu=0"))
	look := func() {
		t.Helper()
		got := c.Exec("env GPU + env GPU_ALL + cat /opt/gpu/note + stat /dev/gpu/log /dev/gpu/full + id")
		want := "zero\n1\nfrom the host\n20644 1234:1235 1:11 0 /dev/gpu/log\n20660 7:8 1:7 0 /dev/gpu/full\n" +
			"uid=1234 euid=1234 gid=1235 egid=1235 groups=[1235 2000 4444]\n"
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		c.Exec("openfor r /dev/gpu/log")
		refused(t, c, "openfor w /dev/gpu/log", "operation not permitted") // the device cgroup, not the mode
		refused(t, c, "write /opt/gpu/note x", "read-only file system")
	}
	look()
	for _, want := range []string{" /run/gpu rw,nosuid,nodev", " /opt/gpu ro,nosuid,nodev"} {
		if table := c.Exec("cat /proc/self/mountinfo"); !strings.Contains(table, want) {
			t.Errorf("no mount%s in\n%s", want, table)
		}
	}
	if groups := c.Status().GetUser().GetLinux().GetSupplementalGroups(); len(groups) != 3 || groups[2] != 4444 {
		t.Errorf("status tells groups %v", groups)
	}
	h.Must(os.Remove(path))
	h.Kill(t)
	h.Restart(t)
	look()
	h.Must(late.TryStart())
	if got := late.Exec("env GPU"); got != "zero\n" {
		t.Errorf("started after the specification went: %s", got)
	}
	_, err := pod.TryCreate(cdi("vendor.test/gpu=0"))
	h.WantCode(err, codes.InvalidArgument, "config.CDI_devices[0].name", "vendor.test/gpu=0 is not a device of this node", h.Dir+"/cdi")
}

func TestCDIRefused(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod()
	specification(h, "odd.yaml", `
cdiVersion: "1.1.0"
kind: vendor.test/odd
devices:
- name: hook
  containerEdits: {hooks: [{hookName: createContainer, path: /usr/bin/hook}]}
- name: node
  containerEdits: {deviceNodes: [{path: /dev/no-such-device}]}
- name: mount
  containerEdits: {mounts: [{hostPath: /no/such/library, containerPath: /lib/x, options: [bind]}]}
- name: proc
  containerEdits: {mounts: [{hostPath: /etc, containerPath: /proc/sys, options: [bind]}]}
- name: net
  containerEdits: {netDevices: [{hostInterfaceName: eth9, name: net0}]}
`)
	specification(h, "broken.json", `{"cdiVersion":"0.7.0","kind":"vendor.test/odd","speed":9}`)
	for name, tc := range map[string]struct {
		code  codes.Code
		words string
	}{
		"vendor.test/odd=hook":  {codes.Unimplemented, "createContainer hook /usr/bin/hook"},
		"vendor.test/odd=net":   {codes.Unimplemented, "network device eth9"},
		"vendor.test/odd=node":  {codes.InvalidArgument, "/dev/no-such-device"},
		"vendor.test/odd=mount": {codes.InvalidArgument, "/no/such/library"},
		"vendor.test/odd=proc":  {codes.InvalidArgument, "/proc/sys"},
		"vendor.test/odd=none":  {codes.InvalidArgument, "broken.json"},
		"odd":                   {codes.InvalidArgument, "vendor/class=name"},
	} {
		_, err := pod.TryCreate(cdi(name))
		h.WantCode(err, tc.code, tc.words)
	}
}

// syslog is what reading the log of the host's kernel takes. That device every
// kernel has, and no container may use it by default.
func syslog(s *securityContext) {
	s.Capabilities = &runtimeapi.Capability{AddAmbientCapabilities: []string{"SYSLOG"}}
}

// TestDeviceRules opens what the device cgroup allows and what it does not.
func TestDeviceRules(t *testing.T) {
	h := suite.Test(t)
	device := func(access string) harness.Change {
		return func(c *runtimeapi.ContainerConfig) {
			c.Devices = []*runtimeapi.Device{{HostPath: "/dev/kmsg", ContainerPath: "/dev/of-the-host", Permissions: access}}
		}
	}
	pod := h.Pod()
	mayRead := harness.Security(syslog)
	c := pod.Start(harness.Say("sleep"), mayRead, device("r"))
	c.Exec("openfor r /dev/of-the-host")
	refused(t, c, "openfor w /dev/of-the-host", "operation not permitted")
	refused(t, pod.Start(harness.Say("sleep"), mayRead, device("w")), "openfor r /dev/of-the-host", "operation not permitted")
	// A node can be made (CAP_MKNOD is there by default), but not opened.
	c = pod.Start(harness.Say("sleep"), mayRead)
	c.Exec("mknod /tmp/kmsg 1 11")
	refused(t, c, "openfor r /tmp/kmsg", "operation not permitted")
}
