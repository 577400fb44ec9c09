package shim

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/shim/proto"
)

// Client is one connection to one shim. Its methods may be called from many
// goroutines at once; each takes a context that bounds the wait for the shim's
// answer.
type Client struct {
	conn  *os.File      // SOCK_SEQPACKET, in the runtime's poller
	slots chan struct{} // one for each exec that is being started; the shim refuses too many at once
	child int           // pid of the shim when this process is its parent

	hello chan struct{} // closed when the shim has said hello
	done  chan struct{}

	// mu serializes the bookkeeping below; no system call is made under it.
	mu       sync.Mutex
	dir      string // empty while the shim is a spare
	last     uint32
	calls    map[uint32]chan answer
	execs    map[string]*ExecProcess
	attached map[uint32]*Attachment
	shim     proto.Hello
	exit     *Exit
	err      error
	closed   bool
}

// maxStarting is how many execs a client has started at a time: each holds a
// thread in the shim, which allows 64.
const maxStarting = 32

// answer is what the shim says to one request.
type answer struct {
	body  []byte
	files []int
	err   error
}

// newClient makes a client of a connection and starts its reader.
func newClient(dir string, conn *os.File, child int) *Client {
	c := &Client{
		dir: dir, conn: conn, child: child, slots: make(chan struct{}, maxStarting),
		hello:    make(chan struct{}),
		done:     make(chan struct{}),
		calls:    map[uint32]chan answer{},
		execs:    map[string]*ExecProcess{},
		attached: map[uint32]*Attachment{},
	}
	go c.read()
	return c
}

// Dial connects to the shim that holds dir, for example after a restart of
// the daemon. The error is ErrGone when no shim does; ReadExit then tells
// whether the container has exited or its shim was killed.
func Dial(ctx context.Context, dir string) (*Client, error) {
	conn, err := reach(ctx, dir)
	if err != nil {
		return nil, err
	}
	c := newClient(dir, conn, 0)
	if err := c.greeted(ctx); err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("connect to shim of %s: %w", dir, err)
	}
	return c, nil
}

// greeted waits for the shim's hello and checks its version.
func (c *Client) greeted(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, helloTime)
	defer cancel()
	select {
	case <-c.hello:
	case <-c.done:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.shim.Version == 0 && c.err != nil:
		return c.err
	case c.shim.Version == 0:
		return ErrGone // it exited between its lock and our ear: there is a record
	case c.shim.Version != proto.Version:
		return fmt.Errorf("%w: it speaks version %d of the protocol, not %d", ErrUnsupported, c.shim.Version, proto.Version)
	}
	return nil
}

// Close gives the connection up. The container and its shim go on; execs that
// this client started are killed. Done is closed, and Err is ErrClosed.
func (c *Client) Close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	err := c.conn.Close()
	<-c.done
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}

// PID is the shim's process, as it has said itself; 0 before that.
func (c *Client) PID() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return int(c.shim.PID)
}

// Kill kills a shim that does not answer any more, and nothing of its container:
// kill that first, because nobody learns of its exit afterwards. As long as Done is
// not closed the number is no other process's.
func (c *Client) Kill() error {
	select {
	case <-c.done:
		return nil
	default:
	}
	if pid := c.PID(); pid > 0 {
		if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("kill shim %d: %w", pid, err)
		}
	}
	return nil
}

// Done is closed when the container's exit is known or will never be: Exit
// and Err then say which.
func (c *Client) Done() <-chan struct{} { return c.done }

// Exit is the container's exit; false while it runs and when it is unknown.
func (c *Client) Exit() (Exit, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.exit == nil {
		return Exit{}, false
	}
	return *c.exit, true
}

// Err is nil until Done is closed and after an exit that is known. ErrGone
// says that the shim died without a record: kill the container's cgroup.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}
