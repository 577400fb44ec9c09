package erofs

import (
	"bufio"
	"fmt"
	"io"
	"math/bits"
)

// writeBuffer is how much goes to the file at once.
const writeBuffer = 256 << 10

// Write writes the tree from the offset at on, a multiple of DataStart, then the
// superblock, and gives the file's length. Extents of device 0 are blocks of the
// same file, those of device n are of devices[n-1]. The same tree gives the same
// bytes. It does not sync. The tree's entries are put in order, and the tree may be
// used on.
func (t *Tree) Write(f io.WriterAt, at int64, devices []Device) (size int64, err error) {
	if at < DataStart || at%DataStart != 0 || len(devices) > 1<<16-1 || len(devices) > 0 && at/slotSize >= 1<<16 {
		return 0, fmt.Errorf("erofs metadata of %d devices at %d: not a place for it", len(devices), at)
	}
	l, err := t.plan()
	if err != nil {
		return 0, err
	}
	meta := roundUp(at+int64(len(devices))*slotSize, DataStart)
	plain := roundUp(meta+int64(l.nid)*inodeSlot, BlockSize)
	size = plain + int64(l.plain)*BlockSize
	if size/BlockSize > nullBlock {
		return 0, fmt.Errorf("an erofs file of %d bytes: %w", size, ErrFull)
	}
	w := &writer{l: l, t: t, out: bufio.NewWriterSize(io.NewOffsetWriter(f, at), writeBuffer), at: at, plain: uint32(plain / BlockSize)}
	for _, d := range devices {
		w.write(d.encode())
	}
	w.padTo(meta)
	for i, id := range l.order {
		w.padTo(meta + int64(l.slots[id])*inodeSlot)
		w.inode(uint32(i)+1, id)
	}
	w.padTo(plain)
	for _, id := range l.order {
		w.blocks(id)
	}
	w.padTo(size)
	if err := w.out.Flush(); err != nil {
		return 0, err
	}
	super := superblock{
		inodes: uint64(len(l.order)), blocks: uint32(size / BlockSize), meta: uint32(meta / BlockSize), root: uint16(l.slots[Root]),
		devices: uint16(len(devices)), table: uint16(at / slotSize),
	}
	_, err = f.WriteAt(super.encode(), 0)
	return size, err
}

func roundUp(n, to int64) int64 { return (n + to - 1) / to * to }

// writer is the second pass: it writes what the layout says, from front to back.
// Errors stay in the bufio.Writer until Flush.
type writer struct {
	l     *layout
	t     *Tree
	out   *bufio.Writer
	at    int64
	plain uint32 // next free block behind the inodes
	block dirBlock
}

func (w *writer) write(b []byte) {
	_, _ = w.out.Write(b)
	w.at += int64(len(b))
}

var zeros [DataStart]byte

func (w *writer) padTo(at int64) {
	for w.at < at {
		w.write(zeros[:min(at-w.at, int64(len(zeros)))])
	}
}

// inode writes one inode with all that follows it.
func (w *writer) inode(number uint32, id ID) {
	n := w.t.at(id)
	f := w.l.form(n)
	xattrs := w.t.xattrBody(n)
	var b [inodeSize]byte
	le.PutUint16(b[0:], 1|uint16(f.layout)<<1)
	if len(xattrs) > 0 {
		le.PutUint16(b[2:], uint16((len(xattrs)-xattrHeader)/4+1))
	}
	le.PutUint16(b[4:], n.Mode)
	le.PutUint64(b[8:], uint64(n.size))
	le.PutUint32(b[20:], number)
	le.PutUint32(b[24:], n.UID)
	le.PutUint32(b[28:], n.GID)
	le.PutUint64(b[32:], uint64(n.Seconds))
	le.PutUint32(b[40:], n.Nanos)
	le.PutUint32(b[44:], n.links)
	switch n.Mode & TypeMask {
	case TypeRegular:
		if n.marks&Linked != 0 {
			le.PutUint64(b[8:], 0)
		}
		le.PutUint16(b[16:], w.t.chunkFormat(n))
	case TypeDirectory:
		le.PutUint32(b[44:], w.t.dirLinks(id))
		w.plainStart(b[16:], f)
	case TypeSymlink:
		w.plainStart(b[16:], f)
	default:
		le.PutUint64(b[8:], 0)
		le.PutUint32(b[16:], n.a)
	}
	w.write(b[:])
	w.write(xattrs)
	switch {
	case f.index > 0:
		w.padTo(roundUp(w.at, chunkIndexSize))
		w.chunks(n)
	case f.inline > 0:
		w.data(id)
	}
}

