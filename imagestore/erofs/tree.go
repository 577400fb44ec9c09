package erofs

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// The types of inodes, as in stat's mode.
const (
	TypeMask      = unix.S_IFMT
	TypeRegular   = unix.S_IFREG
	TypeDirectory = unix.S_IFDIR
	TypeSymlink   = unix.S_IFLNK
	TypeCharacter = unix.S_IFCHR
	TypeBlock     = unix.S_IFBLK
	TypeFifo      = unix.S_IFIFO
)

// The longest name, symbolic link and path, as in the kernel.
const (
	maxName = unix.NAME_MAX
	maxLink = unix.PathMax - 1
)

// maxFile is what one chunk can be: 2^31 blocks.
const maxFile = BlockSize << 31

// ErrFull is for trees that hold more than Bounds allow.
var ErrFull = errors.New("the tree holds more than is allowed")

// ErrInodes is the ErrFull of too many inodes.
var ErrInodes = fmt.Errorf("inodes: %w", ErrFull)

// Bounds are how much memory a tree may take: inodes, and bytes of names, symbolic
// links and attributes.
type Bounds struct {
	Inodes int64
	Text   int64
}

// maxBounds are what the indexes can hold.
var maxBounds = Bounds{Inodes: 1<<31 - 1, Text: 1 << 31}

// ID names an inode of one tree. The zero ID is none.
type ID uint32

// Root is the directory that every tree has.
const Root ID = 1

// Attributes are an inode's mode with its type, owner and time.
type Attributes struct {
	Mode     uint16
	UID, GID uint32
	Seconds  int64 // of the modification time, since 1970
	Nanos    uint32
}

// Marks are what a layer says about one of its inodes to the layers below it.
type Marks uint8

const (
	// Opaque directories hide what lies below them (trusted.overlay.opaque).
	Opaque Marks = 1 << iota
	// Implicit directories were never described: their attributes are to come from
	// the layer below (trusted.varve.implicit).
	Implicit
	// Linked regular files are names for a file of a layer below, whose path they
	// hold in the place of content (trusted.varve.link).
	Linked

	// scattered files have a map of chunks. It is nobody's to set.
	scattered Marks = 1 << 7
)

// inode is one of a tree. The fields without a name of their own mean, by type:
type inode struct {
	Attributes
	marks  Marks
	device uint16 // of the data
	links  uint32 // names; a directory has one
	xattrs uint32 // set
	size   int64  // of a regular file, a link's or marker's text, a directory's entries when laid out
	a      uint32 // data block, map of chunks, device number, text, or a directory's first entry + 1
	b      uint32 // a directory's parent
}

// Tree is the names and inodes of a file system.
type Tree struct {
	bounds Bounds
	used   int64 // bytes of text
	names  names
	inodes slab[inode]
	xattrs xattrSets
	chunks []Chunks
}

// NewTree gives a tree of an empty root directory.
func NewTree(b Bounds) *Tree {
	t := &Tree{names: newNames(), bounds: Bounds{min(b.Inodes, maxBounds.Inodes), min(b.Text, maxBounds.Text)}}
	t.xattrs.init()
	t.inodes.add(inode{})
	t.inodes.add(inode{Attributes: Attributes{Mode: TypeDirectory | 0o755}, links: 1, b: uint32(Root)})
	return t
}

// Len is the number of inodes ever made.
func (t *Tree) Len() int { return int(t.inodes.n) - 1 }

func (t *Tree) at(id ID) *inode { return t.inodes.at(uint32(id)) }

// Attributes gives an inode's attributes.
func (t *Tree) Attributes(id ID) Attributes { return t.at(id).Attributes }

// SetAttributes changes all but the inode's type.
func (t *Tree) SetAttributes(id ID, a Attributes) {
	n := t.at(id)
	a.Mode = a.Mode&^TypeMask | n.Mode&TypeMask
	n.Attributes = a
}

// Is tells whether an inode is of a type.
func (t *Tree) Is(id ID, kind uint16) bool { return t.at(id).Mode&TypeMask == kind }

// IsWhiteout tells whether an inode hides its name in the layers below.
func (t *Tree) IsWhiteout(id ID) bool {
	n := t.at(id)
	return n.Mode&TypeMask == TypeCharacter && n.a == 0
}

