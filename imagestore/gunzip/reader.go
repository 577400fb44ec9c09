package gunzip

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
)

// ErrHeader is for what does not begin as gzip does.
var ErrHeader = errors.New("not gzip")

// ErrChecksum is for bytes that are not what the stream's end says of them.
var ErrChecksum = errors.New("checksum or size is not what the stream says")

// Source hands over the compressed bytes in pieces, which are the caller's until the
// next call; io.EOF comes alone.
type Source interface{ Next() ([]byte, error) }

// Reader inflates gzip. It is not for use by several goroutines.
type Reader struct {
	f     *inflater
	sum   uint32
	size  uint32
	begun bool // in a member
	err   error
}

// NewReader reads from a source; the first Read looks at the header.
func NewReader(from Source) *Reader { return &Reader{f: newInflater(from.Next)} }

// Read implements io.Reader. It fills p unless the end or an error comes before.
func (r *Reader) Read(p []byte) (n int, err error) {
	for n < len(p) && r.err == nil {
		if !r.begun {
			if r.err = r.header(); r.err != nil {
				break
			}
			r.begun = true
		}
		m, err := r.f.decode(p[n:])
		r.sum = crc32.Update(r.sum, crc32.IEEETable, p[n:n+m])
		r.size += uint32(m)
		n += m
		if err == io.EOF {
			if err = r.trailer(); err == nil {
				r.begun = false
				err = r.another()
			}
		}
		r.err = err
	}
	if n > 0 {
		return n, nil
	}
	return 0, r.err
}

// another tells by io.EOF that no member follows.
func (r *Reader) another() error {
	if r.f.have > 0 {
		return nil
	}
	return r.f.in.more()
}

// bytes reads the next bytes of what is not compressed.
func (r *Reader) bytes(b []byte) error {
	for i := range b {
		if err := r.f.need(8); err != nil {
			return err
		}
		b[i] = byte(r.f.take(8))
	}
	return nil
}

// The flags of a header (RFC 1952, 2.3.1).
const (
	flagSum     = 1 << 1
	flagExtra   = 1 << 2
	flagName    = 1 << 3
	flagComment = 1 << 4
)

// header reads a member's header, of which nothing is kept.
func (r *Reader) header() error {
	var b [10]byte
	if err := r.bytes(b[:]); err != nil {
		return err
	}
	if b[0] != 0x1f || b[1] != 0x8b || b[2] != 8 {
		return ErrHeader
	}
	sum := crc32.ChecksumIEEE(b[:])
	flags := b[3]
	if flags&flagExtra != 0 {
		size := b[:2]
		if err := r.bytes(size); err != nil {
			return err
		}
		extra := make([]byte, binary.LittleEndian.Uint16(size))
		if err := r.bytes(extra); err != nil {
			return err
		}
		sum = crc32.Update(crc32.Update(sum, crc32.IEEETable, size), crc32.IEEETable, extra)
	}
	for _, flag := range []byte{flagName, flagComment} {
		if flags&flag == 0 {
			continue
		}
		for c := b[:1]; ; {
			if err := r.bytes(c); err != nil {
				return err
			}
			sum = crc32.Update(sum, crc32.IEEETable, c)
			if c[0] == 0 {
				break
			}
		}
	}
	if flags&flagSum != 0 {
		if err := r.bytes(b[:2]); err != nil {
			return err
		}
		if binary.LittleEndian.Uint16(b[:2]) != uint16(sum) {
			return ErrHeader
		}
	}
	r.f.start()
	r.sum, r.size = 0, 0
	return nil
}

// trailer compares what came with what should have come.
func (r *Reader) trailer() error {
	var b [8]byte
	if err := r.bytes(b[:]); err != nil {
		return err
	}
	if binary.LittleEndian.Uint32(b[:]) != r.sum || binary.LittleEndian.Uint32(b[4:]) != r.size {
		return ErrChecksum
	}
	return nil
}
