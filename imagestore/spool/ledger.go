package spool

import (
	"encoding/binary"
	"hash/crc32"
)

// The ledger is a header and then a record for each whole chunk:
//
//	header: magic (8) | size of the blob (8) | offset of the first byte (8) | check (4)
//	record: checksum of the chunk (4) | check (4)
//
// all little-endian. The checks cover the digest's name, the place in the ledger
// and the value, so that no other file's bytes, and no zeros, pass for a record.
const (
	magic       = 0x31304c4f4f505356 // "VSPOOL01"
	headerBytes = 28
	recordBytes = 8
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ledger makes and reads the header and the records of one blob.
type ledger struct {
	name string // the file's, which is the digest's
	size int64
	from int64
}

func (l *ledger) header() []byte {
	b := make([]byte, 0, headerBytes)
	b = binary.LittleEndian.AppendUint64(b, magic)
	b = binary.LittleEndian.AppendUint64(b, uint64(l.size))
	b = binary.LittleEndian.AppendUint64(b, uint64(l.from))
	return binary.LittleEndian.AppendUint32(b, crc32.Update(crc32.Checksum([]byte(l.name), castagnoli), castagnoli, b))
}

func (l *ledger) record(index int, sum uint32) []byte {
	b := binary.LittleEndian.AppendUint32(make([]byte, 0, recordBytes), sum)
	seed := l.header() // with the place in it, so that a record is good in one place only
	seed = binary.LittleEndian.AppendUint64(seed, uint64(index))
	return binary.LittleEndian.AppendUint32(b, crc32.Update(crc32.Checksum(seed, castagnoli), castagnoli, b))
}

// parseLedger reads what a ledger says: the offset of the first byte and the
// checksums up to the first record that is none. ok is false when it is not the
// ledger of this blob.
func parseLedger(name string, size int64, data []byte) (from int64, sums []uint32, ok bool) {
	if len(data) < headerBytes {
		return 0, nil, false
	}
	from = int64(binary.LittleEndian.Uint64(data[16:]))
	l := &ledger{name: name, size: size, from: from}
	if string(l.header()) != string(data[:headerBytes]) || from < 0 || from >= size {
		return 0, nil, false
	}
	for i, at := 0, headerBytes; at+recordBytes <= len(data); i, at = i+1, at+recordBytes {
		sum := binary.LittleEndian.Uint32(data[at:])
		if string(l.record(i, sum)) != string(data[at:at+recordBytes]) || from+int64(i+1)*chunkBytes > size {
			break
		}
		sums = append(sums, sum)
	}
	return from, sums, true
}