// plainStart gives blocks to an inode whose data does not lie behind it.
func (w *writer) plainStart(b []byte, f form) {
	if f.layout == layoutPlain {
		le.PutUint32(b, w.plain)
		w.plain += f.plain
	}
}

// chunks writes where a file's data is.
func (w *writer) chunks(n *inode) {
	blocks := []uint32{n.a}
	if n.marks&scattered != 0 {
		blocks = w.t.chunks[n.a].Blocks
	}
	for _, b := range blocks {
		var index [chunkIndexSize]byte
		if b != Hole {
			le.PutUint16(index[2:], n.device)
		}
		le.PutUint32(index[4:], b)
		w.write(index[:])
	}
}

// chunkFormat makes one chunk of the whole file, if it has no map of chunks.
func (t *Tree) chunkFormat(n *inode) uint16 {
	if n.marks&scattered != 0 {
		return chunkIndexes | uint16(t.chunks[n.a].Bits)
	}
	blocks := uint64(n.size+BlockSize-1) / BlockSize
	if blocks <= 1 {
		return chunkIndexes
	}
	return chunkIndexes | uint16(bits.Len64(blocks-1))
}

// dirLinks counts a directory's names: its own, ".", and its children's "..".
func (t *Tree) dirLinks(dir ID) uint32 {
	links := uint32(2)
	for i := t.at(dir).a; i != 0; i = t.names.list.at(i - 1).next {
		if id := ID(t.names.list.at(i - 1).inode); id != 0 && t.Is(id, TypeDirectory) {
			links++
		}
	}
	return links
}

// blocks writes the data that lies behind the inodes.
func (w *writer) blocks(id ID) {
	n := w.t.at(id)
	if kind := n.Mode & TypeMask; kind != TypeDirectory && kind != TypeSymlink {
		return
	}
	if f := w.l.form(n); f.layout == layoutPlain && f.plain > 0 {
		w.data(id)
		w.padTo(roundUp(w.at, BlockSize))
	}
}

// data writes a symbolic link's target or a directory's entries.
func (w *writer) data(id ID) {
	n := w.t.at(id)
	if n.Mode&TypeMask == TypeSymlink {
		w.write(w.t.linkText(n))
		return
	}
	w.t.eachDirent(id, func(d dirent) {
		if !w.block.fits(d.name) {
			w.flush(true)
		}
		w.block.add(d.name, uint64(w.l.slots[d.id]), entryTypes[w.t.at(d.id).Mode&TypeMask])
	})
	w.flush(false)
}

// flush writes the directory block at hand, and fills it up if another follows.
func (w *writer) flush(more bool) {
	b := &w.block
	for i := 0; i < len(b.heads); i += direntSize {
		le.PutUint16(b.heads[i+8:], le.Uint16(b.heads[i+8:])+uint16(len(b.heads)))
	}
	w.write(b.heads)
	w.write(b.names)
	if more {
		w.write(zeros[:BlockSize-len(b.heads)-len(b.names)])
	}
	b.heads, b.names = b.heads[:0], b.names[:0]
}

// dirBlock gathers one block of a directory: heads first, then names.
type dirBlock struct{ heads, names []byte }

func (b *dirBlock) fits(name []byte) bool {
	return len(b.heads)+len(b.names)+direntSize+len(name) <= BlockSize
}

// add appends an entry, whose name's offset is counted from the first name until
// the number of heads is known.
func (b *dirBlock) add(name []byte, nid uint64, kind byte) {
	b.heads = le.AppendUint64(b.heads, nid)
	b.heads = le.AppendUint16(b.heads, uint16(len(b.names)))
	b.heads = append(b.heads, kind, 0)
	b.names = append(b.names, name...)
}
