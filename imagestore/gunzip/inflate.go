package gunzip

import (
	"encoding/binary"
	"errors"
	"io"
)

// errDeflate is for bits that no deflate stream has.
var errDeflate = errors.New("corrupt deflate data")

// history is how far back a stream may refer.
const history = 32 << 10

// slack is what the fast loop may write beyond what it means to, and a match.
const slack = 258 + 8

// The states between two steps of the decoder.
type state uint8

const (
	blockHead  state = iota // before a block
	stored                  // in a block of plain bytes, of which `left` are to come
	compressed              // in a block of codes
	match                   // in a match of which `left` bytes are to come, from `dist` back
	ended                   // behind the last block
)

// inflater decodes one deflate stream after the other into buffers that the
// caller brings.
type inflater struct {
	in   input
	bits uint64 // the next `have` bits of the input, lowest first; above them 0
	have uint

	state state
	last  bool // the block at hand is the last
	left  int
	dist  int

	lengths, dists, codes table
	fixed                 bool // lengths and dists are of the fixed code
	codeLengths           [320]uint8

	// past is what was decoded before the buffer at hand: its last pastLen bytes
	// are set.
	past    [history]byte
	pastLen int
}

// input is the compressed bytes in pieces.
type input struct {
	next func() ([]byte, error)
	buf  []byte
	err  error
}

// more gets the next piece when this one is used up; io.EOF at the end.
func (n *input) more() error {
	for len(n.buf) == 0 {
		if n.err != nil {
			return n.err
		}
		n.buf, n.err = n.next()
	}
	return nil
}

func newInflater(next func() ([]byte, error)) *inflater {
	return &inflater{in: input{next: next}, lengths: newTable(lengthBits), dists: newTable(distBits), codes: newTable(7)}
}

// start begins a new stream where the input is; nothing can refer to what was before.
func (f *inflater) start() { f.state, f.last, f.pastLen = blockHead, false, 0 }

// decode fills out as far as the stream goes, and gives how much that is; io.EOF
// with the stream's last bytes or after them.
func (f *inflater) decode(out []byte) (n int, err error) {
	for n < len(out) && f.state != ended && err == nil {
		switch f.state {
		case blockHead:
			err = f.head()
		case stored:
			n, err = f.plain(out, n)
		case match:
			n, err = f.copyMatch(out, n)
		case compressed:
			n, err = f.block(out, n)
		}
	}
	f.remember(out[:n])
	if err == nil && f.state == ended {
		err = io.EOF
	}
	return n, err
}

// remember keeps the end of what was decoded, for matches that begin before the
// next buffer.
func (f *inflater) remember(out []byte) {
	if len(out) >= history {
		copy(f.past[:], out[len(out)-history:])
		f.pastLen = history
		return
	}
	copy(f.past[:], f.past[len(out):])
	copy(f.past[history-len(out):], out)
	f.pastLen = min(history, f.pastLen+len(out))
}

// need gets at least n bits, or io.ErrUnexpectedEOF.
func (f *inflater) need(n uint) error {
	for f.have < n {
		if err := f.in.more(); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		f.bits |= uint64(f.in.buf[0]) << f.have
		f.in.buf = f.in.buf[1:]
		f.have += 8
	}
	return nil
}

// take gives the next n bits, which are there.
func (f *inflater) take(n uint) uint64 {
	v := f.bits & (1<<n - 1)
	f.bits >>= n
	f.have -= n
	return v
}

// head reads a block's head.
func (f *inflater) head() error {
	if f.last {
		f.take(f.have & 7)
		f.state = ended
		return nil
	}
	if err := f.need(3); err != nil {
		return err
	}
	f.last = f.take(1) == 1
	switch f.take(2) {
	case 0:
		return f.storedHead()
	case 1:
		f.fixedCode()
		f.state = compressed
		return nil
	case 2:
		f.state = compressed
		return f.readCode()
	}
	return errDeflate
}

func (f *inflater) storedHead() error {
	f.take(f.have & 7)
	if err := f.need(32); err != nil {
		return err
	}
	size, inverse := f.take(16), f.take(16)
	if size != inverse^0xffff {
		return errDeflate
	}
	f.left, f.state = int(size), stored
	if size == 0 {
		f.state = blockHead
	}
	return nil
}

// plain copies bytes of a stored block.
func (f *inflater) plain(out []byte, n int) (int, error) {
	for f.left > 0 && n < len(out) {
		if f.have > 0 {
			out[n] = byte(f.take(8))
			n++
			f.left--
			continue
		}
		if err := f.in.more(); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return n, err
		}
		m := copy(out[n:], f.in.buf[:min(f.left, len(f.in.buf))])
		f.in.buf = f.in.buf[m:]
		n += m
		f.left -= m
	}
	if f.left == 0 {
		f.state = blockHead
	}
	return n, nil
}

// copyMatch copies a match, byte for byte, as far as out goes.
func (f *inflater) copyMatch(out []byte, n int) (int, error) {
	if f.dist > n+f.pastLen {
		return n, errDeflate
	}
	for f.left > 0 && n < len(out) {
		if from := n - f.dist; from >= 0 {
			out[n] = out[from]
		} else {
			out[n] = f.past[history+from]
		}
		n++
		f.left--
	}
	if f.left == 0 {
		f.state = compressed
	}
	return n, nil
}

