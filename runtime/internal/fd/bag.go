package fd

import "golang.org/x/sys/unix"

// Bag holds descriptors that are closed together.
type Bag struct{ fds []int }

// Add puts fd into the bag and returns it.
func (b *Bag) Add(fd int) int {
	b.fds = append(b.fds, fd)
	return fd
}

// Take removes fd from the bag, so that it stays open.
func (b *Bag) Take(fd int) int {
	for i, have := range b.fds {
		if have == fd {
			b.fds = append(b.fds[:i], b.fds[i+1:]...)
			break
		}
	}
	return fd
}

// Close closes what is in the bag. Nothing here was written through, so an
// error of close has nothing to tell.
func (b *Bag) Close() {
	for _, fd := range b.fds {
		_ = unix.Close(fd)
	}
	b.fds = nil
}

// Above returns fd itself if it is at least low, else a duplicate that is.
func (b *Bag) Above(fd, low int) (int, error) {
	if fd >= low {
		return fd, nil
	}
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, low)
	if err != nil {
		return -1, err
	}
	return b.Add(dup), nil
}
