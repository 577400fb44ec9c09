package metric

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/runtime/usage"
)

// disk is the file system that read-write layers are on.
type disk struct {
	device             string // of the file system
	whole              *usage.Device
	bytes              uint64
	inodes, freeInodes uint64
}

// readDisk looks at the file system of a directory; nil when that is not possible.
func readDisk(dir string) *disk {
	var st unix.Stat_t
	var fs unix.Statfs_t
	if unix.Stat(dir, &st) != nil || unix.Statfs(dir, &fs) != nil {
		return nil
	}
	major, minor := unix.Major(st.Dev), unix.Minor(st.Dev)
	return &disk{
		device: deviceName(major, minor), whole: wholeDisk(major, minor),
		bytes: fs.Blocks * uint64(fs.Bsize), inodes: fs.Files, freeInodes: fs.Ffree, //nolint:gosec // a block's size is positive
	}
}

// names are those of devices by their numbers.
var names sync.Map // [2]uint32 -> string

// deviceName is the path that udev gives a block device, or its numbers.
func deviceName(major, minor uint32) string {
	key := [2]uint32{major, minor}
	if name, ok := names.Load(key); ok {
		return name.(string) //nolint:forcetypeassert // strings only
	}
	name := fmt.Sprintf("%d:%d", major, minor)
	text, err := os.ReadFile("/sys/dev/block/" + name + "/uevent")
	if err != nil {
		return name // of a file system without a device, or of a device that is gone
	}
	for line := range strings.Lines(string(text)) {
		if dev, ok := strings.CutPrefix(strings.TrimSpace(line), "DEVNAME="); ok {
			name = "/dev/" + dev
		}
	}
	names.Store(key, name)
	return name
}

// wholeDisk is the disk that a partition is on, where cgroups count; nil for a file system
// without a device.
func wholeDisk(major, minor uint32) *usage.Device {
	dir := fmt.Sprintf("/sys/dev/block/%d:%d", major, minor)
	if _, err := os.Stat(dir); err != nil {
		return nil
	}
	if _, err := os.Stat(dir + "/partition"); err != nil {
		return &usage.Device{Major: major, Minor: minor}
	}
	partition, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil
	}
	text, err := os.ReadFile(filepath.Dir(partition) + "/dev")
	if err != nil {
		return nil
	}
	first, second, _ := strings.Cut(strings.TrimSpace(string(text)), ":")
	a, err1 := strconv.ParseUint(first, 10, 32)
	b, err2 := strconv.ParseUint(second, 10, 32)
	if err1 != nil || err2 != nil {
		return nil
	}
	return &usage.Device{Major: uint32(a), Minor: uint32(b)}
}

// devices are those that the cgroup used, and that of the layers in any case.
func devices(s *subject) []usage.Device {
	used := s.usage().IO.Devices
	if s.disk == nil || s.disk.whole == nil {
		return used
	}
	for _, d := range used {
		if d.Major == s.disk.whole.Major && d.Minor == s.disk.whole.Minor {
			return used
		}
	}
	return append(used[:len(used):len(used)], *s.disk.whole)
}

func perDevice(value func(*usage.Device) uint64) func(*subject, add) {
	return func(s *subject, add add) {
		for _, d := range devices(s) {
			add(value(&d), deviceName(d.Major, d.Minor))
		}
	}
}

var ioFamilies = []family{
	counter("container_fs_reads_bytes_total", "Cumulative count of bytes read.", nil).
		labelled(perDevice(func(d *usage.Device) uint64 { return d.ReadBytes }), "device"),
	counter("container_fs_reads_total", "Cumulative count of reads completed.", nil).
		labelled(perDevice(func(d *usage.Device) uint64 { return d.Reads }), "device"),
	counter("container_fs_writes_bytes_total", "Cumulative count of bytes written.", nil).
		labelled(perDevice(func(d *usage.Device) uint64 { return d.WriteBytes }), "device"),
	counter("container_fs_writes_total", "Cumulative count of writes completed.", nil).
		labelled(perDevice(func(d *usage.Device) uint64 { return d.Writes }), "device"),
	counter("container_blkio_device_usage_total", "Blkio device bytes usage.", nil).labelled(func(s *subject, add add) {
		for _, d := range devices(s) {
			name, major, minor := deviceName(d.Major, d.Minor), strconv.Itoa(int(d.Major)), strconv.Itoa(int(d.Minor))
			add(d.ReadBytes, name, major, minor, "Read")
			add(d.WriteBytes, name, major, minor, "Write")
			if d.DiscardBytes > 0 {
				add(d.DiscardBytes, name, major, minor, "Discard")
			}
		}
	}, "device", "major", "minor", "operation"),
}

// ofDisk is a figure of the layers' file system.
func ofDisk(value func(*disk) uint64) func(*subject, add) {
	return func(s *subject, add add) {
		if s.disk != nil {
			add(value(s.disk), s.disk.device)
		}
	}
}

var diskFamilies = []family{
	gauge("container_fs_inodes_free", "Number of available inodes.", nil).labelled(ofDisk(func(d *disk) uint64 { return d.freeInodes }), "device"),
	gauge("container_fs_inodes_total", "Number of inodes.", nil).labelled(ofDisk(func(d *disk) uint64 { return d.inodes }), "device"),
	gauge("container_fs_limit_bytes", "Number of bytes that can be consumed by the container on this filesystem.", nil).
		labelled(ofDisk(func(d *disk) uint64 { return d.bytes }), "device"),
	gauge("container_fs_usage_bytes", "Number of bytes that are consumed by the container on this filesystem.", nil).
		labelled(func(s *subject, add add) {
			if s.disk != nil {
				add(s.sample.Layer.Bytes, s.disk.device)
			}
		}, "device").measured(func(s *subject) time.Time { return s.sample.LayerAt }),
}
