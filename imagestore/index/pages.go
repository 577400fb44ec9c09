package index

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
)

// The form of a bbolt file, as far as it takes to tell whether bbolt can be let
// near it: bbolt maps the file and panics where it is damaged, also on goroutines
// of its own, or dies of a bus error where it was cut. (bbolt 1.5, internal/common;
// numbers are in the machine's byte order.)
const (
	pageHeader  = 16
	branchFlag  = 0x01
	leafFlag    = 0x02
	bucketFlag  = 0x01 // of a leaf's element
	elementSize = 16
	bucketSize  = 16
	metaSize    = 64
	metaMagic   = 0xED0CDAED
	metaVersion = 2
	maxDepth    = 32
	noFreePage  = 1<<64 - 1
)

var order = binary.NativeEndian

// meta is one of the two first pages: what the database was after a transaction.
type meta struct {
	pageSize   int64
	root, high uint64 // the pages' numbers end before high
	free       uint64 // the page of the list of free ones; none in our databases
	txid       uint64
}

func readMeta(f io.ReaderAt, at int64) (m meta, err error) {
	b := make([]byte, pageHeader+metaSize)
	if _, err := f.ReadAt(b, at); err != nil {
		return m, err
	}
	b = b[pageHeader:]
	sum := fnv.New64a()
	_, _ = sum.Write(b[:metaSize-8])
	if order.Uint32(b) != metaMagic || order.Uint32(b[4:]) != metaVersion || order.Uint64(b[metaSize-8:]) != sum.Sum64() {
		return m, errors.New("it is no record of a transaction")
	}
	m = meta{pageSize: int64(order.Uint32(b[8:])), root: order.Uint64(b[16:]), free: order.Uint64(b[32:]), high: order.Uint64(b[40:]), txid: order.Uint64(b[48:])}
	if m.pageSize < 512 || m.pageSize > 64<<10 || m.pageSize&(m.pageSize-1) != 0 || m.high > 1<<40 {
		return m, fmt.Errorf("pages of %d bytes, %d of them", m.pageSize, m.high)
	}
	return m, nil
}

// walk reads what a transaction's root leads to. It goes on where something is
// damaged, and keeps every row that can be read.
type walk struct {
	f        io.ReaderAt
	size     int64
	meta     meta
	seen     map[uint64]bool
	rows     map[string]map[string][]byte // by bucket and key
	problems []string
}

func newWalk(f io.ReaderAt, size int64, m meta) *walk {
	w := &walk{f: f, size: size, meta: m, seen: map[uint64]bool{}, rows: map[string]map[string][]byte{}}
	if int64(m.high)*m.pageSize > size {
		w.problem("the file ends at byte %d, and its pages at %d", size, int64(m.high)*m.pageSize)
	}
	if m.free != noFreePage {
		w.problem("it has a list of free pages") // which bbolt believes
	}
	w.page(m.root, part{})
	return w
}

func (w *walk) problem(format string, args ...any) {
	if len(w.problems) < 8 {
		w.problems = append(w.problems, fmt.Sprintf(format, args...))
	}
}

// part is what a page should be of: a bucket (nil for the top, whose rows are
// buckets), and in it the keys from low on, before high; nil is no bound.
type part struct {
	bucket, low, high []byte
	depth             int
}

// has tells whether a key may be in the part.
func (p part) has(key []byte) bool {
	return bytes.Compare(key, p.low) >= 0 && (p.high == nil || bytes.Compare(key, p.high) < 0)
}

// page reads page id and what is below it.
func (w *walk) page(id uint64, of part) {
	if of.depth > maxDepth || w.seen[id] {
		w.problem("page %d comes twice", id)
		return
	}
	w.seen[id] = true
	b, err := w.read(id)
	if err != nil {
		w.problem("page %d: %v", id, err)
		return
	}
	if err := w.elements(b, of); err != nil {
		w.problem("page %d: %v", id, err)
	}
}

