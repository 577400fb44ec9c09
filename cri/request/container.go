package request

import (
	"fmt"
	"strings"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// container checks the configuration of a container.
func container(c *runtimeapi.ContainerConfig) error {
	if c == nil {
		return nil // whether it may be missing is the handler's to say
	}
	const security = "config.linux.security_context."
	sc := c.GetLinux().GetSecurityContext()
	if err := firstOf(
		name("config.metadata.name", c.GetMetadata().GetName()),
		command("config.command", c.GetCommand()),
		command("config.args", c.GetArgs()),
		environment(c.GetEnvs()),
		madePath("config.log_path", c.GetLogPath()),
		pathText("config.working_dir", c.GetWorkingDir()),
		numbers("config.linux.resources", c.GetLinux().GetResources()),
		groups(security+"supplemental_groups", sc.GetSupplementalGroups()),
		selinux(security+"selinux_options", sc.GetSelinuxOptions()),
		paths(security+"masked_paths", sc.GetMaskedPaths()),
		paths(security+"readonly_paths", sc.GetReadonlyPaths()),
		namespaces(security+"namespace_options.", sc.GetNamespaceOptions()),
	); err != nil {
		return err
	}
	return sources(c)
}

func paths(field string, list []string) error {
	for i, p := range list {
		if err := pathText("", p); err != nil {
			return under(fmt.Sprintf("%s[%d]", field, i), err)
		}
	}
	return nil
}

// sources checks the paths of mounts and devices.
func sources(c *runtimeapi.ContainerConfig) error {
	for i, m := range c.GetMounts() {
		if err := firstOf(pathText("container_path", m.GetContainerPath()), pathText("host_path", m.GetHostPath())); err != nil {
			return under(fmt.Sprintf("config.mounts[%d]", i), err)
		}
	}
	for i, d := range c.GetDevices() {
		if err := firstOf(pathText("container_path", d.GetContainerPath()), pathText("host_path", d.GetHostPath())); err != nil {
			return under(fmt.Sprintf("config.devices[%d]", i), err)
		}
	}
	return nil
}

// environment: a variable is one string to the kernel, "name=value". A value may
// hold any byte but NUL; a line break in a name is what no program means.
func environment(list []*runtimeapi.KeyValue) error {
	for i, kv := range list {
		if strings.ContainsFunc(kv.GetKey(), unprintable) {
			return invalid(fmt.Sprintf("config.envs[%d].key", i), "%.60q holds a character that no name has", kv.GetKey())
		}
		part := "value"
		if len(kv.GetKey()) > len(kv.GetValue()) {
			part = "key"
		}
		if n := len(kv.GetKey()) + 1 + len(kv.GetValue()); n > maxArgument {
			return invalid(fmt.Sprintf("config.envs[%d].%s", i, part), "makes a variable of %d bytes, none is longer than %d", n, maxArgument)
		}
	}
	return nil
}

// namespaces refuses modes that only processes have.
func namespaces(field string, o *runtimeapi.NamespaceOption) error {
	for _, n := range []struct {
		name string
		mode runtimeapi.NamespaceMode
	}{{"network", o.GetNetwork()}, {"ipc", o.GetIpc()}} {
		if n.mode != runtimeapi.NamespaceMode_POD && n.mode != runtimeapi.NamespaceMode_NODE {
			return invalid(field+n.name, "%s is neither POD nor NODE", n.mode)
		}
	}
	return nil
}
