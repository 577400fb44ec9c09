package container

import (
	"github.com/varve-cri/varve/runtime/internal/fd"
	"github.com/varve-cri/varve/runtime/plan"
	"github.com/varve-cri/varve/runtime/program"
	"golang.org/x/sys/unix"
)

// streams are the descriptors that become 0, 1 and 2, at numbers that the
// child can take them from in any order; -1 is none.
type streams struct{ in, out, err int }

// openStreams makes them of the caller's files, -1 being the null device; a process with a terminal has
// none.
func openStreams(bag *fd.Bag, stdio [3]int, p *plan.Process, null int) (streams, error) {
	if p.Terminal {
		return streams{-1, -1, -1}, nil
	}
	s := streams{null, null, null}
	for i, into := range [3]*int{&s.in, &s.out, &s.err} {
		if stdio[i] < 0 {
			continue
		}
		n, err := bag.Above(stdio[i], program.FirstFree)
		if err != nil {
			return s, fail("set up stdio", [3]string{"stdin", "stdout", "stderr"}[i], err)
		}
		give(n, p.Host())
		*into = n
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
