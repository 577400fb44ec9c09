package cgroup

import (
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Files of a cgroup are read and written with plain system calls: they are
// small, never block, and there are a dozen of them in each call, where an
// os.File with its poller would cost more than the kernel does.

// buffers are for reading.
var buffers = sync.Pool{New: func() any { return new([8192]byte) }}

// maxFile bounds what is read: io.stat grows with the number of disks.
const maxFile = 1 << 20

// withFile calls f with the contents of dir/name, which f must not keep.
func withFile(dir, name string, f func([]byte)) error {
	path := dir + "/" + name
	fd, err := openRetry(path, unix.O_RDONLY)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	fixed := buffers.Get().(*[8192]byte) //nolint:forcetypeassert // the pool holds nothing else
	defer buffers.Put(fixed)
	buf, n := fixed[:], 0
	for {
		got, err := unix.Read(fd, buf[n:])
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return &os.PathError{Op: "read", Path: path, Err: err}
		case got == 0:
			f(buf[:n])
			return nil
		}
		if n += got; n == len(buf) {
			if n >= maxFile {
				return &os.PathError{Op: "read", Path: path, Err: unix.EFBIG}
			}
			buf = append(buf, make([]byte, len(buf))...)
		}
	}
}

// readFile returns dir/name without white space around it.
func readFile(dir, name string) (text string, err error) {
	err = withFile(dir, name, func(b []byte) { text = strings.TrimSpace(string(b)) })
	return text, err
}

// writeFile writes text in one call, as the kernel wants it.
func writeFile(dir, name, text string) error {
	path := dir + "/" + name
	fd, err := openRetry(path, unix.O_WRONLY)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for {
		_, err := unix.Write(fd, []byte(text))
		switch err {
		case nil:
			return nil
		case unix.EINTR:
			continue
		default:
			return &os.PathError{Op: "write " + quoted(text) + " to", Path: path, Err: err}
		}
	}
}

// quoted shortens a value for a message.
func quoted(text string) string {
	if len(text) > 60 {
		text = text[:60] + "..."
	}
	return `"` + strings.ReplaceAll(text, "\n", " ") + `"`
}

func openRetry(path string, flags int) (int, error) {
	for {
		fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0)
		switch err {
		case nil:
			return fd, nil
		case unix.EINTR:
			continue
		default:
			return -1, &os.PathError{Op: "open", Path: path, Err: err}
		}
	}
}
