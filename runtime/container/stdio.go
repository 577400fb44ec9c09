package container

import (
	"os"

	"github.com/varve-cri/varve/runtime/internal/fd"
	"github.com/varve-cri/varve/runtime/program"
	"golang.org/x/sys/unix"
)

// stdioFiles puts the caller's files into f, at numbers that the child can
// take them from in any order.
func stdioFiles(bag *fd.Bag, f *program.Files, stdio Stdio, uid uint32, null int) error {
	for _, one := range []struct {
		file *os.File
		fd   *int
		name string
	}{{stdio.In, &f.In, "stdin"}, {stdio.Out, &f.Out, "stdout"}, {stdio.Err, &f.Err, "stderr"}} {
		*one.fd = null
		if one.file == nil {
			continue
		}
		n, err := bag.Above(int(one.file.Fd()), program.FirstFree)
		if err != nil {
			return fail("set up stdio", one.name, err)
		}
		give(n, uid)
		*one.fd = n
	}
	return nil
}

// give makes a pipe or socket the user's, so that a program that opens
// /dev/stdout again may (the log files of many images are links there). What
// cannot be given works as it is.
func give(n int, uid uint32) {
	if uid == 0 {
		return
	}
	var st unix.Stat_t
	if unix.Fstat(n, &st) != nil {
		return
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFIFO, unix.S_IFSOCK:
		_ = unix.Fchown(n, int(uid), -1)
	}
}
