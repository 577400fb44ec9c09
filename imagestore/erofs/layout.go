package erofs

import (
	"bytes"
	"fmt"
	"slices"
)

// layout is where everything goes: inodes in the order in which directories list
// them, each with its attributes and what fits behind it, then the directories and
// links that need blocks of their own.
type layout struct {
	t     *Tree
	order []ID
	slots []uint32 // nid by ID, 0 for what is not reached
	nid   uint32   // next free
	plain uint32   // blocks used so far behind the inodes
}

// firstNid leaves nid 0 unused, because programs take an inode number of 0 for no
// file.
const firstNid = 1

// plan walks the tree, sorts each directory's entries as the kernel searches them,
// and gives every inode its place.
func (t *Tree) plan() (*layout, error) {
	l := &layout{t: t, slots: make([]uint32, t.inodes.n), nid: firstNid}
	if err := l.place(Root); err != nil {
		return nil, err
	}
	var sorted []uint32
	for i := 0; i < len(l.order); i++ {
		n := t.at(l.order[i])
		if n.Mode&TypeMask != TypeDirectory {
			continue
		}
		for e := n.a; e != 0; e = t.names.list.at(e - 1).next {
			id := ID(t.names.list.at(e - 1).inode)
			if id == 0 || l.slots[id] != 0 {
				continue
			}
			if t.Is(id, TypeDirectory) {
				sorted = t.sortEntries(id, sorted)
			}
			if err := l.place(id); err != nil {
				return nil, err
			}
		}
	}
	return l, nil
}

// place gives an inode its slot. A directory's entries are sorted already, but for
// the root's.
func (l *layout) place(id ID) error {
	n := l.t.at(id)
	if id == Root {
		l.t.sortEntries(id, nil)
	}
	if n.Mode&TypeMask == TypeDirectory {
		n.size = l.t.dirSize(id)
	}
	f := l.form(n)
	l.nid = f.fit(l.nid)
	l.slots[id] = l.nid
	end := uint64(l.nid) + uint64(f.bytes()+inodeSlot-1)/inodeSlot
	if end > 1<<32-1<<20 {
		return fmt.Errorf("more metadata than 128 GiB: %w", ErrFull)
	}
	l.nid = uint32(end)
	l.plain += f.plain
	l.order = append(l.order, id)
	return nil
}

// form is how one inode is written.
type form struct {
	xattrs int // bytes
	inline int // bytes of data behind the inode
	index  int // bytes of chunk indexes
	plain  uint32
	layout byte
}

func (l *layout) form(n *inode) form {
	f := form{xattrs: l.t.xattrBytes(n)}
	switch n.Mode & TypeMask {
	case TypeRegular:
		f.layout = layoutChunked
		switch {
		case n.marks&scattered != 0:
			f.index = chunkIndexSize * len(l.t.chunks[n.a].Blocks)
		case n.size > 0 && n.marks&Linked == 0:
			f.index = chunkIndexSize
		}
	case TypeDirectory, TypeSymlink:
		if tail := (inodeSize + f.xattrs) % BlockSize; n.size > 0 && tail+int(min(n.size, BlockSize)) <= BlockSize {
			f.layout, f.inline = layoutInline, int(n.size)
		} else {
			f.layout, f.plain = layoutPlain, uint32((n.size+BlockSize-1)/BlockSize)
		}
	}
	return f
}

// bytes is what the inode takes of the inodes' area.
func (f form) bytes() int {
	n := inodeSize + f.xattrs
	if f.index > 0 {
		n = (n+chunkIndexSize-1)&^(chunkIndexSize-1) + f.index
	}
	return n + f.inline
}

// fit gives the first nid from nid on at which the inode itself and its inline
// data lie within one block each: the kernel wants that of the data.
func (f form) fit(nid uint32) uint32 {
	const perBlock = BlockSize / inodeSlot
	next := (nid + perBlock - 1) / perBlock * perBlock
	at := int(nid%perBlock) * inodeSlot
	if at+inodeSize > BlockSize {
		return next
	}
	if data := (at + inodeSize + f.xattrs) % BlockSize; f.inline > 0 && data+f.inline > BlockSize {
		return next
	}
	return nid
}

// xattrBytes is the length of xattrBody.
func (t *Tree) xattrBytes(n *inode) int {
	if n.marks&^scattered != 0 {
		return len(t.xattrBody(n))
	}
	if n.xattrs == 0 {
		return 0
	}
	return xattrHeader + len(t.xattrs.sets[n.xattrs])
}

// sortEntries puts the list of a directory's entries in order, without those that
// are gone. It gives scratch back for the next call.
func (t *Tree) sortEntries(dir ID, scratch []uint32) []uint32 {
	scratch = scratch[:0]
	n := t.at(dir)
	for i := n.a; i != 0; i = t.names.list.at(i - 1).next {
		if t.names.list.at(i-1).inode != 0 {
			scratch = append(scratch, i)
		}
	}
	slices.SortFunc(scratch, func(a, b uint32) int { return bytes.Compare(t.entryName(a), t.entryName(b)) })
	n.a = 0
	for _, i := range slices.Backward(scratch) {
		t.names.list.at(i - 1).next = n.a
		n.a = i
	}
	return scratch
}

func (t *Tree) entryName(i uint32) []byte {
	e := t.names.list.at(i - 1)
	return t.names.text.at(e.name, uint32(e.length))
}

// dirent is one entry as the directory's blocks have it.
type dirent struct {
	name []byte
	id   ID
}

var dot, dotdot = []byte("."), []byte("..")

// eachDirent gives a sorted directory's entries in order, with "." and ".." in
// their places among them.
func (t *Tree) eachDirent(dir ID, yield func(dirent)) {
	own := []dirent{{dot, dir}, {dotdot, t.Parent(dir)}}
	for i := t.at(dir).a; i != 0; {
		name := t.entryName(i)
		if len(own) > 0 && bytes.Compare(own[0].name, name) < 0 {
			yield(own[0])
			own = own[1:]
			continue
		}
		e := t.names.list.at(i - 1)
		yield(dirent{name, ID(e.inode)})
		i = e.next
	}
	for _, d := range own {
		yield(d)
	}
}

// dirSize is the length of a directory's entries, in blocks that no entry crosses.
func (t *Tree) dirSize(dir ID) int64 {
	full, used := int64(0), 0
	t.eachDirent(dir, func(d dirent) {
		if used+direntSize+len(d.name) > BlockSize {
			full++
			used = 0
		}
		used += direntSize + len(d.name)
	})
	return full*BlockSize + int64(used)
}
