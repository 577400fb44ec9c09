package trash

import (
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// The reserve is kept on the disk so that a full one can still be cleaned up: the
// database needs a few pages to forget an image, and a store that opens tries its
// mounts in a few directories.
const (
	reserveBytes  = 1 << 20
	reserveInodes = 64
)

// keepReserve makes the reserve when it is not there and there is room for it.
func (t *Trash) keepReserve() {
	t.reserveMu.Lock()
	defer t.reserveMu.Unlock()
	if err := os.Mkdir(t.reserve, 0o700); err != nil {
		return // it is there, or there is no room
	}
	if err := makeReserve(t.reserve); err != nil {
		_ = os.RemoveAll(t.reserve)
	}
}

func makeReserve(dir string) error {
	for i := range reserveInodes {
		f, err := os.Create(filepath.Join(dir, strconv.Itoa(i)))
		if err != nil {
			return err
		}
		f.Close()
	}
	f, err := os.Create(filepath.Join(dir, "last"))
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Fallocate(int(f.Fd()), 0, 0, reserveBytes)
}

// Spend gives the reserve back to the disk, and tells whether there was one. The next
// deletion makes it anew.
func (t *Trash) Spend() bool {
	t.reserveMu.Lock()
	defer t.reserveMu.Unlock()
	return SpendReserve(t.reserve)
}

// SpendReserve is Spend for who cannot open the Trash.
func SpendReserve(dir string) bool {
	_, err := os.Lstat(dir)
	return err == nil && os.RemoveAll(dir) == nil
}
