package streaming

import (
	"fmt"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// hangups tells of peers that have closed their connections, also while
// nobody reads what they have sent before. It is one epoll instance that waits
// in Go's own poller.
type hangups struct {
	epoll *os.File

	mu    sync.Mutex
	last  uint32
	calls map[uint32]func() // of those that are watched, by number
}

func newHangups() (*hangups, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	_ = unix.SetNonblock(fd, true) // so that os.File puts it into the poller
	h := &hangups{epoll: os.NewFile(uintptr(fd), "epoll"), calls: map[uint32]func(){}}
	raw, err := h.epoll.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	go func() { _ = raw.Read(h.collect) }()
	return h, nil
}

// watch calls gone once, when conn's peer has hung up. Numbers are not used
// again soon, unlike descriptors, so that an old event cannot hit a new connection.
func (h *hangups) watch(conn syscall.Conn, gone func()) (uint32, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	h.mu.Lock()
	h.last++
	n := h.last
	h.calls[n] = gone
	h.mu.Unlock()
	var failure error
	err = raw.Control(func(fd uintptr) {
		event := unix.EpollEvent{Events: unix.EPOLLRDHUP | unix.EPOLLONESHOT, Fd: int32(n)}
		failure = h.control(int(fd), &event)
	})
	if err == nil {
		err = failure
	}
	if err != nil {
		h.forget(n)
	}
	return n, err
}

func (h *hangups) control(fd int, event *unix.EpollEvent) error {
	raw, err := h.epoll.SyscallConn()
	if err != nil {
		return err
	}
	var failure error
	if err := raw.Control(func(epoll uintptr) {
		failure = unix.EpollCtl(int(epoll), unix.EPOLL_CTL_ADD, fd, event)
	}); err != nil {
		return err
	}
	return failure
}

// forget ends a watch; the kernel forgets the descriptor when it is closed.
func (h *hangups) forget(n uint32) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.calls, n)
}

// collect takes the events that are there; false asks to be called again.
func (h *hangups) collect(epoll uintptr) bool {
	var events [32]unix.EpollEvent
	for {
		n, err := unix.EpollWait(int(epoll), events[:], 0)
		if err == unix.EINTR {
			continue
		}
		if n <= 0 {
			return false
		}
		for _, e := range events[:n] {
			h.mu.Lock()
			gone := h.calls[uint32(e.Fd)]
			delete(h.calls, uint32(e.Fd))
			h.mu.Unlock()
			if gone != nil {
				gone()
			}
		}
	}
}

func (h *hangups) close() error { return h.epoll.Close() }

// len is how many are watched.
func (h *hangups) len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.calls)
}