// read gives page id with its overflow pages.
func (w *walk) read(id uint64) ([]byte, error) {
	if id < 2 || id >= w.meta.high {
		return nil, fmt.Errorf("there are pages 2 to %d", w.meta.high)
	}
	head := make([]byte, pageHeader)
	if _, err := w.f.ReadAt(head, int64(id)*w.meta.pageSize); err != nil {
		return nil, err
	}
	if got := order.Uint64(head); got != id {
		return nil, fmt.Errorf("it says that it is page %d", got)
	}
	more := uint64(order.Uint32(head[12:]))
	if id+more >= w.meta.high || int64(id+more+1)*w.meta.pageSize > w.size {
		return nil, fmt.Errorf("it goes on for %d pages", more)
	}
	for next := id + 1; next <= id+more; next++ {
		if w.seen[next] {
			return nil, fmt.Errorf("page %d, on which it goes on, comes twice", next)
		}
		w.seen[next] = true
	}
	b := make([]byte, int64(more+1)*w.meta.pageSize)
	_, err := w.f.ReadAt(b, int64(id)*w.meta.pageSize)
	return b, err
}

// elements reads a page's elements.
func (w *walk) elements(b []byte, of part) error {
	flags, count := order.Uint16(b[8:]), int(order.Uint16(b[10:]))
	if flags != branchFlag && flags != leafFlag {
		return fmt.Errorf("it is of kind %#x", flags)
	}
	if flags == branchFlag && count == 0 || pageHeader+count*elementSize > len(b) {
		return fmt.Errorf("it has %d elements", count)
	}
	keys := make([][]byte, count)
	values := make([][]byte, count)
	for i := range count {
		at := pageHeader + i*elementSize
		e, ok := b[at:at+elementSize], false
		if flags == branchFlag {
			keys[i], _, ok = cut(b, at, order.Uint32(e), order.Uint32(e[4:]), 0)
		} else {
			keys[i], values[i], ok = cut(b, at, order.Uint32(e[4:]), order.Uint32(e[8:]), order.Uint32(e[12:]))
		}
		if !ok || len(keys[i]) == 0 || !of.has(keys[i]) || i > 0 && bytes.Compare(keys[i-1], keys[i]) >= 0 {
			return fmt.Errorf("element %d of %d is out of place", i, count)
		}
	}
	// By its first key a page is found again in the one above when it changes.
	if of.low != nil && (count == 0 || !bytes.Equal(keys[0], of.low)) {
		return fmt.Errorf("its first key is not %.60q", of.low)
	}
	for i := range count {
		e := b[pageHeader+i*elementSize:]
		if flags == leafFlag {
			if err := w.row(of, keys[i], values[i], order.Uint32(e)); err != nil {
				return err
			}
			continue
		}
		below := part{of.bucket, keys[i], of.high, of.depth + 1}
		if i+1 < count {
			below.high = keys[i+1]
		}
		w.page(order.Uint64(e[8:]), below)
	}
	return nil
}

// cut gives an element's key and value, which lie pos bytes behind the element.
func cut(b []byte, at int, pos, keySize, valueSize uint32) (key, value []byte, ok bool) {
	from := int64(at) + int64(pos)
	to := from + int64(keySize)
	end := to + int64(valueSize)
	if end > int64(len(b)) {
		return nil, nil, false
	}
	return b[from:to], b[to:end], true
}

// row takes a bucket at the top, or a row in a bucket.
func (w *walk) row(of part, key, value []byte, flags uint32) error {
	switch {
	case of.bucket != nil && flags == 0:
		rows := w.rows[string(of.bucket)]
		if rows == nil {
			rows = map[string][]byte{}
			w.rows[string(of.bucket)] = rows
		}
		rows[string(key)] = value
		return nil
	case of.bucket != nil || flags != bucketFlag || len(value) < bucketSize:
		return fmt.Errorf("element %.60q is of kind %#x", key, flags)
	}
	whole := part{bucket: key, depth: of.depth + 1}
	if root := order.Uint64(value); root != 0 {
		w.page(root, whole)
		return nil
	}
	// A small bucket's page lies in its row.
	inline := value[bucketSize:]
	if len(inline) < pageHeader || order.Uint16(inline[8:]) != leafFlag {
		return fmt.Errorf("bucket %.60q has no page", key)
	}
	return w.elements(inline, whole)
}
