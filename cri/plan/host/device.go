package host

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Devices looks at device nodes of the host. Dir is the directory of All.
type Devices struct{ Dir string }

// maxDevices bounds a directory of devices.
const maxDevices = 4096

// Find returns the device at a path, symbolic links followed, or all devices
// below it when it is a directory. A directory must be below Dir: the rest of the
// host has no end, and file servers that do not answer.
func (d Devices) Find(path string) ([]specs.LinuxDevice, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		if below, err := filepath.Rel(d.Dir, path); err != nil || !filepath.IsLocal(below) {
			return nil, fmt.Errorf("%s is a directory outside of %s", path, d.Dir)
		}
		found, err := walk(path, nil)
		if err == nil && len(found) == 0 {
			err = fmt.Errorf("%s holds no devices", path)
		}
		return found, err
	}
	dev, ok, err := node(path, info)
	if err == nil && !ok {
		err = fmt.Errorf("%s is not a device", path)
	}
	return []specs.LinuxDevice{dev}, err
}

// skipped are the parts of /dev that are a container's own whatever it is
// allowed: its terminals, its shared memory and message queues.
var skipped = map[string]bool{"pts": true, "shm": true, "mqueue": true, "fd": true, "console": true, "ptmx": true, ".udev": true, "hugepages": true}

// All returns the devices of the host's /dev.
func (d Devices) All() ([]specs.LinuxDevice, error) {
	return walk(d.Dir, skipped)
}

// walk lists the devices below dir; skip names entries of dir itself. Links
// are not followed, and what vanishes meanwhile is left out.
func walk(dir string, skip map[string]bool) ([]specs.LinuxDevice, error) {
	var out []specs.LinuxDevice
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		switch {
		case err != nil && path == dir:
			return err
		case err != nil:
			return nil //nolint:nilerr // it has gone
		case filepath.Dir(path) == dir && skip[e.Name()] && path != dir:
			if e.IsDir() {
				return filepath.SkipDir
			}
			return nil
		case e.Type()&os.ModeDevice == 0:
			return nil
		}
		info, err := e.Info()
		if err != nil {
			return nil //nolint:nilerr // unplugged between the two looks
		}
		d, ok, err := node(path, info)
		if err != nil || !ok {
			return err
		}
		if out = append(out, d); len(out) > maxDevices {
			return fmt.Errorf("%s holds more than %d devices", dir, maxDevices)
		}
		return nil
	})
	return out, err
}

func node(path string, info os.FileInfo) (specs.LinuxDevice, bool, error) {
	mode := info.Mode()
	var kind string
	switch {
	case mode&os.ModeCharDevice != 0:
		kind = "c"
	case mode&os.ModeDevice != 0:
		kind = "b"
	default:
		return specs.LinuxDevice{}, false, nil
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return specs.LinuxDevice{}, false, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	perm := mode.Perm()
	return specs.LinuxDevice{
		Path: path, Type: kind,
		Major: int64(unix.Major(st.Rdev)), Minor: int64(unix.Minor(st.Rdev)),
		FileMode: &perm, UID: &st.Uid, GID: &st.Gid,
	}, true, nil
}
