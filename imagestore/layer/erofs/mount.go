package erofs

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/imagestore/layer"
)

// mountStack mounts a joined stack over its layers (topmost first).
func mountStack(joined string, layers []string) (*os.File, error) {
	if err := checkSum(joined); err != nil {
		return nil, fmt.Errorf("%w: %w", layer.ErrNotJoined, err)
	}
	files := make([]string, 0, len(layers)+1)
	files = append(files, filepath.Join(joined, stackFile))
	for _, l := range layers {
		files = append(files, filepath.Join(l, layerFile))
	}
	f, err := mountFiles(files)
	if err != nil {
		return nil, fmt.Errorf("mount erofs of %d layers: %w", len(layers), err)
	}
	return f, nil
}

// mountFiles mounts EROFS from plain files (Linux 6.12): the one with the metadata,
// then its devices in order. The mount is detached and in no mount table.
func mountFiles(files []string) (*os.File, error) {
	fs, err := unix.Fsopen("erofs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("fsopen", err)
	}
	defer unix.Close(fs)
	if err := configure(fs, files); err != nil {
		return nil, err
	}
	mnt, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_RDONLY)
	if err != nil {
		return nil, os.NewSyscallError("fsmount", err)
	}
	return os.NewFile(uintptr(mnt), "erofs"), nil
}

// configure hands the files over by descriptor, because a parameter holds 255
// bytes; the kernel opens them when the file system is created.
func configure(fs int, files []string) error {
	for i, name := range files {
		fd, err := unix.Open(name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return &os.PathError{Op: "open", Path: name, Err: err}
		}
		defer unix.Close(fd)
		key := "device"
		if i == 0 {
			key = "source"
		}
		if err := unix.FsconfigSetString(fs, key, fdPath(fd)); err != nil {
			return fmt.Errorf("%s=%s: %w", key, name, explained(fs, err))
		}
	}
	switch err := unix.FsconfigCreate(fs); err {
	case nil:
	case unix.ENOTBLK:
		return fmt.Errorf("%w: before Linux 6.12, and on file systems without a page cache of their own such as tmpfs, EROFS cannot be in a plain file", err)
	default:
		return explained(fs, err)
	}
	return nil
}

func fdPath(fd int) string { return fmt.Sprintf("/proc/self/fd/%d", fd) }

// explained adds what the kernel wrote into the context's log.
func explained(fs int, err error) error {
	buf := make([]byte, 1024)
	n, rerr := unix.Read(fs, buf)
	if rerr != nil || n < 2 {
		return err
	}
	return fmt.Errorf("%w (%s)", err, strings.TrimSpace(string(buf[2:n])))
}
