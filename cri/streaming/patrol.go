package streaming

import (
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// patrolEvery is how often the connections are looked at, and how long one must
// have been still to be.
const patrolEvery = time.Second

// patrol looks for clients whose end cannot reach us: one that dies while more
// input is under way than the kernel's buffers hold leaves the rest, and its end
// behind it, with its kernel, which goes on for as long as ours says that it is there.
// For a client on this machine our kernel is that kernel, and can be asked.
// It has a timer while there are connections, and no goroutine.
type patrol struct {
	mu    sync.Mutex
	conns map[*conn]struct{}
	timer *time.Timer // runs while there are conns
}

func (p *patrol) add(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conns == nil {
		p.conns = map[*conn]struct{}{}
	}
	p.conns[c] = struct{}{}
	switch {
	case p.timer == nil:
		p.timer = time.AfterFunc(patrolEvery, p.walk)
	case len(p.conns) == 1:
		p.timer.Reset(patrolEvery)
	}
}

func (p *patrol) remove(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
	if len(p.conns) == 0 && p.timer != nil {
		p.timer.Stop()
	}
}

func (p *patrol) walk() {
	p.look()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.conns) > 0 {
		p.timer.Reset(patrolEvery)
	}
}

// look ends the connections whose clients have gone.
func (p *patrol) look() {
	var asking *diag // opened when there is somebody to ask about
	for _, c := range p.still() {
		if !c.unread() {
			continue
		}
		if asking == nil {
			var err error
			if asking, err = openDiag(); err != nil {
				return // a kernel without it: the idle timeout is left
			}
			defer asking.close()
		}
		client, ok := c.RemoteAddr().(*net.TCPAddr)
		server, ok2 := c.LocalAddr().(*net.TCPAddr)
		if ok && ok2 && asking.abandoned(client.AddrPort(), server.AddrPort()) {
			c.abort(errGone)
		}
	}
}

// still is the connections on which nothing has moved of late.
func (p *patrol) still() []*conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []*conn
	for c := range p.conns {
		if time.Since(time.Unix(0, c.moved.Load())) >= patrolEvery {
			list = append(list, c)
		}
	}
	return list
}

// unread says whether there is input that nobody has read.
func (c *conn) unread() bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	n := 0
	err = raw.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
	return err == nil && n > 0
}
