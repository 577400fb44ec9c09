package stream

import (
	"context"
	"encoding/binary"
)

// smallWindow is the zstd window that every layer may have at the same time; all
// levels of zstd but --ultra and --long stay within it (RFC 8878, section 3.1.1.1.2,
// recommends that decoders support 8 MiB).
const smallWindow = 8 << 20

// bigWindow is held by the one layer of the process whose window may be larger: a
// decoder keeps the whole window in memory, and layers are unpacked in parallel.
var bigWindow = make(chan struct{}, 1)

// windows passes a zstd stream on to its decoder, frame by frame, and makes it wait
// before the first frame that needs a big window until no other layer has one.
// It checks nothing: from where it cannot follow, the bytes pass as they are, and
// the decoder says what is wrong with them.
type windows struct {
	src     *source
	ctx     context.Context //nolint:containedctx // that of the one who reads
	pass    int64           // bytes to the next header
	inFrame bool            // the next header is a block's
	sum     int64           // bytes of the checksum behind the frame's last block
	lost    bool            // the rest is not followed
	big     bool            // bigWindow is ours
}

// Read implements io.Reader. Waiting ends with the context.
func (w *windows) Read(p []byte) (int, error) {
	if w.pass == 0 && !w.lost {
		if err := w.header(); err != nil {
			return 0, err
		}
	}
	if !w.lost && int64(len(p)) > w.pass {
		p = p[:w.pass]
	}
	n, err := w.src.Read(p)
	w.pass -= int64(n)
	return n, err
}

// Close lets another layer have a big window.
func (w *windows) Close() {
	if w.big {
		w.big = false
		<-bigWindow
	}
}

// look gives the first n bytes of the header that comes next. Where there are none,
// the rest is not followed.
func (w *windows) look(n int) (b []byte, ok bool) {
	b, err := w.src.peek(n)
	w.lost = w.lost || err != nil
	return b, err == nil
}

// header looks at the header that comes next and says how far the one after it is.
func (w *windows) header() error {
	if w.inFrame {
		w.block()
		return nil
	}
	magic, ok := w.look(4)
	switch {
	case !ok:
	case magic[0]&0xf0 == 0x50 && string(magic[1:]) == string(zstdSkipMagics):
		if b, ok := w.look(8); ok {
			w.pass = 8 + int64(binary.LittleEndian.Uint32(b[4:]))
		}
	case string(magic) == string(zstdMagic):
		return w.frame()
	default:
		w.lost = true
	}
	return nil
}

// block follows RFC 8878, section 3.1.1.2.
func (w *windows) block() {
	b, ok := w.look(3)
	if !ok {
		return
	}
	head := int64(b[0]) | int64(b[1])<<8 | int64(b[2])<<16
	size := head >> 3
	if head>>1&3 == 1 { // one byte, repeated
		size = 1
	}
	w.pass = 3 + size
	if head&1 == 1 { // the last one
		w.pass += w.sum
		w.inFrame = false
	}
}

// frame follows RFC 8878, section 3.1.1.1.
func (w *windows) frame() error {
	b, ok := w.look(5)
	if !ok {
		return nil
	}
	descriptor := b[4]
	single := descriptor&0x20 != 0
	length := []int64{0, 1, 2, 4}[descriptor&3] // of the dictionary's id
	if !single {
		length++
	}
	content := []int64{0, 2, 4, 8}[descriptor>>6]
	if single && content == 0 {
		content = 1
	}
	if b, ok = w.look(int(5 + length + content)); !ok {
		return nil
	}
	var window uint64
	if single {
		window = number(b[5+length:])
	} else {
		base := uint64(1) << (10 + b[5]>>3)
		window = base + base/8*uint64(b[5]&7)
	}
	w.pass, w.inFrame, w.sum = 5+length+content, true, 0
	if descriptor&4 != 0 {
		w.sum = 4
	}
	return w.wait(window)
}

// number reads a little-endian number of any length. Of a size in two bytes 256 is
// left out, which does not matter here.
func number(b []byte) (v uint64) {
	for i := range b {
		v |= uint64(b[i]) << (8 * i)
	}
	return v
}

func (w *windows) wait(window uint64) error {
	if window <= smallWindow || w.big {
		return nil
	}
	select {
	case bigWindow <- struct{}{}:
		w.big = true
		return nil
	case <-w.ctx.Done():
		return context.Cause(w.ctx)
	}
}
