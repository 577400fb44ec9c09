package erofs

import (
	"fmt"
	"io"
	"strings"
)

// Image reads the metadata of a file that Write made. Nothing that it reads is
// trusted: what is not as Write makes it is an ErrFormat. It holds about a
// megabyte however big the file is, and is for one goroutine.
type Image struct {
	r     io.ReaderAt
	super superblock
	meta  int64 // where the inodes begin
	end   int64 // of the metadata

	// left bounds the bytes that may still be read: each inode, directory and link
	// is read once, so that all of it is no more than the file holds, unless
	// pointers lead around in circles.
	left int64

	windows [windowCount]window
	scratch []byte
	block   [BlockSize]byte // the directory block at hand
}

// What is kept in memory of the file: Write puts near each other what is read
// near each other.
const (
	windowSize  = 64 << 10
	windowCount = 16
)

type window struct {
	n   int64 // number + 1
	buf []byte
}

// Open checks the superblock of a file of size bytes.
func Open(r io.ReaderAt, size int64) (*Image, error) {
	head := make([]byte, min(size, DataStart))
	if _, err := r.ReadAt(head, 0); err != nil && err != io.EOF {
		return nil, err
	}
	super, err := decodeSuperblock(head)
	if err != nil {
		return nil, err
	}
	m := &Image{r: r, super: super, meta: int64(super.meta) * BlockSize, end: int64(super.blocks) * BlockSize}
	if m.end > size || m.meta < DataStart || m.meta >= m.end {
		return nil, damaged("metadata from %d to %d in a file of %d bytes", m.meta, m.end, size)
	}
	m.left = m.end - m.meta
	return m, nil
}

// Blocks is the file's length, for a Device.
func (m *Image) Blocks() uint32 { return m.super.blocks }

// bytes gives n bytes of the metadata at an offset of the file. They are good
// until the next call.
func (m *Image) bytes(at, n int64) ([]byte, error) {
	if at < m.meta || n < 0 || n > m.end-at {
		return nil, damaged("%d bytes at %d are not metadata", n, at)
	}
	if at%windowSize+n <= windowSize {
		w, err := m.window(at / windowSize)
		if err != nil {
			return nil, err
		}
		if at%windowSize+n > int64(len(w)) {
			return nil, damaged("the file is cut off at %d", at)
		}
		return w[at%windowSize:][:n], nil
	}
	if int64(len(m.scratch)) < n {
		m.scratch = make([]byte, n)
	}
	if got, err := m.r.ReadAt(m.scratch[:n], at); int64(got) < n {
		return nil, short(err, at)
	}
	return m.scratch[:n], nil
}

// window gives the part of the file with a number, shorter at the file's end.
func (m *Image) window(number int64) ([]byte, error) {
	w := &m.windows[number%windowCount]
	if w.n == number+1 {
		return w.buf, nil
	}
	w.n = 0
	if cap(w.buf) == 0 {
		w.buf = make([]byte, windowSize)
	}
	n, err := m.r.ReadAt(w.buf[:windowSize], number*windowSize)
	if n == 0 || err != nil && err != io.EOF {
		return nil, short(err, number*windowSize)
	}
	w.buf = w.buf[:n]
	w.n = number + 1
	return w.buf, nil
}

func short(err error, at int64) error {
	if err == nil || err == io.EOF {
		return damaged("the file is cut off at %d", at)
	}
	return fmt.Errorf("erofs metadata at %d: %w", at, err)
}

// spend counts bytes that should be read once.
func (m *Image) spend(n int64) error {
	if m.left -= n; m.left < 0 {
		return damaged("more is pointed at than the metadata holds")
	}
	return nil
}

// diskInode is an inode as it lies in the file.
type diskInode struct {
	Attributes
	marks  Marks
	nid    uint64
	links  uint32
	size   int64
	layout byte
	raw    uint32 // block, device number or chunk format
	body   int64  // where its inline data or chunk index is
	xattrs []byte // entries, without those of the marks; good until the next read
	target string // of a Linked file
}

