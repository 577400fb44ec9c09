package plan

import (
	"encoding/binary"
	"errors"
	"strconv"
)

// writer appends fields: numbers as varints, text and lists behind their
// length.
type writer struct{ buf []byte }

func (w *writer) raw(s string)    { w.buf = append(w.buf, s...) }
func (w *writer) num(v uint64)    { w.buf = binary.AppendUvarint(w.buf, v) }
func (w *writer) u64(v *uint64)   { w.num(*v) }
func (w *writer) u32(v *uint32)   { w.num(uint64(*v)) }
func (w *writer) u16(v *uint16)   { w.num(uint64(*v)) }
func (w *writer) u8(v *byte)      { w.buf = append(w.buf, *v) }
func (w *writer) str(v *string)   { w.num(uint64(len(*v))); w.raw(*v) }
func (w *writer) bytes(v *[]byte) { w.num(uint64(len(*v))); w.buf = append(w.buf, *v...) }

func (w *writer) i32(v *int32) {
	w.num(uint64(uint32(*v<<1) ^ uint32(*v>>31)))
}

func (w *writer) bool(v *bool) {
	var b byte
	if *v {
		b = 1
	}
	w.u8(&b)
}

func (w *writer) ok() bool { return true }

func (w *writer) count(n int) int {
	w.num(uint64(n))
	return n
}

// reader takes fields off the front of buf. After the first error every
// further field is its zero value.
type reader struct {
	buf   []byte
	err   error
	alias bool // texts and bytes stay where they are in buf
}

func (r *reader) fail() {
	r.buf = nil
	if r.err == nil {
		r.err = ErrFormat
	}
}

func (r *reader) header(magic string) {
	if len(r.buf) > MaxEncoded {
		r.err = errors.New("encoded plan of " + strconv.Itoa(len(r.buf)) + " bytes, more than " + strconv.Itoa(MaxEncoded))
		r.buf = nil
		return
	}
	if string(r.take(uint64(len(magic)))) != magic {
		r.fail()
	}
}

func (r *reader) ok() bool { return r.err == nil }

func (r *reader) end() error {
	if len(r.buf) > 0 {
		r.fail()
	}
	return r.err
}

func (r *reader) take(n uint64) []byte {
	if n > uint64(len(r.buf)) {
		r.fail()
		return nil
	}
	b := r.buf[:n]
	r.buf = r.buf[n:]
	return b
}

// num reads a varint of at most limit; a longer form than needed is refused,
// so that each value has one encoding.
func (r *reader) num(limit uint64) uint64 {
	v, n := binary.Uvarint(r.buf)
	if n <= 0 || v > limit || (n > 1 && r.buf[n-1] == 0) {
		r.fail()
		return 0
	}
	r.buf = r.buf[n:]
	return v
}

func (r *reader) u64(v *uint64) { *v = r.num(1<<64 - 1) }
func (r *reader) u32(v *uint32) { *v = uint32(r.num(1<<32 - 1)) }
func (r *reader) u16(v *uint16) { *v = uint16(r.num(1<<16 - 1)) }

func (r *reader) str(v *string) {
	b := r.take(r.num(MaxEncoded))
	if r.alias {
		*v = text(b)
		return
	}
	*v = string(b)
}

func (r *reader) i32(v *int32) {
	u := uint32(r.num(1<<32 - 1))
	*v = int32(u>>1) ^ -int32(u&1)
}

func (r *reader) u8(v *byte) {
	if b := r.take(1); b != nil {
		*v = b[0]
	}
}

func (r *reader) bool(v *bool) {
	var b byte
	r.u8(&b)
	if b > 1 {
		r.fail()
		return
	}
	*v = b == 1
}

func (r *reader) bytes(v *[]byte) {
	b := r.take(r.num(MaxEncoded))
	switch {
	case len(b) == 0:
	case r.alias:
		*v = b
	default:
		*v = append([]byte(nil), b...)
	}
}

func (r *reader) count(int) int {
	n := r.num(MaxEncoded)
	if n > uint64(len(r.buf)) {
		r.fail()
		return 0
	}
	return int(n)
}
