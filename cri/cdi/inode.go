package cdi

import (
	"os"
	"syscall"
)

// inode is the number of a file in its file system: a rename over the file
// changes it.
func inode(info os.FileInfo) uint64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Ino
	}
	return 0
}
