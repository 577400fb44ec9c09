package shm

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Dir is where the /dev/shm of the pod with this directory is mounted.
func Dir(podDir string) string { return podDir + "/shm" }

// Options is what a pod's /dev/shm is like.
type Options struct {
	Bytes    int64 // its size
	UID, GID uint32
	Label    string // of SELinux, for all files; "" is each file's own
}

// Ensure mounts the pod's /dev/shm unless that is done already. Two calls for
// one pod must not run at the same time.
func Ensure(podDir string, o Options) error {
	dir := Dir(podDir)
	if isMountpoint(dir, podDir) {
		return nil
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return mount(dir, o)
}

// mount uses the new mount calls (Linux 5.2): the options are not parsed
// from a string, and nothing is visible before it is complete.
func mount(dir string, o Options) error {
	fsfd, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return fmt.Errorf("shm: fsopen tmpfs: %w", err)
	}
	defer unix.Close(fsfd)
	options := [][2]string{
		{"source", "shm"}, {"size", strconv.FormatInt(o.Bytes, 10)}, {"mode", "1777"}, {"uid", id(o.UID)}, {"gid", id(o.GID)},
	}
	if o.Label != "" {
		options = append(options, [2]string{"context", o.Label})
	}
	for _, o := range options {
		if err := unix.FsconfigSetString(fsfd, o[0], o[1]); err != nil {
			return fmt.Errorf("shm: tmpfs option %s=%s: %w", o[0], o[1], err)
		}
	}
	if err := unix.FsconfigCreate(fsfd); err != nil {
		return fmt.Errorf("shm: create tmpfs: %w", err)
	}
	attr := unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC
	mfd, err := unix.Fsmount(fsfd, unix.FSMOUNT_CLOEXEC, attr)
	if err != nil {
		return fmt.Errorf("shm: fsmount: %w", err)
	}
	defer unix.Close(mfd)
	if err := unix.MoveMount(mfd, "", unix.AT_FDCWD, dir, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("shm: mount on %s: %w", dir, err)
	}
	return nil
}

func id(n uint32) string { return strconv.FormatUint(uint64(n), 10) }

// isMountpoint compares devices: both directories are ours, so that no bind
// mount of the same file system can be there.
func isMountpoint(dir, parent string) bool {
	var a, b unix.Stat_t
	return unix.Lstat(dir, &a) == nil && unix.Lstat(parent, &b) == nil && a.Dev != b.Dev
}

// Remove takes the pod's /dev/shm away; containers that still run keep
// theirs. It is idempotent.
func Remove(podDir string) error {
	dir := Dir(podDir)
	err := unix.Unmount(dir, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("shm: unmount %s: %w", dir, err)
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("shm: %w", err)
	}
	return nil
}
