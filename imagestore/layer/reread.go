package layer

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// rereadPiece is read at once, and rereadAlign is what a direct read is aligned to
// everywhere.
const (
	rereadPiece = 256 << 10
	rereadAlign = 4096
)

// Rereader reads files again for Check, past the page cache: what the disk holds is
// asked for, and what containers use of the cache must not give way.
type Rereader struct {
	wait Wait
	buf  []byte // of whole pages, for direct reads
}

// NewRereader makes a Rereader, which must be closed.
func NewRereader(wait Wait) (*Rereader, error) {
	buf, err := unix.Mmap(-1, 0, rereadPiece, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	return &Rereader{wait, buf}, nil
}

// Close gives the buffer back.
func (r *Rereader) Close() error { return unix.Munmap(r.buf) }

// Read hands size bytes of the file name in dir to see, piece by piece. A file that
// is shorter is damaged.
func (r *Rereader) Read(dir int, name string, size int64, see func([]byte)) error {
	if size == 0 {
		return nil
	}
	const flags = unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_CLOEXEC | unix.O_NONBLOCK
	fd, err := unix.Openat(dir, name, flags|unix.O_DIRECT, 0)
	if err == unix.EINVAL { // the file system has no direct reads
		fd, err = unix.Openat(dir, name, flags, 0)
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for left := size; left > 0; {
		// A direct read is of whole blocks, and gives what is there of the last one.
		want := min(int64(len(r.buf)), (left+rereadAlign-1)/rereadAlign*rereadAlign)
		if err := r.wait(int(want)); err != nil {
			return err
		}
		n, err := unix.Read(fd, r.buf[:want])
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return err
		case n == 0:
			return fmt.Errorf("%w: it ends %d bytes early", ErrDamaged, left)
		}
		n = int(min(int64(n), left))
		see(r.buf[:n])
		left -= int64(n)
	}
	return nil
}

// Damage sorts what went wrong while a layer was read again: what is missing, and
// what the disk says of itself, is damage.
func Damage(err error) error {
	errno := unix.Errno(0)
	if errors.Is(err, ErrDamaged) || !errors.As(err, &errno) {
		return err
	}
	switch errno {
	case unix.ENOENT, unix.ENOTDIR, unix.EISDIR, unix.ELOOP, unix.EIO, unix.EUCLEAN, unix.EBADMSG:
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return err
}