// block decodes codes: fast while there is plenty of input and room, else with care.
func (f *inflater) block(out []byte, n int) (int, error) {
	for n < len(out) && f.state == compressed {
		if len(f.in.buf) >= 16 && len(out)-n > slack {
			var err error
			if n, err = f.fast(out, n); err != nil || f.state != compressed {
				return n, err
			}
		}
		var err error
		if n, err = f.careful(out, n); err != nil {
			return n, err
		}
	}
	return n, nil
}

// careful decodes one literal or the beginning of one match.
func (f *inflater) careful(out []byte, n int) (int, error) {
	e, err := f.symbol(&f.lengths)
	switch {
	case err != nil:
		return n, err
	case e&literal != 0:
		out[n] = byte(e.value())
		return n + 1, nil
	case e&endMark != 0:
		f.state = blockHead
		return n, nil
	}
	if err := f.need(e.extra()); err != nil {
		return n, err
	}
	f.left = int(e.value()) + int(f.take(e.extra()))
	if e, err = f.symbol(&f.dists); err != nil {
		return n, err
	}
	if err := f.need(e.extra()); err != nil {
		return n, err
	}
	f.dist = int(e.value()) + int(f.take(e.extra()))
	f.state = match
	return f.copyMatch(out, n)
}

// symbol reads one code. The input may end right behind it.
func (f *inflater) symbol(t *table) (entry, error) {
	for {
		e := t.find(f.bits)
		// Without enough bits the entry may be of another code, but of one that is longer
		// than what there is.
		if n := e.bits(); n != 0 && n <= f.have {
			f.take(n)
			if e&special != 0 && e&endMark == 0 {
				return 0, errDeflate
			}
			return e, nil
		}
		if f.have >= maxBits {
			return 0, errDeflate
		}
		if err := f.need(f.have + 1); err != nil {
			return 0, err
		}
	}
}

// fast decodes while eight bytes of input can be loaded at once and no match can
// run over the end of out.
func (f *inflater) fast(out []byte, n int) (int, error) {
	in, bits, have := f.in.buf, f.bits, f.have
	lengths, dists := f.lengths.entries, f.dists.entries
	end := len(out) - slack
	at := 0
	var err error
loop:
	for n < end && at+16 <= len(in) {
		bits |= binary.LittleEndian.Uint64(in[at:]) << have
		at += int(63-have) >> 3
		have |= 56
		e := lengths[bits&(1<<lengthBits-1)]
		if e&literal != 0 {
			// Three literals take at most 33 bits of the 56: longer codes are found below.
			out[n] = byte(e >> 16)
			n++
			bits >>= e & 31
			have -= uint(e & 31)
			e = lengths[bits&(1<<lengthBits-1)]
			if e&literal != 0 {
				out[n] = byte(e >> 16)
				n++
				bits >>= e & 31
				have -= uint(e & 31)
				e = lengths[bits&(1<<lengthBits-1)]
				if e&literal != 0 {
					out[n] = byte(e >> 16)
					n++
					bits >>= e & 31
					have -= uint(e & 31)
					continue
				}
			}
			// A length and a distance take up to 48 bits.
			bits |= binary.LittleEndian.Uint64(in[at:]) << have
			at += int(63-have) >> 3
			have |= 56
		}
		if e&special != 0 {
			if e&further != 0 {
				e = lengths[uint64(e.value())+bits>>lengthBits&(1<<e.extra()-1)]
			}
			if e&literal != 0 {
				out[n] = byte(e >> 16)
				n++
				bits >>= e & 31
				have -= uint(e & 31)
				continue
			}
			if e&special != 0 {
				if e&endMark == 0 {
					err = errDeflate
					break loop
				}
				bits >>= e & 31
				have -= uint(e & 31)
				f.state = blockHead
				break loop
			}
		}
		bits >>= e & 31
		have -= uint(e & 31)
		length := int(e>>16) + int(bits&(1<<e.extra()-1))
		bits >>= e.extra()
		have -= e.extra()

		e = dists[bits&(1<<distBits-1)]
		if e&special != 0 {
			if e&further != 0 {
				e = dists[uint64(e.value())+bits>>distBits&(1<<e.extra()-1)]
			}
			if e&special != 0 {
				err = errDeflate
				break loop
			}
		}
		bits >>= e & 31
		have -= uint(e & 31)
		dist := int(e>>16) + int(bits&(1<<e.extra()-1))
		bits >>= e.extra()
		have -= e.extra()

		if dist > n {
			f.left, f.dist, f.state = length, dist, match
			break loop
		}
		repeat(out[n-dist:n+length+8], dist, length)
		n += length
	}
	// What was loaded beyond `have` is still in the input.
	f.in.buf, f.bits, f.have = in[at:], bits&(1<<have-1), have
	return n, err
}

// repeat copies length bytes from the beginning of b to dist behind it, and may
// write up to eight bytes more.
func repeat(b []byte, dist, length int) {
	switch {
	case dist >= 8:
		to := b[dist:]
		for i := 0; i < length; i += 8 {
			binary.LittleEndian.PutUint64(to[i:], binary.LittleEndian.Uint64(b[i:]))
		}
	case dist == 1:
		v := uint64(b[0]) * 0x0101010101010101
		to := b[1:]
		for i := 0; i < length; i += 8 {
			binary.LittleEndian.PutUint64(to[i:], v)
		}
	default:
		for i := range length {
			b[dist+i] = b[i]
		}
	}
}
