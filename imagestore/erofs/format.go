package erofs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// BlockSize is the size of a block: that of tar, whose bodies begin at multiples
// of it.
const BlockSize = 512

// Places and sizes of the format.
const (
	blockBits      = 9
	superAt        = 1024
	superSize      = 128
	slotSize       = 128 // of the device table
	inodeSlot      = 32  // nids count these
	inodeSize      = 64  // extended
	chunkIndexSize = 8
	direntSize     = 12

	// DataStart is where data may begin: the superblock lies before it.
	DataStart = 4096
)

const (
	magic = 0xE0F5E1E2

	compatChecksum = 0x1
	compatMtime    = 0x2

	incompatChunked = 0x4
	incompatDevices = 0x8
)

// The layouts of an inode's data, as in bits 1 to 3 of its format.
const (
	layoutPlain   = 0
	layoutInline  = 2
	layoutChunked = 4
)

const (
	chunkIndexes  = 0x20 // the format of a chunked inode: 8-byte indexes
	chunkBitsMask = 0x1f
	maxChunkBits  = 31
	nullBlock     = 1<<32 - 1 // the address of a hole
)

var (
	le = binary.LittleEndian

	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// ErrFormat is for what is no file system of this package's making, or a damaged one.
var ErrFormat = errors.New("not a sound erofs file system")

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrFormat, fmt.Sprintf(format, args...))
}

// superblock is what of the superblock is used here.
type superblock struct {
	inodes  uint64
	blocks  uint32
	meta    uint32 // block
	root    uint16 // nid
	devices uint16
	table   uint16 // of devices, in slots
}

// encode gives the first DataStart bytes of the file.
func (s *superblock) encode() []byte {
	head := make([]byte, DataStart)
	b := head[superAt:]
	le.PutUint32(b, magic)
	le.PutUint32(b[8:], compatChecksum|compatMtime)
	b[12] = blockBits
	le.PutUint16(b[14:], s.root)
	le.PutUint64(b[16:], s.inodes)
	le.PutUint32(b[36:], s.blocks)
	le.PutUint32(b[40:], s.meta)
	copy(b[64:80], "varve")
	incompat := uint32(incompatChunked)
	if s.devices > 0 {
		incompat |= incompatDevices
		le.PutUint16(b[88:], s.table)
	}
	le.PutUint32(b[80:], incompat)
	le.PutUint16(b[86:], s.devices)
	le.PutUint32(b[4:], checksum(b[:BlockSize]))
	return head
}

// checksum is of the superblock's block with the checksum's own field zero; the
// kernel does not invert it at the end.
func checksum(block []byte) uint32 {
	var b [BlockSize]byte
	copy(b[:], block)
	le.PutUint32(b[4:], 0)
	return ^crc32.Checksum(b[:], castagnoli)
}

// decodeSuperblock checks the first bytes of a file.
func decodeSuperblock(head []byte) (s superblock, err error) {
	if len(head) < superAt+BlockSize {
		return s, damaged("%d bytes are too short", len(head))
	}
	b := head[superAt : superAt+BlockSize]
	incompat := le.Uint32(b[80:])
	switch {
	case le.Uint32(b) != magic:
		return s, damaged("no superblock")
	case le.Uint32(b[4:]) != checksum(b):
		return s, damaged("the superblock's checksum does not match")
	case b[12] != blockBits || b[13] != 0 || b[90] != 0:
		return s, damaged("blocks of 2^%d bytes", b[12])
	case incompat&^(incompatChunked|incompatDevices) != 0:
		return s, damaged("features %#x", incompat)
	}
	return superblock{
		inodes: le.Uint64(b[16:]), blocks: le.Uint32(b[36:]), meta: le.Uint32(b[40:]),
		root: le.Uint16(b[14:]), devices: le.Uint16(b[86:]), table: le.Uint16(b[88:]),
	}, nil
}

// Device is a file that a joined file system takes data from.
type Device struct {
	Tag    string // for people, at most 64 bytes; not empty
	Blocks uint32
}

func (d Device) encode() []byte {
	b := make([]byte, slotSize)
	copy(b[:64], d.Tag)
	le.PutUint32(b[64:], d.Blocks)
	return b
}

// The types of directory entries.
const (
	entryRegular = iota + 1
	entryDirectory
	entryCharacter
	entryBlock
	entryFifo
	entrySocket
	entrySymlink
)

var entryTypes = map[uint16]byte{
	TypeRegular: entryRegular, TypeDirectory: entryDirectory, TypeSymlink: entrySymlink,
	TypeCharacter: entryCharacter, TypeBlock: entryBlock, TypeFifo: entryFifo,
}
