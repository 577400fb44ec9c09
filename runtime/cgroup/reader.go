package cgroup

import (
	"errors"
	"io/fs"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/runtime/internal/flat"
)

// statsReader reads files until one fails for another reason than that it is
// not there.
type statsReader struct {
	found int
	err   error
}

func (r *statsReader) read(dir, file string, f func([]byte)) {
	if dir == "" || r.err != nil {
		return
	}
	err := withFile(dir, file, f)
	switch {
	case err == nil:
		r.found++
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENODEV), errors.Is(err, unix.EOPNOTSUPP):
		// ENODEV: the group went away between open and read. EOPNOTSUPP: pressure
		// is switched off at boot.
	default:
		r.err = err
	}
}

// value reads a file with one number.
func (r *statsReader) value(dir, file string, v *uint64) {
	r.read(dir, file, func(b []byte) { *v = flat.Number(b) })
}

// v1NoLimit is from where on a v1 limit is none: the kernel rounds the largest
// number of bytes down to pages.
const v1NoLimit = 1<<63 - 1<<20
