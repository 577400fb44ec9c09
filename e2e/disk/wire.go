package disk

import "encoding/binary"

// What is used of the FUSE protocol (include/uapi/linux/fuse.h), version 7.31.
const (
	opLookup   = 1
	opForget   = 2
	opGetattr  = 3
	opSetattr  = 4
	opOpen     = 14
	opRead     = 15
	opWrite    = 16
	opRelease  = 18
	opFsync    = 20
	opFlush    = 25
	opInit     = 26
	opIntr     = 36
	opDestroy  = 38
	opForgets  = 42
	rootNode   = 1
	fileNode   = 2
	headerIn   = 40
	writeIn    = 40 // of the body, before the data
	maxWrite   = 1 << 20
	bigWrites  = 1 << 5
	manyPages  = 1 << 22
	pageSize   = 4096
	forEver    = 1 << 30 // seconds
	fileName   = "disk"
	modeFile   = 0o100600
	modeFolder = 0o040700
)

var le = binary.LittleEndian

// request is one message of the kernel.
type request struct {
	op     uint32
	unique uint64
	node   uint64
	body   []byte
}

func parse(b []byte) request {
	return request{op: le.Uint32(b[4:]), unique: le.Uint64(b[8:]), node: le.Uint64(b[16:]), body: b[headerIn:]}
}

// reply is the header of an answer, and its body.
func reply(unique uint64, errno int, body []byte) []byte {
	b := make([]byte, 16, 16+len(body))
	le.PutUint32(b, uint32(16+len(body)))
	le.PutUint32(b[4:], uint32(-errno))
	le.PutUint64(b[8:], unique)
	return append(b, body...)
}

// initOut answers the handshake: writes of up to maxWrite, no cache of our own.
func initOut() []byte {
	b := make([]byte, 64)
	le.PutUint32(b, 7)
	le.PutUint32(b[4:], 31)
	le.PutUint32(b[8:], maxWrite) // readahead
	le.PutUint32(b[12:], bigWrites|manyPages)
	le.PutUint16(b[16:], 64)
	le.PutUint16(b[18:], 48)
	le.PutUint32(b[20:], maxWrite)
	le.PutUint32(b[24:], 1)
	le.PutUint16(b[28:], maxWrite/pageSize)
	return b
}

// attr is a node's fuse_attr.
func attr(node uint64, size int64) []byte {
	b := make([]byte, 88)
	le.PutUint64(b, node)
	mode, links := uint32(modeFolder), uint32(2)
	if node == fileNode {
		mode, links = modeFile, 1
		le.PutUint64(b[8:], uint64(size))
		le.PutUint64(b[16:], uint64(size)/512)
	}
	le.PutUint32(b[60:], mode)
	le.PutUint32(b[64:], links)
	le.PutUint32(b[80:], pageSize)
	return b
}

func attrOut(node uint64, size int64) []byte {
	b := make([]byte, 16)
	le.PutUint64(b, forEver)
	return append(b, attr(node, size)...)
}

func entryOut(node uint64, size int64) []byte {
	b := make([]byte, 40)
	le.PutUint64(b, node)
	le.PutUint64(b[16:], forEver)
	le.PutUint64(b[24:], forEver)
	return append(b, attr(node, size)...)
}
