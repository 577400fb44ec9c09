package proto

import (
	"encoding/binary"
	"errors"
)

// ErrFormat is the error of a message that is not of this protocol.
var ErrFormat = errors.New("malformed message")

// coder is a walk over the fields of a body. writer and reader implement it,
// so that one list of fields serves both ways.
type coder interface {
	num(v uint64) uint64 // what is written, or what was read
	text(s *string, limit int)
	bytes(b *[]byte, limit int)
}

type writer struct{ buf []byte }

func (w *writer) num(v uint64) uint64 {
	w.buf = binary.AppendUvarint(w.buf, v)
	return v
}

// text cuts what is too long: only messages for people can be.
func (w *writer) text(s *string, limit int) {
	t := *s
	if len(t) > limit {
		t = t[:limit]
	}
	w.buf = binary.AppendUvarint(w.buf, uint64(len(t)))
	w.buf = append(w.buf, t...)
}

func (w *writer) bytes(b *[]byte, _ int) {
	w.buf = binary.AppendUvarint(w.buf, uint64(len(*b)))
	w.buf = append(w.buf, *b...)
}

// reader takes fields off the front of buf. A field that begins at the end of
// buf is one that an older peer does not know: it keeps its zero value.
type reader struct {
	buf []byte
	err error
}

func (r *reader) fail() {
	r.buf, r.err = nil, ErrFormat
}

func (r *reader) num(v uint64) uint64 {
	if len(r.buf) == 0 {
		return v
	}
	n, size := binary.Uvarint(r.buf)
	if size <= 0 {
		r.fail()
		return v
	}
	r.buf = r.buf[size:]
	return n
}

func (r *reader) take(limit int) []byte {
	n := r.num(0)
	if n > uint64(limit) || n > uint64(len(r.buf)) {
		r.fail()
		return nil
	}
	b := r.buf[:n]
	r.buf = r.buf[n:]
	return b
}

func (r *reader) text(s *string, limit int) { *s = string(r.take(limit)) }

func (r *reader) bytes(b *[]byte, limit int) { *b = r.take(limit) }

// u32, u16, i32, i64 and flag are the narrower fields, on top of num.

func u32(c coder, v *uint32) {
	n := c.num(uint64(*v))
	narrow(c, n, 1<<32-1)
	*v = uint32(n)
}

func u16(c coder, v *uint16) {
	n := c.num(uint64(*v))
	narrow(c, n, 1<<16-1)
	*v = uint16(n)
}

func u64(c coder, v *uint64) { *v = c.num(*v) }

func zigzag(c coder, v int64) int64 {
	n := c.num(uint64(v<<1) ^ uint64(v>>63))
	return int64(n>>1) ^ -int64(n&1)
}

func i64(c coder, v *int64) { *v = zigzag(c, *v) }

func i32(c coder, v *int32) {
	n := zigzag(c, int64(*v))
	if int64(int32(n)) != n {
		narrow(c, 1, 0)
	}
	*v = int32(n)
}

func flag(c coder, v *bool) {
	var n uint64
	if *v {
		n = 1
	}
	n = c.num(n)
	narrow(c, n, 1)
	*v = n == 1
}

func narrow(c coder, n, limit uint64) {
	if r, ok := c.(*reader); ok && n > limit {
		r.fail()
	}
}
