package inroot

import "golang.org/x/sys/unix"

// attempts bounds the retries of EAGAIN, which openat2 returns when a rename
// or a mount anywhere on the system raced with a ".." in the path.
const attempts = 128

// FD opens path, relative to the directory root, and returns a plain
// descriptor with O_CLOEXEC.
func FD(root int, path string, flags int) (int, error) {
	return openat2(root, path, &unix.OpenHow{
		Flags:   uint64(flags | unix.O_CLOEXEC),
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
}

func openat2(dir int, path string, how *unix.OpenHow) (fd int, err error) {
	for range attempts {
		fd, err = call(dir, path, how)
		if err != unix.EAGAIN && err != unix.EINTR {
			return fd, err
		}
	}
	return fd, err
}