// Marks gives an inode's marks.
func (t *Tree) Marks(id ID) Marks { return t.at(id).marks }

// Mark sets marks of an inode.
func (t *Tree) Mark(id ID, m Marks) { t.at(id).marks |= m }

// Unmark clears marks of an inode.
func (t *Tree) Unmark(id ID, m Marks) { t.at(id).marks &^= m }

// Parent gives the directory that a directory is in; the root is in itself.
func (t *Tree) Parent(dir ID) ID { return ID(t.at(dir).b) }

// Links gives the number of an inode's names.
func (t *Tree) Links(id ID) int { return int(t.at(id).links) }

// Text gives a symbolic link's target, or the path that a Linked file names.
func (t *Tree) Text(id ID) string {
	n := t.at(id)
	if n.Mode&TypeMask != TypeSymlink && n.marks&Linked == 0 {
		return ""
	}
	return string(t.names.text.at(n.a, uint32(n.size)))
}

// Lookup gives the inode of a name in a directory, or 0.
func (t *Tree) Lookup(dir ID, name string) ID {
	if e := t.names.find(uint32(dir), name); e != nil {
		return ID(e.inode)
	}
	return 0
}

// Extent is where a regular file's data lies: Size bytes from Block on. Block
// counts blocks of the device; device 0 is the file of the metadata itself.
type Extent struct {
	Device uint16
	Block  uint32
	Size   int64
}

// Shift moves a regular file's data by a number of blocks.
func (t *Tree) Shift(id ID, by uint32) {
	n := t.at(id)
	switch {
	case n.marks&scattered != 0:
		for i, b := range t.chunks[n.a].Blocks {
			if b != Hole {
				t.chunks[n.a].Blocks[i] = b + by
			}
		}
	case n.size > 0:
		n.a += by
	}
}

// Mkdir puts a directory in a directory, in the place of what has the name.
func (t *Tree) Mkdir(dir ID, name string, a Attributes) (ID, error) {
	return t.put(dir, name, inode{Attributes: typed(a, TypeDirectory), b: uint32(dir)})
}

// File puts a regular file in a directory, in the place of what has the name.
func (t *Tree) File(dir ID, name string, a Attributes, data Extent) (ID, error) {
	if data.Size < 0 || data.Size > maxFile {
		return 0, unix.EFBIG
	}
	return t.put(dir, name, inode{Attributes: typed(a, TypeRegular), device: data.Device, a: data.Block, size: data.Size})
}

// Hole is the block of a chunk that has no data.
const Hole = nullBlock

// Chunks is a sparse file's data: pieces of 2^Bits blocks, each where its entry of
// Blocks says. The last piece may be shorter.
type Chunks struct {
	Device uint16
	Bits   uint8
	Blocks []uint32
}

// Sparse puts a regular file in a directory whose data lies in chunks.
func (t *Tree) Sparse(dir ID, name string, a Attributes, size int64, c Chunks) (ID, error) {
	if size < 0 || size > maxFile || c.Bits > maxChunkBits || int64(len(c.Blocks)) != c.count(size) {
		return 0, unix.EFBIG
	}
	if err := t.take(4 * len(c.Blocks)); err != nil {
		return 0, err
	}
	t.chunks = append(t.chunks, c)
	return t.put(dir, name, inode{
		Attributes: typed(a, TypeRegular), marks: scattered, device: c.Device, a: uint32(len(t.chunks) - 1), size: size,
	})
}

// count is the number of chunks that a file of size bytes has.
func (c Chunks) count(size int64) int64 {
	chunk := int64(BlockSize) << c.Bits
	return (size + chunk - 1) / chunk
}

// Symlink puts a symbolic link in a directory, in the place of what has the name.
func (t *Tree) Symlink(dir ID, name string, a Attributes, target string) (ID, error) {
	a.Mode = 0o777
	return t.putText(dir, name, target, inode{Attributes: typed(a, TypeSymlink)})
}

// LinkBelow puts a Linked file in a directory, in the place of what has the name.
func (t *Tree) LinkBelow(dir ID, name, target string) (ID, error) {
	return t.putText(dir, name, target, inode{Attributes: Attributes{Mode: TypeRegular}, marks: Linked})
}

