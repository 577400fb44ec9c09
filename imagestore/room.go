package imagestore

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/imagestore/fault"
	"github.com/varve-cri/varve/imagestore/index"
)

// roomError is a full disk, with how full it was then: when the caller reads it,
// what was half-made has been removed and there is room again.
type roomError struct {
	error
	free string
}

func (e *roomError) Error() string { return e.error.Error() + " (" + e.free + ")" }

func (e *roomError) Unwrap() error { return e.error }

// withRoom adds to the error of a full disk how much is free; others stay as they are.
func (s *Store) withRoom(err error) error {
	if known := (*roomError)(nil); fault.KindOf(err) != NoSpace || errors.As(err, &known) {
		return err
	}
	return &roomError{err, s.room()}
}

// named puts a step before an error; one of a full disk becomes a PullError, by
// whose kind callers know it.
func (s *Store) named(step string, err error) error {
	if fault.KindOf(err) == NoSpace {
		return fault.New(NoSpace, step, s.withRoom(err))
	}
	return fmt.Errorf("%s: %w", step, err)
}

// room says what is free on the store's file system.
func (s *Store) room() string {
	var st unix.Statfs_t
	if err := unix.Statfs(s.cfg.Root, &st); err != nil {
		return "free space unknown: " + err.Error()
	}
	text := fmt.Sprintf("%s: %.1f MiB free", s.cfg.Root, float64(st.Bavail)*float64(st.Bsize)/(1<<20))
	if st.Files > 0 { // btrfs and others have no table of inodes that could be full
		text += fmt.Sprintf(", %d inodes free", st.Ffree)
	}
	return text
}

// shrink is a change that makes room. On a full disk it may take the reserve, since
// also forgetting something costs the database a few pages.
func (s *Store) shrink(fn func(*index.Change) error) error {
	err := s.db.Update(fn)
	if fault.KindOf(err) == NoSpace && s.trash.Spend() {
		err = s.db.Update(fn)
	}
	return err
}
