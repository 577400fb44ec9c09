package erofs

import (
	"archive/tar"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/imagestore/erofs"
	"github.com/varve-cri/varve/imagestore/unpack"
	"github.com/varve-cri/varve/imagestore/unpack/entry"
)

// link makes a hard link to a file of the same layer. Header attributes are not
// applied: they are the target's (CVE-2021-32760).
func (e *entries) link(at place, h *tar.Header) error {
	target, err := entry.Clean(h.Linkname)
	if err != nil {
		return linkError(h.Linkname, err)
	}
	if target == "" {
		return errors.New("hard link to the root")
	}
	err = e.linkTo(at, target)
	if err == unix.ENOENT {
		return e.wait(link{at.real(), target})
	}
	if err != nil {
		return linkError(h.Linkname, err)
	}
	return nil
}

func linkError(target string, err error) error {
	return fmt.Errorf("hard link to %.300q: %w", target, err)
}

// wait keeps a link until the archive's end.
func (e *entries) wait(l link) error {
	if e.waiting += int64(len(l.name) + len(l.target)); e.waiting > maxText {
		return fmt.Errorf("more than %d bytes of hard links to what is not there: %w", maxText, unpack.ErrLimit)
	}
	e.links = append(e.links, l)
	return nil
}

// linkTo links to a target, whose parents are resolved as any entry's are but not
// made. The target itself is not followed.
func (e *entries) linkTo(at place, target string) error {
	up, base := entry.Split(target)
	real, _, err := e.paths.resolve(up)
	if err != nil {
		return err
	}
	if target == at.real() || real == at.parent && base == at.base {
		return errors.New("the link is its own target")
	}
	if entry.Below(real, at.real()) {
		return errors.New("the target is below the link")
	}
	dir, err := e.paths.get(real)
	if err != nil {
		return err
	}
	id := e.tree.Lookup(dir, base)
	switch {
	case id == 0:
		return unix.ENOENT
	case e.tree.Is(id, erofs.TypeDirectory):
		return errors.New("the target is a directory")
	case e.tree.IsWhiteout(id):
		return errors.New("the target is hidden by this layer")
	}
	return e.tree.Link(at.dir, at.base, id)
}

// lateLinks tries once more the links whose targets came after them. What still
// has no target is left to the layers below.
func (e *entries) lateLinks() error {
	rest := e.links[:0]
	for _, l := range e.links {
		err := e.late(l)
		if err == unix.ENOENT {
			rest = append(rest, l)
			continue
		}
		if err != nil {
			return &unpack.EntryError{Name: l.name, Err: linkError(l.target, err)}
		}
	}
	for _, l := range rest {
		// A link to another link of these works as soon as that one is marked.
		if e.late(l) == nil {
			continue
		}
		up, base := entry.Split(l.name)
		dir, err := e.paths.get(up)
		if err == nil {
			_, err = e.tree.LinkBelow(dir, base, l.target)
		}
		if err != nil {
			return &unpack.EntryError{Name: l.name, Err: linkError(l.target, err)}
		}
		e.counted(0)
	}
	return nil
}

// late is link at the archive's end.
func (e *entries) late(l link) error {
	up, base := entry.Split(l.name)
	dir, err := e.paths.get(up)
	if err != nil {
		return nil //nolint:nilerr // the place is gone: a later entry replaced the directory
	}
	return e.linkTo(place{dir, up, base}, l.target)
}