func (t *Tree) putText(dir ID, name, s string, n inode) (ID, error) {
	switch {
	case s == "":
		return 0, unix.ENOENT
	case len(s) > maxLink:
		return 0, unix.ENAMETOOLONG
	}
	if err := t.take(len(s)); err != nil {
		return 0, err
	}
	n.a, n.size = t.names.text.add(s), int64(len(s))
	return t.put(dir, name, n)
}

// Node puts a device or fifo of the mode's type in a directory, in the place of
// what has the name. rdev is Linux's number, with at most 32 bits.
func (t *Tree) Node(dir ID, name string, a Attributes, rdev uint32) (ID, error) {
	return t.put(dir, name, inode{Attributes: a, a: rdev})
}

// Link gives an inode that is no directory one more name, in the place of what
// has it.
func (t *Tree) Link(dir ID, name string, id ID) error {
	if t.Is(id, TypeDirectory) {
		return unix.EPERM
	}
	t.at(id).links++ // before the old name goes, which may be of the same inode
	err := t.enter(dir, name, id)
	if err != nil {
		t.at(id).links--
	}
	return err
}

// Remove takes a name away, with all that is below it.
func (t *Tree) Remove(dir ID, name string) {
	if e := t.names.find(uint32(dir), name); e != nil {
		t.drop(e)
	}
}

// Clear takes away all that a directory holds.
func (t *Tree) Clear(dir ID) {
	for i := t.at(dir).a; i != 0; {
		e := t.names.list.at(i - 1)
		t.drop(e)
		i = e.next
	}
}

func typed(a Attributes, kind uint16) Attributes {
	a.Mode = a.Mode&^TypeMask | kind
	return a
}

func (t *Tree) put(dir ID, name string, n inode) (ID, error) {
	if int64(t.inodes.n) > t.bounds.Inodes {
		return 0, fmt.Errorf("more than %d %w", t.bounds.Inodes, ErrInodes)
	}
	if err := checkName(name); err != nil {
		return 0, err
	}
	n.links = 1
	id := ID(t.inodes.add(n))
	return id, t.enter(dir, name, id)
}

// enter gives a name to an inode.
func (t *Tree) enter(dir ID, name string, id ID) error {
	if err := checkName(name); err != nil {
		return err
	}
	if e := t.names.find(uint32(dir), name); e != nil {
		t.drop(e)
		e.inode = uint32(id)
		return nil
	}
	if err := t.take(len(name)); err != nil {
		return err
	}
	d := t.at(dir)
	d.a = 1 + t.names.add(entry{dir: uint32(dir), next: d.a, inode: uint32(id)}, name)
	return nil
}

func checkName(name string) error {
	switch {
	case len(name) > maxName:
		return unix.ENAMETOOLONG
	case name == "" || name == "." || name == "..":
		return unix.EINVAL
	}
	for i := range len(name) {
		if name[i] == 0 || name[i] == '/' {
			return unix.EINVAL
		}
	}
	return nil
}

// drop takes the inode from an entry, and the entries below it from a directory.
func (t *Tree) drop(e *entry) {
	id := ID(e.inode)
	if e.inode = 0; id == 0 {
		return
	}
	n := t.at(id)
	n.links--
	if n.Mode&TypeMask != TypeDirectory {
		return
	}
	// Depth first without recursion: the depth is the archive's choice.
	below := []uint32{n.a}
	for len(below) > 0 {
		i := below[len(below)-1]
		if i == 0 {
			below = below[:len(below)-1]
			continue
		}
		e := t.names.list.at(i - 1)
		below[len(below)-1] = e.next
		if e.inode == 0 {
			continue
		}
		child := t.at(ID(e.inode))
		e.inode = 0
		child.links--
		if child.Mode&TypeMask == TypeDirectory {
			below = append(below, child.a)
		}
	}
}

// take counts bytes of text.
func (t *Tree) take(n int) error {
	if t.used += int64(n); t.used > t.bounds.Text {
		return fmt.Errorf("more than %d bytes of names and attributes: %w", t.bounds.Text, ErrFull)
	}
	return nil
}
