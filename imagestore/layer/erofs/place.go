package erofs

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/imagestore/erofs"
	"github.com/varve-cri/varve/imagestore/unpack"
	"github.com/varve-cri/varve/imagestore/unpack/entry"
)

// maxLinks is the kernel's own bound of symbolic links in one path.
const maxLinks = 40

// paths finds directories of a layer's tree by the names that its archive gives
// them. What unpack's directories do with the kernel's help is done here in memory,
// with the same results.
type paths struct {
	tree *erofs.Tree
	// plain gives the attributes of a directory that nobody described.
	plain func() erofs.Attributes
	// made is told of each directory that was missing and was made.
	made func()

	last   string // found last
	lastID erofs.ID
}

// place is where an entry goes: its parent, that one's real path, and the last
// component.
type place struct {
	dir    erofs.ID
	parent string
	base   string
}

func (p place) real() string { return path.Join(p.parent, p.base) }

// get finds the directory at a real path; fails with ELOOP or ENOTDIR when a
// component is no directory.
func (p *paths) get(real string) (erofs.ID, error) {
	if real == "" {
		return erofs.Root, nil
	}
	if real == p.last && p.tree.Links(p.lastID) > 0 {
		return p.lastID, nil
	}
	if len(real) >= unix.PathMax {
		return 0, unix.ENAMETOOLONG
	}
	id := erofs.Root
	for rest, more := real, true; more; {
		var component string
		component, rest, more = strings.Cut(rest, "/")
		id = p.tree.Lookup(id, component)
		switch {
		case id == 0:
			return 0, unix.ENOENT
		case p.tree.Is(id, erofs.TypeSymlink):
			return 0, unix.ELOOP
		case !p.tree.Is(id, erofs.TypeDirectory):
			return 0, unix.ENOTDIR
		}
	}
	p.last, p.lastID = real, id
	return id, nil
}

// parent finds the directory that the archive calls name, following the layer's
// own symbolic links inside the layer and making what is missing, and gives its
// real path.
func (p *paths) parent(name string) (dir erofs.ID, real string, err error) {
	dir, err = p.get(name)
	switch err {
	case nil:
		return dir, name, nil
	case unix.ENOENT:
		return p.make(name)
	case unix.ELOOP, unix.ENOTDIR:
		return p.throughLinks(name)
	}
	return 0, "", err
}

// make makes the directory name and its missing parents.
func (p *paths) make(name string) (erofs.ID, string, error) {
	up, base := entry.Split(name)
	dir, real, err := p.parent(up)
	if err != nil {
		return 0, "", err
	}
	id, err := p.tree.Mkdir(dir, base, p.plain())
	if err != nil {
		return 0, "", err
	}
	p.made()
	p.tree.Mark(id, erofs.Implicit)
	return id, path.Join(real, base), nil
}

// throughLinks finds name when some of its components are no directories: symbolic
// links are followed inside the layer, and a whiteout gives way to a directory
// that hides what lies below it in other layers.
func (p *paths) throughLinks(name string) (erofs.ID, string, error) {
	real, linked, err := p.resolve(name)
	if err != nil {
		return 0, "", err
	}
	dir, err := p.get(real)
	switch {
	case err == nil:
		return dir, real, nil
	case err == unix.ENOENT && linked:
		if link, err := p.isLink(name); err != nil || link {
			return 0, "", errors.Join(unpack.ErrDangling, err)
		}
		return p.make(name)
	case err == unix.ENOTDIR && p.overWhiteout(real):
		return p.parent(real)
	}
	return 0, "", fmt.Errorf("parent %q: %w", name, err)
}

// overWhiteout replaces the first component of real that is a whiteout by an
// opaque directory, and tells whether there was one.
func (p *paths) overWhiteout(real string) bool {
	dir := erofs.Root
	for rest, more := real, true; more; {
		var component string
		component, rest, more = strings.Cut(rest, "/")
		id := p.tree.Lookup(dir, component)
		if id != 0 && p.tree.IsWhiteout(id) {
			_, err := p.opaqueDir(dir, component)
			return err == nil
		}
		if id == 0 || !p.tree.Is(id, erofs.TypeDirectory) {
			return false
		}
		dir = id
	}
	return false
}

// opaqueDir puts an opaque directory in a whiteout's place.
func (p *paths) opaqueDir(dir erofs.ID, base string) (erofs.ID, error) {
	id, err := p.tree.Mkdir(dir, base, p.plain())
	if err == nil {
		p.tree.Mark(id, erofs.Opaque)
	}
	return id, err
}

// isLink tells whether the last component of name, whose parents are resolved, is
// a symbolic link.
func (p *paths) isLink(name string) (bool, error) {
	up, base := entry.Split(name)
	real, _, err := p.resolve(up)
	if err != nil {
		return false, err
	}
	dir, err := p.get(real)
	if err != nil {
		return false, nil //nolint:nilerr // what has no parent is no link
	}
	id := p.tree.Lookup(dir, base)
	return id != 0 && p.tree.Is(id, erofs.TypeSymlink), nil
}

// resolve gives the real path of name: no component of the result is a symbolic
// link that exists.
func (p *paths) resolve(name string) (real string, linked bool, err error) {
	if _, err := p.get(name); err == nil {
		return name, false, nil // the usual case: no links on the way
	}
	rest := strings.Split(name, "/")
	var at []step
	links := 0
	for len(rest) > 0 {
		component := rest[0]
		rest = rest[1:]
		switch component {
		case "", ".":
			continue
		case "..":
			if len(at) == 0 {
				return "", true, entry.ErrClimbs
			}
			at = at[:len(at)-1]
			continue
		}
		id := p.below(at, component)
		if id == 0 || !p.tree.Is(id, erofs.TypeSymlink) {
			at = append(at, step{component, id})
			continue
		}
		if links++; links > maxLinks {
			return "", true, unix.ELOOP
		}
		linked = true
		target := p.tree.Text(id)
		if strings.HasPrefix(target, "/") {
			at = at[:0]
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	names := make([]string, len(at))
	for i, s := range at {
		names[i] = s.name
	}
	return strings.Join(names, "/"), linked, nil
}

// step is one component of a real path, and what it names, if anything.
type step struct {
	name string
	id   erofs.ID
}

// below looks a name up where the steps lead.
func (p *paths) below(at []step, name string) erofs.ID {
	dir := erofs.Root
	if len(at) > 0 {
		dir = at[len(at)-1].id
	}
	if dir == 0 || !p.tree.Is(dir, erofs.TypeDirectory) {
		return 0
	}
	return p.tree.Lookup(dir, name)
}
