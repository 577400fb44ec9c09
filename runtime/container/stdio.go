package container

import (
	"os"

	"github.com/varve-cri/varve/runtime/internal/fd"
	"github.com/varve-cri/varve/runtime/plan"
	"github.com/varve-cri/varve/runtime/program"
	"golang.org/x/sys/unix"
)

// streams are the descriptors that become 0, 1 and 2, at numbers that the
// child can take them from in any order; -1 is none.
type streams struct{ in, out, err int }

// openStreams makes them of the caller's files; a process with a terminal has
// none.
func openStreams(bag *fd.Bag, stdio Stdio, p *plan.Process, null int) (streams, error) {
	if p.Terminal {
		return streams{-1, -1, -1}, nil
	}
	s := streams{null, null, null}
	for _, one := range []struct {
		file *os.File
		fd   *int
		name string
	}{{stdio.In, &s.in, "stdin"}, {stdio.Out, &s.out, "stdout"}, {stdio.Err, &s.err, "stderr"}} {
		if one.file == nil {
			continue
		}
		n, err := bag.Above(int(one.file.Fd()), program.FirstFree)
		if err != nil {
			return s, fail("set up stdio", one.name, err)
		}
		give(n, p.UID)
		*one.fd = n
	}
	return s, nil
}

func (s streams) put(f *program.Files) { f.In, f.Out, f.Err = s.in, s.out, s.err }

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
