package server

import (
	"sync"

	"golang.org/x/sys/unix"
)

// mailbox brings work of other threads to the loop, which is the only one to
// touch the server.
type mailbox struct {
	fd   int // an eventfd
	mu   sync.Mutex
	work []func()
}

func newMailbox() (*mailbox, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, err
	}
	return &mailbox{fd: fd}, nil
}

// post has the loop call f.
func (m *mailbox) post(f func()) {
	m.mu.Lock()
	m.work = append(m.work, f)
	m.mu.Unlock()
	// One that is full already wakes the loop as well.
	_, _ = unix.Write(m.fd, []byte{1, 0, 0, 0, 0, 0, 0, 0})
}

func (m *mailbox) ready(uint32) {
	var count [8]byte
	_, _ = unix.Read(m.fd, count[:])
	m.mu.Lock()
	work := m.work
	m.work = nil
	m.mu.Unlock()
	for _, f := range work {
		f()
	}
}
