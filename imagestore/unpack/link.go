package unpack

import (
	"archive/tar"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/imagestore/unpack/entry"
)

// Link is a hard link whose target this layer does not hold.
type Link struct {
	Name   string // real path
	Target string // clean path
}

// Needs is what a layer's archive left to the layers below it: the attributes of
// directories that it names only as parents, and targets of hard links. A layer
// that needs nothing is the same whatever lies below it.
type Needs struct {
	Dirs  []string // real paths, parents first
	Links []Link
	Sums  []Sum // of what the layer has so far, for Inherit to complete
}

// None tells that the layer is complete by itself.
func (n Needs) None() bool { return len(n.Dirs) == 0 && len(n.Links) == 0 }

// link makes a hard link to a file of the same layer. Header attributes are not
// applied: they are the target's (CVE-2021-32760).
func (u *unpacker) link(at place, h *tar.Header) error {
	target, err := entry.Clean(h.Linkname)
	if err != nil {
		return fmt.Errorf("hard link to %.300q: %w", h.Linkname, err)
	}
	if target == "" {
		return errors.New("hard link to the root")
	}
	err = u.linkTo(at, target)
	if err == unix.ENOENT {
		u.links = append(u.links, Link{Name: at.real(), Target: target})
		return u.keep(at.real() + target)
	}
	if err != nil {
		return fmt.Errorf("hard link to %.300q: %w", h.Linkname, err)
	}
	return nil
}

// linkTo links to a target, whose parents are resolved as any entry's are but not
// made. The target itself is not followed.
func (u *unpacker) linkTo(at place, target string) error {
	up, base := entry.Split(target)
	real, _, err := u.dirs.resolve(up)
	if err != nil {
		return err
	}
	if target == at.real() || real == at.parent && base == at.base {
		return errors.New("the link is its own target")
	}
	if entry.Below(real, at.real()) {
		return errors.New("the target is below the link")
	}
	fd, err := u.dirs.get(real)
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstatat(fd, base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return errors.New("the target is a directory")
	}
	if isWhiteout(fd, base) {
		return errors.New("the target is hidden by this layer")
	}
	// Getting the target's parent may have closed the link's own, if the cache is full.
	dir, err := u.dirs.get(at.parent)
	if err != nil {
		return err
	}
	at.dir = dir
	return u.create(at, func() error { return unix.Linkat(fd, base, dir, at.base, 0) })
}

// lateLinks tries once more the links whose targets came after them.
func (u *unpacker) lateLinks() error {
	rest := u.links[:0]
	for _, l := range u.links {
		up, base := entry.Split(l.Name)
		fd, err := u.dirs.get(up)
		if err != nil {
			continue // the place is gone: a later entry replaced the directory
		}
		switch err := u.linkTo(place{fd, up, base}, l.Target); err {
		case nil:
		case unix.ENOENT:
			rest = append(rest, l)
		default:
			return &EntryError{l.Name, fmt.Errorf("hard link to %.300q: %w", l.Target, err)}
		}
	}
	u.links = rest
	return nil
}

func (u *unpacker) needs() Needs {
	n := Needs{Links: slices.Clone(u.links)}
	for real := range u.implicit {
		n.Dirs = append(n.Dirs, real)
	}
	slices.Sort(n.Dirs)
	if !n.None() {
		n.Sums = u.result.Sums
	}
	return n
}
