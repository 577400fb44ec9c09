package config

import (
	"path/filepath"
	"time"
)

// Default returns the configuration of a node that says nothing.
func Default() *Config {
	c := &Config{}
	c.Complete()
	return c
}

// Complete fills in the default of every field that is unset. Paths below the
// state and root directories follow those two.
func (c *Config) Complete() {
	set(&c.APIVersion, APIVersion)
	set(&c.Kind, Kind)
	set(&c.StateDir, "/run/varve")
	set(&c.RootDir, "/var/lib/varve")
	set(&c.Socket, filepath.Join(c.StateDir, "varve.sock"))

	set(&c.Cgroup.Driver, "cgroupfs")
	set(&c.Cgroup.Parent, "/varve")

	c.completeNetwork()
	if c.CDI.SpecDirs == nil {
		c.CDI.SpecDirs = []string{"/etc/cdi", "/var/run/cdi"}
	}
	if c.Images.RegistryConfigDirs == nil {
		c.Images.RegistryConfigDirs = []string{"/etc/varve/certs.d"}
	}

	set(&c.Images.Format, FormatAuto)
	set(&c.Limits.RestrictOOMScoreAdj, Auto)
	set(&c.Limits.RestrictRlimits, Auto)
	set(&c.Limits.RestrictCapabilities, Auto)
	if c.Limits.Rlimits == nil {
		c.Limits.Rlimits = map[string]Rlimit{"nofile": {Soft: 1024, Hard: 524288}}
	}
	set(&c.Seccomp.UnsetProfile, ProfileUnconfined)
	for name, h := range c.Runtime.Handlers {
		if h.Seccomp != nil {
			own := *h.Seccomp
			set(&own.UnsetProfile, c.Seccomp.UnsetProfile)
			h.Seccomp = &own
			c.Runtime.Handlers[name] = h
		}
	}
	if c.Shim.Spares == nil {
		spares := 4
		c.Shim.Spares = &spares
	}
	if c.Images.SpareLayers == nil {
		spares := 4
		c.Images.SpareLayers = &spares
	}
	if c.Images.CheckBytesPerSecond == nil {
		rate := int64(8 << 20)
		c.Images.CheckBytesPerSecond = &rate
	}
	set(&c.Log.MaxLineBytes, 16384)
	if c.Admin.Enabled == nil {
		yes := true
		c.Admin.Enabled = &yes
	}
	set(&c.Admin.Socket, filepath.Join(c.StateDir, "admin.sock"))
	set(&c.Exec.DrainTimeout, Duration(2*time.Second))
	set(&c.Exec.MaxOutputBytes, 16<<20)
	set(&c.Requests.HostPathTimeout, Duration(10*time.Second))
	set(&c.Requests.NetworkTimeout, Duration(time.Minute))
}

func (c *Config) completeNetwork() {
	n := &c.Network
	set(&n.ConfDir, "/etc/cni/net.d")
	if n.BinDirs == nil {
		n.BinDirs = []string{"/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni"}
	}
	set(&n.CacheDir, filepath.Join(c.RootDir, "cni"))
	d := &n.DefaultNetwork
	if d.Enabled == nil {
		yes := true
		d.Enabled = &yes
	}
	set(&d.Bridge, "varve0")
	set(&d.Subnet, "10.87.0.0/16")
	set(&d.DataDir, filepath.Join(n.CacheDir, "leases"))
}

// set gives *field the default unless it has a value.
func set[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Handler returns the settings of a runtime handler, the node's filled in
// where the handler has none of its own, and whether there is such a handler.
// The handler named "" always is there.
func (c *Config) Handler(name string) (Handler, bool) {
	h, ok := c.Runtime.Handlers[name]
	if !ok && name != "" {
		return Handler{}, false
	}
	if h.Seccomp == nil {
		h.Seccomp = &c.Seccomp
	}
	if len(h.Rlimits) == 0 {
		h.Rlimits = c.Limits.Rlimits
		return h, true
	}
	merged := make(map[string]Rlimit, len(h.Rlimits)+len(c.Limits.Rlimits))
	for k, v := range c.Limits.Rlimits {
		merged[k] = v
	}
	for k, v := range h.Rlimits {
		merged[k] = v
	}
	h.Rlimits = merged
	return h, true
}

// HandlerNames returns the names of all handlers, "" first, then in order.
func (c *Config) HandlerNames() []string {
	names := []string{""}
	for _, name := range sortedKeys(c.Runtime.Handlers) {
		if name != "" {
			names = append(names, name)
		}
	}
	return names
}
