package server

import (
	"sync"

	"golang.org/x/sys/unix"
)

// mailbox brings execs from their joiners back to the loop, which is the only
// one to touch the server.
type mailbox struct {
	fd    int // an eventfd
	mu    sync.Mutex
	execs []*exec
	taken []*exec // the memory of the last round
}

func newMailbox() (*mailbox, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, err
	}
	return &mailbox{fd: fd}, nil
}

// post has the loop take e up again.
func (m *mailbox) post(e *exec) {
	m.mu.Lock()
	m.execs = append(m.execs, e)
	m.mu.Unlock()
	// One that is full already wakes the loop as well.
	_, _ = unix.Write(m.fd, []byte{1, 0, 0, 0, 0, 0, 0, 0})
}

func (m *mailbox) ready(uint32) {
	var count [8]byte
	_, _ = unix.Read(m.fd, count[:])
	m.mu.Lock()
	m.execs, m.taken = m.taken[:0], m.execs
	m.mu.Unlock()
	for _, e := range m.taken {
		e.begin()
	}
	clear(m.taken)
}