// inode reads an inode with its attributes.
func (m *Image) inode(nid uint64) (n diskInode, err error) {
	if nid > uint64(m.end-m.meta)/inodeSlot {
		return n, damaged("nid %d", nid)
	}
	at := m.meta + int64(nid)*inodeSlot
	b, err := m.bytes(at, inodeSize)
	if err != nil {
		return n, err
	}
	format := le.Uint16(b)
	n = diskInode{
		Attributes: Attributes{
			Mode: le.Uint16(b[4:]), UID: le.Uint32(b[24:]), GID: le.Uint32(b[28:]),
			Seconds: int64(le.Uint64(b[32:])), Nanos: le.Uint32(b[40:]),
		},
		nid: nid, links: le.Uint32(b[44:]), size: int64(le.Uint64(b[8:])), layout: byte(format >> 1), raw: le.Uint32(b[16:]),
	}
	if format&^(7<<1) != 1 || entryTypes[n.Mode&TypeMask] == 0 || n.size < 0 || n.Nanos >= 1e9 {
		return n, damaged("inode %d: format %#x, mode %#o, size %d", nid, format, n.Mode, n.size)
	}
	count := int64(le.Uint16(b[2:]))
	n.body = at + inodeSize
	if err := m.spend(inodeSize); err != nil {
		return n, err
	}
	if count > 0 {
		return n, m.readXattrs(&n, xattrHeader+4*(count-1))
	}
	return n, nil
}

// readXattrs reads the attributes behind an inode's head.
func (m *Image) readXattrs(n *diskInode, size int64) error {
	b, err := m.bytes(n.body, size)
	if err != nil {
		return err
	}
	if err := m.spend(size); err != nil {
		return err
	}
	n.body += size
	if b[4] != 0 {
		return damaged("inode %d: shared attributes", n.nid)
	}
	all, err := parseXattrs(b[xattrHeader:])
	if err != nil {
		return err
	}
	rest := all[:0]
	for i, x := range all {
		if i > 0 && all[i-1].less(x) >= 0 {
			return damaged("inode %d: attributes out of order", n.nid)
		}
		switch x.full() {
		case opaqueXattr:
			n.marks |= Opaque
		case implicitXattr:
			n.marks |= Implicit
		case linkedXattr:
			n.marks |= Linked
			n.target = x.value
		default:
			if strings.HasPrefix(x.full(), "trusted.overlay.") {
				return damaged("inode %d: %s", n.nid, x.full())
			}
			rest = append(rest, x)
		}
	}
	n.xattrs = encodeXattrs(rest)
	return nil
}

// content gives the bytes of a directory or symbolic link from an offset on, at
// most a block.
func (m *Image) content(n *diskInode, from int64) ([]byte, error) {
	size := min(n.size-from, BlockSize)
	if err := m.spend(size); err != nil {
		return nil, err
	}
	switch n.layout {
	case layoutPlain:
		return m.bytes(int64(n.raw)*BlockSize+from, size)
	case layoutInline:
		if n.size > BlockSize || n.body%BlockSize+n.size > BlockSize {
			return nil, damaged("inode %d: %d inline bytes", n.nid, n.size)
		}
		return m.bytes(n.body+from, size)
	}
	return nil, damaged("inode %d: layout %d", n.nid, n.layout)
}

// link gives the target of a symbolic link.
func (m *Image) link(n *diskInode) (string, error) {
	if n.size == 0 || n.size > maxLink {
		return "", damaged("inode %d: a link of %d bytes", n.nid, n.size)
	}
	target := make([]byte, 0, n.size)
	for int64(len(target)) < n.size {
		b, err := m.content(n, int64(len(target)))
		if err != nil {
			return "", err
		}
		target = append(target, b...)
	}
	return string(target), nil
}

// chunks gives the data of a regular file, which lies before the metadata.
func (m *Image) chunks(n *diskInode) (Chunks, error) {
	if n.layout != layoutChunked || n.size > maxFile || n.raw > 0xffff || n.raw&chunkIndexes == 0 || n.raw&^(chunkIndexes|chunkBitsMask) != 0 {
		return Chunks{}, damaged("inode %d: layout %d, format %#x, %d bytes", n.nid, n.layout, n.raw, n.size)
	}
	c := Chunks{Bits: uint8(n.raw & chunkBitsMask)}
	count := c.count(n.size)
	if count > (m.end-m.meta)/chunkIndexSize {
		return Chunks{}, damaged("inode %d: %d chunks", n.nid, count)
	}
	if err := m.spend(count * chunkIndexSize); err != nil {
		return Chunks{}, err
	}
	c.Blocks = make([]uint32, count)
	left := n.size
	for i := range c.Blocks {
		b, err := m.bytes(roundUp(n.body, chunkIndexSize)+int64(i)*chunkIndexSize, chunkIndexSize)
		if err != nil {
			return Chunks{}, err
		}
		c.Blocks[i] = le.Uint32(b[4:])
		at, size := int64(c.Blocks[i])*BlockSize, min(left, BlockSize<<c.Bits)
		left -= size
		if c.Blocks[i] == Hole && le.Uint32(b) == 0 {
			continue
		}
		if le.Uint32(b) != 0 || at < DataStart || at+size > m.meta {
			return Chunks{}, damaged("inode %d: chunk %d at block %d", n.nid, i, c.Blocks[i])
		}
	}
	return c, nil
}
