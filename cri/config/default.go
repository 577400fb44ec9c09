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
	set(&c.Limits.ShmBytes, 64<<20)
	set(&c.Seccomp.UnsetProfile, ProfileUnconfined)
	c.completeHandlers()
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
	set(&c.Log.Format, FormatText)
	if c.Admin.Enabled == nil {
		yes := true
		c.Admin.Enabled = &yes
	}
	set(&c.Admin.Socket, filepath.Join(c.StateDir, "admin.sock"))
	set(&c.Exec.DrainTimeout, Duration(2*time.Second))
	set(&c.Exec.MaxOutputBytes, 16<<20)
	c.Streaming.complete()
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
