package plan

// The device nodes and links that every container has (OCI runtime-spec,
// config-linux "Default Devices"), and the two filesystems that hold them as
// Kubernetes asks for them. A waiting Space has exactly these ready.

// StandardDevices returns the device nodes.
func StandardDevices() []Device {
	dev := func(name string, major, minor uint32) Device {
		return Device{Path: "/dev/" + name, Kind: CharDevice, Major: major, Minor: minor, Mode: 0o666}
	}
	return []Device{
		dev("null", 1, 3), dev("zero", 1, 5), dev("full", 1, 7),
		dev("random", 1, 8), dev("urandom", 1, 9), dev("tty", 5, 0),
	}
}

// StandardLinks returns the symbolic links.
func StandardLinks() []Link {
	return []Link{
		{Path: "/dev/fd", Target: "/proc/self/fd"},
		{Path: "/dev/stdin", Target: "/proc/self/fd/0"},
		{Path: "/dev/stdout", Target: "/proc/self/fd/1"},
		{Path: "/dev/stderr", Target: "/proc/self/fd/2"},
		{Path: "/dev/ptmx", Target: "pts/ptmx"},
	}
}

// StandardDevData and StandardPtsData return the options of /dev and
// /dev/pts in their usual form.
func StandardDevData() []string { return []string{"mode=755", "size=65536k"} }

// StandardPtsData returns the options of /dev/pts.
func StandardPtsData() []string {
	return []string{"newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}
}
