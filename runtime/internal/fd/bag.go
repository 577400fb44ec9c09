package fd

import (
	"slices"

	"golang.org/x/sys/unix"
)

// Bag holds descriptors that are closed together. The first few need no
// allocation.
type Bag struct {
	few  [16]int
	n    int
	more []int
}

// Add puts fd into the bag and returns it.
func (b *Bag) Add(fd int) int {
	if b.n < len(b.few) {
		b.few[b.n] = fd
		b.n++
	} else {
		b.more = append(b.more, fd)
	}
	return fd
}

// Take removes fd from the bag, so that it stays open.
func (b *Bag) Take(fd int) int {
	if i := slices.Index(b.few[:b.n], fd); i >= 0 {
		b.n--
		b.few[i] = b.few[b.n]
	} else if i := slices.Index(b.more, fd); i >= 0 {
		b.more = slices.Delete(b.more, i, i+1)
	}
	return fd
}

// Close closes what is in the bag. Nothing here was written through, so an
// error of close has nothing to tell.
func (b *Bag) Close() {
	for _, fd := range b.few[:b.n] {
		_ = unix.Close(fd)
	}
	for _, fd := range b.more {
		_ = unix.Close(fd)
	}
	b.n, b.more = 0, nil
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
