package spool

import (
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
)

// chunkBytes is what one checksum covers.
const chunkBytes = 1 << 20

// Entry is one blob's spool in the hands of one pull. It is used by one goroutine.
type Entry struct {
	spool *Spool
	name  string
	size  int64

	data, log *os.File // nil until there is something to keep
	ledger    ledger
	sums      []uint32 // of the chunks that are there
	at        int64    // where the next byte to keep belongs
	sum       uint32   // of the chunk that is being written
	given     int      // chunks that Next gave
	buf       []byte
	off       bool // nothing more is kept
}

// From is where the kept bytes begin; To is where they end if they are all good.
// They are equal when nothing is kept.
func (e *Entry) From() int64 { return e.ledger.from }

// To is From and the bytes that are kept.
func (e *Entry) To() int64 { return e.ledger.from + int64(len(e.sums))*chunkBytes }

// load finds what an earlier pull left.
func (e *Entry) load() error {
	data, err := os.ReadFile(e.spool.path(e.name + logSuffix))
	if err != nil {
		return err
	}
	from, sums, ok := parseLedger(e.name, e.size, data)
	if !ok || len(sums) == 0 {
		return fmt.Errorf("%s is not a ledger with records", e.name+logSuffix)
	}
	if e.log, err = os.OpenFile(e.spool.path(e.name+logSuffix), os.O_RDWR, 0); err != nil {
		return err
	}
	if e.data, err = os.OpenFile(e.spool.path(e.name+dataSuffix), os.O_RDWR, 0); err != nil {
		return err
	}
	e.ledger.from, e.sums = from, sums
	return nil
}

// Next gives the next chunk of what is kept, verified, and io.EOF at the end of
// what is good; the spool is cut there, and what comes next may be kept again. The
// chunk is the caller's until the next call.
func (e *Entry) Next() ([]byte, error) {
	if e.given < len(e.sums) {
		if e.buf == nil {
			e.buf = make([]byte, chunkBytes)
		}
		_, err := e.data.ReadAt(e.buf, int64(e.given)*chunkBytes)
		if err == nil && crc32.Checksum(e.buf, castagnoli) == e.sums[e.given] {
			e.given++
			return e.buf, nil
		}
	}
	e.buf = nil
	e.cut()
	return nil, io.EOF
}

// cut lets the spool end after the chunks that were given.
func (e *Entry) cut() {
	e.sums = e.sums[:e.given]
	e.at, e.sum = e.To(), 0
	if e.data == nil {
		return
	}
	err := e.data.Truncate(int64(e.given) * chunkBytes)
	if err == nil {
		err = e.log.Truncate(headerBytes + int64(e.given)*recordBytes)
	}
	if err != nil {
		e.fail("cut", err)
	}
}

// Keep keeps the bytes of the blob that begin at offset at. The first call says
// where the spool begins; bytes that do not follow the ones before are not kept.
func (e *Entry) Keep(at int64, p []byte) {
	if e.off {
		return
	}
	if e.data == nil {
		if err := e.create(at); err != nil {
			e.fail("create", err)
			return
		}
	}
	if at != e.at {
		e.off = true
		return
	}
	if !e.spool.grow(e.name, int64(len(p))) {
		e.off = true
		return
	}
	if _, err := e.data.WriteAt(p, at-e.ledger.from); err != nil {
		e.fail("write", err)
		return
	}
	e.at += int64(len(p))
	for len(p) > 0 {
		left := chunkBytes - int((e.at-int64(len(p))-e.ledger.from)%chunkBytes)
		n := min(left, len(p))
		e.sum = crc32.Update(e.sum, castagnoli, p[:n])
		p = p[n:]
		if n == left && !e.record() {
			return
		}
	}
}

// record writes down the chunk that is whole now.
func (e *Entry) record() bool {
	index := len(e.sums)
	_, err := e.log.WriteAt(e.ledger.record(index, e.sum), headerBytes+int64(index)*recordBytes)
	if err != nil {
		e.fail("write", err)
		return false
	}
	e.sums, e.sum = append(e.sums, e.sum), 0
	return true
}

func (e *Entry) create(at int64) (err error) {
	e.ledger.from, e.at, e.sum = at, at, 0
	if err := e.spool.admit(e.name, e.size-at); err != nil {
		return err
	}
	if e.data, err = os.OpenFile(e.spool.path(e.name+dataSuffix), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600); err != nil {
		return err
	}
	if e.log, err = os.OpenFile(e.spool.path(e.name+logSuffix), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600); err != nil {
		return err
	}
	_, err = e.log.WriteAt(e.ledger.header(), 0)
	return err
}

// fail ends the spool, and gives its room back: the pull may need it.
func (e *Entry) fail(step string, err error) {
	e.off = true
	e.close()
	e.sums, e.given = nil, 0
	e.spool.remove(e.name)
	if err != errNoRoom { //nolint:errorlint // it is never wrapped
		e.spool.report(fmt.Sprintf("spool %s: %s: %v", filepath.Base(e.name), step, err))
	}
}

func (e *Entry) close() {
	for _, f := range []*os.File{e.data, e.log} {
		if f != nil {
			_ = f.Close()
		}
	}
	e.data, e.log = nil, nil
}

// Close ends the use of the entry and leaves what is kept for the next pull.
func (e *Entry) Close() {
	e.off = true
	e.close()
	e.spool.release(e.name)
}
