package erofs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

const (
	// tapeBuffer is how much is read and written at once.
	tapeBuffer = 256 << 10
	// writeBack is how much is written before the disk is told to begin with it.
	writeBack = 8 << 20
)

// chunked is a stream that hands its bytes over without copying them; they are good
// until the next call.
type chunked interface{ Next() ([]byte, error) }

// tape copies a stream to a file while someone reads it, and lets the reader skip
// what it does not want to see. The file gets all bytes, in order, unchanged.
type tape struct {
	ctx  context.Context //nolint:containedctx // of the one call that the tape lives for
	next func() ([]byte, error)
	to   *os.File
	at   int64 // in the file, of the next write
	back int64 // in the file, where write-back has begun up to
	read int64 // of the stream, by the reader

	have []byte // written, not yet read
	err  error  // that ended the copying
	bad  error  // that the file gave: the stream is not to blame
}

func newTape(ctx context.Context, from io.Reader, to *os.File, at int64) *tape {
	t := &tape{ctx: ctx, to: to, at: at, back: at}
	if c, ok := from.(chunked); ok {
		t.next = c.Next
	} else {
		t.next = chunks(from)
	}
	return t
}

// chunks reads a stream in big pieces.
func chunks(from io.Reader) func() ([]byte, error) {
	buf := make([]byte, tapeBuffer)
	var err error
	return func() ([]byte, error) {
		n := 0
		for n < len(buf) && err == nil {
			var m int
			m, err = from.Read(buf[n:])
			n += m
		}
		if n > 0 {
			return buf[:n], nil
		}
		return nil, err
	}
}

// fill gets the next bytes of the stream and writes them.
func (t *tape) fill() error {
	if t.err != nil {
		return t.err
	}
	if t.ctx.Err() != nil {
		t.err = context.Cause(t.ctx)
		return t.err
	}
	b, err := t.next()
	if err != nil {
		t.err = err
		return err
	}
	if _, err := t.to.WriteAt(b, t.at); err != nil {
		t.err, t.bad = err, err
		return err
	}
	t.have = b
	t.at += int64(len(b))
	if t.at-t.back >= writeBack {
		// Early write-back makes the final fsync short. It is a hint: an error that
		// matters comes back from fsync.
		_ = unix.SyncFileRange(int(t.to.Fd()), t.back, t.at-t.back, unix.SYNC_FILE_RANGE_WRITE)
		t.back = t.at
	}
	return nil
}

// Read implements io.Reader.
func (t *tape) Read(p []byte) (int, error) {
	if len(t.have) == 0 {
		if err := t.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, t.have)
	t.pass(n)
	return n, nil
}

func (t *tape) pass(n int) {
	t.have = t.have[n:]
	t.read += int64(n)
}

// Seek implements io.Seeker as far as archive/tar uses it to skip a body: forward
// from where it is.
func (t *tape) Seek(offset int64, whence int) (int64, error) {
	if whence != io.SeekCurrent || offset < 0 {
		return 0, fmt.Errorf("seek to %d from %d: %w", offset, whence, errors.ErrUnsupported)
	}
	for offset > 0 {
		if len(t.have) == 0 {
			err := t.fill()
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			if err != nil {
				return t.read, err
			}
		}
		n := min(offset, int64(len(t.have)))
		t.pass(int(n))
		offset -= n
	}
	return t.read, nil
}

// rest copies what the reader left.
func (t *tape) rest() error {
	for {
		t.pass(len(t.have))
		switch err := t.fill(); err {
		case nil:
		case io.EOF:
			return nil
		default:
			return err
		}
	}
}
