package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path"
	"strconv"
	"strings"
)

// RlimitNames are the limits that can be set, as in RLIMIT_<NAME>.
var RlimitNames = []string{
	"as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice",
	"nofile", "nproc", "rss", "rtprio", "rttime", "sigpending", "stack",
}

// Validate checks a complete configuration. The error names the field.
func (c *Config) Validate() error {
	for _, check := range []func() error{
		c.validatePaths, c.validateNetwork, c.validateImages, c.validateRuntime,
		c.validateLimits, c.validateNumbers, c.validateObservation, c.validateStreaming,
	} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func invalid(field, format string, args ...any) error {
	return fmt.Errorf("%s: %s", field, fmt.Sprintf(format, args...))
}

func (c *Config) validatePaths() error {
	for _, p := range []struct{ field, value string }{
		{"socket", c.Socket}, {"admin.socket", c.Admin.Socket}, {"stateDir", c.StateDir}, {"rootDir", c.RootDir},
		{"cgroup.parent", c.Cgroup.Parent}, {"network.confDir", c.Network.ConfDir},
		{"network.cacheDir", c.Network.CacheDir},
		{"network.defaultNetwork.dataDir", c.Network.DefaultNetwork.DataDir},
	} {
		if err := absolute(p.field, p.value); err != nil {
			return err
		}
	}
	for _, list := range []struct {
		field string
		dirs  []string
	}{
		{"network.binDirs", c.Network.BinDirs}, {"images.registryConfigDirs", c.Images.RegistryConfigDirs},
		{"images.credentialHelperDirs", c.Images.CredentialHelperDirs}, {"cdi.specDirs", c.CDI.SpecDirs},
	} {
		for i, d := range list.dirs {
			if err := absolute(fmt.Sprintf("%s[%d]", list.field, i), d); err != nil {
				return err
			}
		}
	}
	for _, p := range []struct{ field, value string }{
		{"shim.path", c.Shim.Path}, {"images.dockerConfig", c.Images.DockerConfig}, {"seccomp.defaultProfile", c.Seccomp.DefaultProfile},
	} {
		if p.value != "" {
			if err := absolute(p.field, p.value); err != nil {
				return err
			}
		}
	}
	if c.Admin.Socket == c.Socket {
		return invalid("admin.socket", "%s is the CRI's socket", c.Socket)
	}
	if c.StateDir == c.RootDir {
		return invalid("stateDir", "%s is the rootDir too", c.StateDir)
	}
	if c.Cgroup.Driver != "cgroupfs" {
		return invalid("cgroup.driver", "%q is not known, cgroupfs is", c.Cgroup.Driver)
	}
	if c.Cgroup.Parent == "/" {
		return invalid("cgroup.parent", "the root cgroup cannot hold pods")
	}
	return nil
}

// absolute asks for a clean absolute path: it is joined and compared as text.
func absolute(field, p string) error {
	switch {
	case !path.IsAbs(p):
		return invalid(field, "%q is not an absolute path", p)
	case path.Clean(p) != p:
		return invalid(field, "%q is not in its shortest form, %s is", p, path.Clean(p))
	case strings.ContainsAny(p, "\x00\n"):
		return invalid(field, "%q holds a character that no path should", p)
	}
	return nil
}

func (c *Config) validateNetwork() error {
	d := c.Network.DefaultNetwork
	const bridge, subnet = "network.defaultNetwork.bridge", "network.defaultNetwork.subnet"
	if len(d.Bridge) > 15 || strings.ContainsAny(d.Bridge, "/: \t\n%") || d.Bridge == "." || d.Bridge == ".." {
		return invalid(bridge, "%q is not the name of a network interface", d.Bridge)
	}
	prefix, err := netip.ParsePrefix(d.Subnet)
	switch {
	case err != nil:
		return invalid(subnet, "%q is not an address range", d.Subnet)
	case !prefix.Addr().Is4():
		return invalid(subnet, "%s is not an IPv4 range", d.Subnet)
	case prefix.Masked() != prefix:
		return invalid(subnet, "%s has bits set outside its mask, %s has not", d.Subnet, prefix.Masked())
	case prefix.Bits() > 29:
		return invalid(subnet, "%s is too small for pods", d.Subnet)
	}
	if len(c.Network.BinDirs) == 0 {
		return invalid("network.binDirs", "no directory to find plugins in")
	}
	return nil
}

func (c *Config) validateImages() error {
	switch c.Images.Format {
	case FormatAuto, FormatErofs, FormatOverlay:
	default:
		return invalid("images.format", "%q is neither %s, %s nor %s", c.Images.Format, FormatAuto, FormatErofs, FormatOverlay)
	}
	seen := map[string]bool{}
	for i, r := range c.Images.Registries {
		field := fmt.Sprintf("images.registries[%d]", i)
		switch {
		case r.Name == "":
			return invalid(field+".name", "is empty")
		case r.Name != "*" && strings.ContainsAny(r.Name, "/@ \t\n*"):
			return invalid(field+".name", "%q is not a host or host:port", r.Name)
		case seen[r.Name]:
			return invalid(field+".name", "%q has a rule already", r.Name)
		case r.MirrorsOnly && len(r.Mirrors) == 0:
			return invalid(field+".mirrorsOnly", "there are no mirrors")
		}
		seen[r.Name] = true
		for j, m := range r.Mirrors {
			u, err := url.Parse(m.URL)
			if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || u.User != nil || u.RawQuery != "" {
				return invalid(fmt.Sprintf("%s.mirrors[%d].url", field, j), "%q is not http://host or https://host", m.URL)
			}
		}
	}
	for i, p := range c.Images.Pinned {
		if p == "" {
			return invalid(fmt.Sprintf("images.pinned[%d]", i), "is empty")
		}
	}
	if p := c.Images.Platform; p != "" && strings.Count(p, "/") != 1 && strings.Count(p, "/") != 2 {
		return invalid("images.platform", "%q is not os/arch or os/arch/variant", p)
	}
	return nil
}

func (s Seccomp) validate(field string) error {
	switch s.UnsetProfile {
	case ProfileUnconfined, ProfileRuntimeDefault:
	default:
		return invalid(field+".unsetProfile", "%q is neither %s nor %s", s.UnsetProfile, ProfileUnconfined, ProfileRuntimeDefault)
	}
	if s.DefaultProfile != "" {
		return absolute(field+".defaultProfile", s.DefaultProfile)
	}
	return nil
}

func (c *Config) validateLimits() error {
	for _, s := range []struct {
		field string
		value Switch
	}{
		{"limits.restrictOOMScoreAdj", c.Limits.RestrictOOMScoreAdj},
		{"limits.restrictRlimits", c.Limits.RestrictRlimits},
		{"limits.restrictCapabilities", c.Limits.RestrictCapabilities},
	} {
		switch s.value {
		case Auto, On, Off:
		default:
			return invalid(s.field, "%q is neither auto, true nor false", s.value)
		}
	}
	return validateRlimits("limits.rlimits", c.Limits.Rlimits)
}

func validateRlimits(field string, limits map[string]Rlimit) error {
	for _, name := range sortedKeys(limits) {
		l := limits[name]
		if !contains(RlimitNames, name) {
			return invalid(field+"."+name, "no such limit; there are %s", strings.Join(RlimitNames, ", "))
		}
		if l.Soft > l.Hard {
			return invalid(field+"."+name+".soft", "%d is above the hard limit %d", l.Soft, l.Hard)
		}
	}
	return nil
}

// validateObservation checks what is for those who watch the daemon.
func (c *Config) validateObservation() error {
	if f := c.Log.Format; f != FormatText && f != FormatJSON {
		return invalid("log.format", "%q is neither %s nor %s", f, FormatText, FormatJSON)
	}
	for _, a := range []struct{ field, value string }{{"metrics.address", c.Metrics.Address}, {"tracing.endpoint", c.Tracing.Endpoint}} {
		if a.value == "" {
			continue
		}
		_, port, err := net.SplitHostPort(a.value)
		if err == nil {
			_, err = strconv.ParseUint(port, 10, 16)
		}
		if err != nil {
			return invalid(a.field, "%q is not host:port", a.value)
		}
	}
	return nil
}

func contains(list []string, s string) bool {
	for _, have := range list {
		if have == s {
			return true
		}
	}
	return false
}

func (c *Config) validateNumbers() error {
	for _, n := range []struct {
		field    string
		value    int64
		low, top int64
	}{
		{"images.maxLayerBytes", c.Images.MaxLayerBytes, 0, 1 << 50},
		{"images.maxSpoolBytes", c.Images.MaxSpoolBytes, -1, 1 << 50},
		{"images.maxLayerEntries", c.Images.MaxLayerEntries, 0, 1 << 40},
		{"images.maxImageBytes", c.Images.MaxImageBytes, 0, 1 << 50},
		{"images.concurrentLayers", int64(c.Images.ConcurrentLayers), 0, 64},
		{"images.spareLayers", int64(*c.Images.SpareLayers), 0, 64},
		{"images.checkBytesPerSecond", *c.Images.CheckBytesPerSecond, 0, 1 << 40},
		{"limits.shmBytes", c.Limits.ShmBytes, 1 << 16, 1 << 50},
		{"shim.spares", int64(*c.Shim.Spares), 0, 256},
		// A line's tag and time must fit too; above 1 MiB a line costs the
		// shim more memory than it may have.
		{"log.maxLineBytes", int64(c.Log.MaxLineBytes), 256, 1 << 20},
		{"log.verbosity", int64(c.Log.Verbosity), 0, 10},
		{"tracing.samplingRatePerMillion", int64(c.Tracing.SamplingRatePerMillion), 0, 1e6},
		{"exec.drainTimeout", int64(c.Exec.DrainTimeout), 0, 3600e9},
		{"exec.maxOutputBytes", c.Exec.MaxOutputBytes, 1, 16 << 20},
		{"streaming.idleTimeout", int64(c.Streaming.IdleTimeout), 1e6, 7 * 24 * 3600e9},
		{"streaming.creationTimeout", int64(c.Streaming.CreationTimeout), 1e6, 3600e9},
		{"requests.hostPathTimeout", int64(c.Requests.HostPathTimeout), 1e6, 3600e9},
		{"requests.networkTimeout", int64(c.Requests.NetworkTimeout), 1e6, 3600e9},
	} {
		if n.value < n.low || n.value > n.top {
			return invalid(n.field, "%d is not between %d and %d", n.value, n.low, n.top)
		}
	}
	return nil
}
