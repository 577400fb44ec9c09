package server

import "golang.org/x/sys/unix"

// handler is told that its descriptor is ready.
type handler interface{ ready(events uint32) }

// watch is one descriptor in the epoll instance. The generation tells an event
// for a closed descriptor from one for its number's next owner.
type watch struct {
	h   handler
	gen int32
}

type poller struct {
	fd      int
	gen     int32
	watches map[int32]watch
	events  [32]unix.EpollEvent
}

func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	return &poller{fd: fd, watches: map[int32]watch{}}, nil
}

// add begins to watch. With no events only errors and hang-ups are told.
func (p *poller) add(fd int, events uint32, h handler) error {
	p.gen++
	ev := unix.EpollEvent{Events: events, Fd: int32(fd), Pad: p.gen}
	if err := unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
		return err
	}
	p.watches[int32(fd)] = watch{h, p.gen}
	return nil
}

// change changes what a watched descriptor waits for.
func (p *poller) change(fd int, events uint32) {
	if w, ok := p.watches[int32(fd)]; ok {
		ev := unix.EpollEvent{Events: events, Fd: int32(fd), Pad: w.gen}
		_ = unix.EpollCtl(p.fd, unix.EPOLL_CTL_MOD, fd, &ev)
	}
}

// remove ends a watch; a descriptor that is not watched is fine.
func (p *poller) remove(fd int) {
	if _, ok := p.watches[int32(fd)]; ok {
		delete(p.watches, int32(fd))
		_ = unix.EpollCtl(p.fd, unix.EPOLL_CTL_DEL, fd, nil)
	}
}

// wait waits for events and hands them out. It returns early when a signal
// comes; idle says that the time ran out.
func (p *poller) wait(msec int) (idle bool, err error) {
	n, err := unix.EpollWait(p.fd, p.events[:], msec)
	if err == unix.EINTR {
		return false, nil
	}
	for i := range p.events[:max(n, 0)] {
		ev := &p.events[i]
		if w, ok := p.watches[ev.Fd]; ok && w.gen == ev.Pad {
			w.h.ready(ev.Events)
		}
	}
	return n == 0, err
}
