package disk

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// The kinds of records.
const (
	written = 1
	flushed = 2
)

const recordHeader = 16

// record is one entry of the log.
type record struct {
	kind uint32
	at   int64 // byte of the disk
	size int
	data []byte
	end  int64 // byte of the log after it
}

func (r record) header() []byte {
	b := make([]byte, recordHeader)
	le.PutUint32(b, r.kind)
	le.PutUint32(b[4:], uint32(r.size))
	le.PutUint64(b[8:], uint64(r.at))
	return b
}

// Log is what happened to a recorded disk since Record: writes, and flushes, which
// make all writes before them lasting.
type Log struct {
	base    []byte
	records []record
}

func parseLog(base, b []byte) (*Log, error) {
	l := &Log{base: base}
	for at := 0; at < len(b); {
		if len(b)-at < recordHeader {
			return nil, fmt.Errorf("log: %d bytes left at %d", len(b)-at, at)
		}
		r := record{kind: le.Uint32(b[at:]), size: int(le.Uint32(b[at+4:])), at: int64(le.Uint64(b[at+8:]))}
		at += recordHeader
		if len(b)-at < r.size {
			return nil, fmt.Errorf("log: record of %d bytes at %d is cut", r.size, at)
		}
		r.data = b[at : at+r.size]
		at += r.size
		r.end = int64(at)
		l.records = append(l.records, r)
	}
	return l, nil
}

// whole is how many bytes of a log its whole records take.
func whole(b []byte) int {
	at := 0
	for len(b)-at >= recordHeader {
		next := at + recordHeader + int(le.Uint32(b[at+4:]))
		if next > len(b) {
			break
		}
		at = next
	}
	return at
}

// Cut is one moment at which the power goes.
type Cut struct {
	Name string
	// At is the latest Position that callers had seen.
	At int64
	// Image is what the disk then holds; it is the caller's.
	Image []byte
}

// Flushes is the number of flushes in the log.
func (l *Log) Flushes() (n int) {
	for _, r := range l.records {
		if r.kind == flushed {
			n++
		}
	}
	return n
}

// Forget drops all flushes but the last: the log of a disk that lied about them.
func (l *Log) Forget() {
	left := l.Flushes()
	l.records = slices.DeleteFunc(l.records, func(r record) bool {
		if r.kind == flushed {
			left--
		}
		return r.kind == flushed && left > 0
	})
}

// Cuts calls yield with the cuts of a log, in order, until it returns false. Between
// each two flushes the power goes late, with none of the writes since the first one
// on the disk, and random times more with a part of them: either any of them, or
// those up to some moment, of which the last is torn. That all of them are there is
// what the next cut begins with. At the end of the log nothing more is missing.
func (l *Log) Cuts(seed uint64, random int, yield func(Cut) bool) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	disk := append([]byte{}, l.base...)
	all, flushes := l.Flushes(), 0
	for from := 0; from < len(l.records); {
		to := from
		for to < len(l.records) && l.records[to].kind != flushed {
			to++
		}
		if gap := l.records[from:to]; len(gap) > 0 {
			for i := range 1 + random {
				c := l.cut(disk, gap, i, rnd)
				c.Name = fmt.Sprintf("flush %d of %d: %s", flushes, all, c.Name)
				if !yield(c) {
					return
				}
			}
			for _, r := range gap {
				copy(disk[r.at:], r.data)
			}
		}
		flushes++
		from = to + 1
	}
	if n := len(l.records); n > 0 {
		yield(Cut{Name: "the end", At: l.records[n-1].end, Image: disk})
	}
}

// cut is the i-th cut among the writes of gap.
func (l *Log) cut(disk []byte, gap []record, i int, rnd *rand.Rand) Cut {
	c := Cut{At: gap[len(gap)-1].end, Image: append([]byte{}, disk...)}
	switch {
	case i == 0:
		c.Name, gap = fmt.Sprintf("none of %d writes", len(gap)), nil
	case rnd.IntN(2) == 0:
		var kept []record
		for _, r := range gap {
			if rnd.IntN(2) == 0 {
				kept = append(kept, r)
			}
		}
		c.Name, gap = fmt.Sprintf("%d of %d writes", len(kept), len(gap)), kept
	default:
		n := 1 + rnd.IntN(len(gap))
		c.Name, c.At = fmt.Sprintf("up to write %d of %d, torn", n, len(gap)), gap[n-1].end-1
		gap = append([]record{}, gap[:n]...)
		last := &gap[n-1]
		last.data = last.data[:rnd.IntN(len(last.data)/pageSize+1)*pageSize]
	}
	for _, r := range gap {
		copy(c.Image[r.at:], r.data)
	}
	return c
}
