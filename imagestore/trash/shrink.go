package trash

import (
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// A big file is freed in steps: to free gigabytes at once holds the file system's
// journal, and on a disk that is told of freed blocks the disk, while containers
// wait for both.
const (
	shrinkFrom  = 128 << 20
	shrinkStep  = 64 << 20
	shrinkPause = 10 * time.Millisecond
)

// shrink makes the big files of a directory that is to be deleted small. A file
// that anyone has open, such as one that is mounted, is left as it is: what is
// deleted keeps its content for those who have it.
func shrink(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return // a file, or gone: whoever deletes it will tell
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() && info.Size() >= shrinkFrom {
			shrinkFile(filepath.Join(dir, e.Name()), info.Size())
		}
	}
}

func shrinkFile(path string, size int64) {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOFOLLOW, 0)
	if err != nil {
		return
	}
	defer f.Close()
	// The kernel grants a lease for writing only when nobody else has the file open,
	// and holds up who would open it until the lease ends with the descriptor.
	if _, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_WRLCK); err != nil {
		return
	}
	for size > shrinkStep {
		size -= shrinkStep
		if err := f.Truncate(size); err != nil {
			return
		}
		time.Sleep(shrinkPause)
	}
}
