package stream

import (
	"io"
	"sync"
)

// The buffers between two stages: enough to hide their unevenness, small enough
// that many layers at a time stay within a few MiB.
const (
	chunkBytes = 128 << 10
	chunkCount = 4
)

// Ahead reads from a source on a goroutine of its own and hands the bytes over in
// chunks. It must be closed, also after an error.
type Ahead struct {
	full  chan chunk
	empty chan []byte
	stop  chan struct{}
	ended chan struct{}
	once  sync.Once

	current chunk // what Read is at
	at      int
}

type chunk struct {
	buf []byte
	err error
}

// NewAhead begins to read from r. Closing the Ahead does not close r, and waits
// for a Read of r that is under way: interrupt r to make Close quick.
func NewAhead(r io.Reader) *Ahead {
	a := &Ahead{
		full:  make(chan chunk, chunkCount),
		empty: make(chan []byte, chunkCount),
		stop:  make(chan struct{}),
		ended: make(chan struct{}),
	}
	for range chunkCount {
		a.empty <- nil
	}
	go a.fill(r)
	return a
}

func (a *Ahead) fill(r io.Reader) {
	defer close(a.ended)
	for {
		var buf []byte
		select {
		case buf = <-a.empty:
		case <-a.stop:
			return
		}
		if buf == nil {
			buf = make([]byte, chunkBytes)
		}
		n, err := readMost(r, buf[:chunkBytes])
		select {
		case a.full <- chunk{buf[:n], err}:
		case <-a.stop:
			return
		}
		if err != nil {
			return
		}
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

// Read implements io.Reader.
func (a *Ahead) Read(p []byte) (int, error) {
	for a.at == len(a.current.buf) {
		if a.current.err != nil {
			return 0, a.current.err
		}
		if a.current.buf != nil {
			a.empty <- a.current.buf[:0]
		}
		select {
		case a.current = <-a.full:
		case <-a.stop:
			return 0, io.ErrClosedPipe
		}
		a.at = 0
	}
	n := copy(p, a.current.buf[a.at:])
	a.at += n
	return n, nil
}

// Close ends the goroutine and returns when it has ended.
func (a *Ahead) Close() error {
	a.once.Do(func() { close(a.stop) })
	<-a.ended
	return nil
}
