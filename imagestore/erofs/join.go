package erofs

import (
	"fmt"
	"strings"
)

// LinkError is a hard link to a file of a lower layer that no lower layer has.
type LinkError struct{ Name, Target string }

// Error names the link and its target.
func (e *LinkError) Error() string {
	return fmt.Sprintf("hard link %.300q to %.300q: neither this layer nor one below has it", e.Name, e.Target)
}

// Joined is a tree that layers are put on, lowest first. What is in it is what
// overlay would show for the layers so far.
type Joined struct {
	Tree  *Tree
	empty bool
}

// NewJoined gives the tree of no layers.
func NewJoined(b Bounds) *Joined { return &Joined{NewTree(b), true} }

// Apply puts a layer on top: whiteouts and opaque directories hide what is there,
// directories that the layer does not describe leave the attributes that are there,
// and Linked files become names of what is there. The layer's data is on device.
func (j *Joined) Apply(m *Image, device uint16) error {
	a := applying{t: j.Tree, m: m, device: device, dirs: map[uint64]bool{}, shared: map[uint64]shared{}}
	root := uint64(m.super.root)
	a.queue = []pendingDir{{root, root, Root, j.empty}}
	j.empty = false
	// In the order of the file, so that it is read from front to back.
	for i := 0; i < len(a.queue); i++ {
		if err := a.dir(a.queue[i]); err != nil {
			return err
		}
	}
	return a.settleLinks()
}

// applying is the state of one Apply.
type applying struct {
	t      *Tree
	m      *Image
	device uint16
	queue  []pendingDir
	dirs   map[uint64]bool   // seen: no directory may be in two places
	shared map[uint64]shared // inodes with several names
	links  []pendingLink
}

// shared is what became of an inode of the layer: an inode of the tree, a link that
// waits for one, or neither for a whiteout.
type shared struct {
	id     ID
	target string
}

// pendingDir is a directory of the layer that is to be put over one of the tree.
type pendingDir struct {
	nid, parent uint64
	to          ID
	fresh       bool // the tree had none there
}

// pendingLink is a name that waits for its file.
type pendingLink struct {
	dir          ID
	name, target string
}

// dir puts one directory on the tree's.
func (a *applying) dir(p pendingDir) error {
	if a.dirs[p.nid] {
		return damaged("directory %d is in two places", p.nid)
	}
	a.dirs[p.nid] = true
	n, err := a.m.inode(p.nid)
	if err != nil {
		return err
	}
	if n.Mode&TypeMask != TypeDirectory {
		return damaged("inode %d: mode %#o of a directory", p.nid, n.Mode)
	}
	if n.marks&Opaque != 0 && !p.fresh {
		a.t.Clear(p.to)
		p.fresh = true
	}
	if p.fresh || n.marks&Implicit == 0 {
		a.t.SetAttributes(p.to, n.Attributes)
		if err := a.xattrs(p.to, &n); err != nil {
			return err
		}
	}
	return a.m.entries(&n, p.parent, func(e diskEntry) error { return a.entry(p, e) })
}

func (a *applying) xattrs(to ID, n *diskInode) error {
	set, err := a.t.intern(n.xattrs)
	if err == nil {
		a.t.at(to).xattrs = set
	}
	return err
}

// entry puts one entry into the tree's directory.
func (a *applying) entry(p pendingDir, e diskEntry) error {
	name := string(e.name)
	if e.kind == entryDirectory {
		to, fresh := a.t.Lookup(p.to, name), false
		if to == 0 || !a.t.Is(to, TypeDirectory) {
			var err error
			if to, err = a.t.Mkdir(p.to, name, Attributes{}); err != nil {
				return err
			}
			fresh = true
		}
		a.queue = append(a.queue, pendingDir{e.nid, p.nid, to, fresh})
		return nil
	}
	if s, ok := a.shared[e.nid]; ok {
		return a.again(p.to, name, s)
	}
	n, err := a.m.inode(e.nid)
	if err != nil {
		return err
	}
	if entryTypes[n.Mode&TypeMask] != e.kind {
		return damaged("inode %d: mode %#o, but type %d in its directory", e.nid, n.Mode, e.kind)
	}
	var s shared
	switch {
	case n.marks&Linked != 0:
		s.target = n.target
		a.links = append(a.links, pendingLink{p.to, name, n.target})
	case n.Mode&TypeMask == TypeCharacter && n.raw == 0:
		a.t.Remove(p.to, name)
	default:
		s.id, err = a.make(p.to, name, &n)
	}
	if n.links > 1 {
		a.shared[e.nid] = s
	}
	return err
}

// again gives an inode of the layer that was met before one more name.
func (a *applying) again(dir ID, name string, s shared) error {
	switch {
	case s.target != "":
		a.links = append(a.links, pendingLink{dir, name, s.target})
	case s.id == 0:
		a.t.Remove(dir, name)
	default:
		return a.t.Link(dir, name, s.id)
	}
	return nil
}

// make makes what is no directory.
func (a *applying) make(dir ID, name string, n *diskInode) (id ID, err error) {
	switch n.Mode & TypeMask {
	case TypeRegular:
		id, err = a.file(dir, name, n)
	case TypeSymlink:
		var target string
		if target, err = a.m.link(n); err != nil {
			return 0, err
		}
		id, err = a.t.Symlink(dir, name, n.Attributes, target)
	default:
		id, err = a.t.Node(dir, name, n.Attributes, n.raw)
	}
	if err != nil {
		return 0, err
	}
	return id, a.xattrs(id, n)
}

// file makes a regular file. Most have all their data in one piece, and need no map.
func (a *applying) file(dir ID, name string, n *diskInode) (ID, error) {
	c, err := a.m.chunks(n)
	if err != nil {
		return 0, err
	}
	c.Device = a.device
	switch {
	case len(c.Blocks) == 0:
		return a.t.File(dir, name, n.Attributes, Extent{})
	case len(c.Blocks) == 1 && c.Blocks[0] != Hole:
		return a.t.File(dir, name, n.Attributes, Extent{Device: a.device, Block: c.Blocks[0], Size: n.size})
	}
	return a.t.Sparse(dir, name, n.Attributes, n.size, c)
}

// settleLinks gives the layer's links to lower files their inodes. The layer has
// none of the targets itself, so what the tree has there now is from below, and
// what the layer hides is gone.
func (a *applying) settleLinks() error {
	for _, l := range a.links {
		id := a.t.find(l.target)
		if id == 0 || !a.t.Is(id, TypeRegular) {
			return &LinkError{a.t.path(l.dir) + l.name, l.target}
		}
		if err := a.t.Link(l.dir, l.name, id); err != nil {
			return err
		}
	}
	return nil
}

// find gives the inode of a clean path, following no links, or 0.
func (t *Tree) find(path string) ID {
	id := Root
	for rest, more := path, true; more && id != 0; {
		var name string
		name, rest, more = strings.Cut(rest, "/")
		if !t.Is(id, TypeDirectory) {
			return 0
		}
		id = t.Lookup(id, name)
	}
	return id
}

// path gives a directory's path with a slash at its end, "" for the root. It looks
// for the directory's names among all names, so it is for messages.
func (t *Tree) path(dir ID) string {
	if dir == Root {
		return ""
	}
	up := t.Parent(dir)
	for i := t.at(up).a; i != 0; i = t.names.list.at(i - 1).next {
		if t.names.list.at(i-1).inode == uint32(dir) {
			return t.path(up) + string(t.entryName(i)) + "/"
		}
	}
	return "?/"
}
