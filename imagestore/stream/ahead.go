package stream

import (
	"io"
	"sync"
)

// Between two stages are a few chunks: enough to hide their unevenness, small
// enough that many layers at a time stay within a few MiB. What is written to a
// file comes in pieces that a disk likes: of four, one is inflated into, one
// digested, one written, and one is between.
const (
	packedBytes = 128 << 10
	plainBytes  = 1 << 20
	chunkCount  = 4
)

// plainChunks are the big chunks of layers that have ended, for the next ones.
var plainChunks sync.Pool

// Ahead reads from a source on a goroutine of its own and hands the bytes over in
// chunks. It must be closed, also after an error.
type Ahead struct {
	size  int
	full  chan chunk
	out   chan chunk // what the reader takes: full, or what the check lets through
	empty chan []byte
	stop  chan struct{}
	all   sync.WaitGroup // of the goroutines
	once  sync.Once

	current chunk // what Read is at
	at      int
}

type chunk struct {
	buf []byte
	err error
}

// NewAhead begins to read from r, in chunks of a size. Each chunk goes through
// check, if there is one, on a goroutine of its own: it sees the bytes and the
// source's error, and gives the reader's error. Closing the Ahead does not close
// r, and waits for a Read of r that is under way: interrupt r to make Close quick.
func NewAhead(r io.Reader, size int, check func([]byte, error) error) *Ahead {
	a := &Ahead{
		size:  size,
		full:  make(chan chunk, chunkCount),
		empty: make(chan []byte, chunkCount),
		stop:  make(chan struct{}),
	}
	for range chunkCount {
		a.empty <- nil
	}
	a.out = a.full
	a.all.Go(func() { a.fill(r) })
	if check != nil {
		a.out = make(chan chunk, chunkCount)
		a.all.Go(func() { a.check(check) })
	}
	return a
}

func (a *Ahead) fill(r io.Reader) {
	for {
		var buf []byte
		select {
		case buf = <-a.empty:
		case <-a.stop:
			return
		}
		if buf == nil {
			buf = newChunk(a.size)
		}
		n, err := readMost(r, buf)
		if !a.send(a.full, chunk{buf[:n], err}) || err != nil {
			return
		}
	}
}

func (a *Ahead) check(check func([]byte, error) error) {
	for {
		select {
		case c := <-a.full:
			c.err = check(c.buf, c.err)
			if !a.send(a.out, c) || c.err != nil {
				return
			}
		case <-a.stop:
			return
		}
	}
}

// send hands a chunk over; false when the Ahead was closed.
func (a *Ahead) send(to chan chunk, c chunk) bool {
	select {
	case to <- c:
		return true
	case <-a.stop:
		return false
	}
}

// readMost fills buf as io.ReadFull does, but keeps the source's own error.
func readMost(r io.Reader, buf []byte) (n int, err error) {
	for n < len(buf) && err == nil {
		var m int
		m, err = r.Read(buf[n:])
		n += m
	}
	return n, err
}

// Next gives the bytes that come next, at most a chunk, without copying them. They
// are the caller's until the next call of Next, Read or Close.
func (a *Ahead) Next() ([]byte, error) {
	if a.at == len(a.current.buf) {
		if a.current.err != nil {
			return nil, a.current.err
		}
		if a.current.buf != nil {
			a.empty <- a.current.buf[:a.size]
		}
		select {
		case a.current = <-a.out:
		case <-a.stop:
			a.current = chunk{err: io.ErrClosedPipe}
		}
		a.at = 0
	}
	b := a.current.buf[a.at:]
	a.at = len(a.current.buf)
	if len(b) == 0 {
		return nil, a.current.err
	}
	return b, nil
}

// Read implements io.Reader.
func (a *Ahead) Read(p []byte) (int, error) {
	b, err := a.Next()
	n := copy(p, b)
	a.at -= len(b) - n
	return n, err
}

// Close ends the goroutines and returns when they have ended.
func (a *Ahead) Close() error {
	a.once.Do(func() { close(a.stop) })
	a.all.Wait()
	a.recycle()
	return nil
}

// recycle keeps the chunks for other layers. The goroutines have ended.
func (a *Ahead) recycle() {
	for {
		select {
		case b := <-a.empty:
			keepChunk(b, a.size)
		case c := <-a.full:
			keepChunk(c.buf, a.size)
		case c := <-a.out:
			keepChunk(c.buf, a.size)
		default:
			keepChunk(a.current.buf, a.size)
			a.current, a.at = chunk{err: io.ErrClosedPipe}, 0
			return
		}
	}
}

func newChunk(size int) []byte {
	if size == plainBytes {
		if b, ok := plainChunks.Get().(*[]byte); ok {
			return *b
		}
	}
	return make([]byte, size)
}

func keepChunk(b []byte, size int) {
	if size == plainBytes && cap(b) >= size {
		b = b[:size]
		plainChunks.Put(&b)
	}
}
