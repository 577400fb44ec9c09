package shim

import (
	"fmt"
	"io"
	"time"
)

// finishExit makes the exit known.
func (c *Client) finishExit(e Exit) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.exit == nil && c.err == nil {
		c.exit = &e
		close(c.done)
	}
}

// lockPatience is how long after the end of a connection the shim's lock may
// still be held although the shim is dying: the kernel closes one descriptor
// after the other.
const lockPatience = time.Second

// finish settles what is open after the connection's end.
func (c *Client) finish(cause error) {
	c.mu.Lock()
	known, closed, dir := c.exit != nil, c.closed, c.dir
	c.mu.Unlock()
	switch {
	case known:
	case closed:
		c.finishErr(ErrClosed)
	case dir != "":
		c.learn(dir, cause)
	case cause == io.EOF: // a spare
		c.finishErr(ErrGone)
	default:
		c.finishErr(cause)
	}
	c.release()
}

// learn finds out from the directory why the connection ended.
func (c *Client) learn(dir string, cause error) {
	for end := time.Now().Add(lockPatience); ; time.Sleep(time.Millisecond) {
		late := time.Now().After(end) // before the look: who was suspended since the last one has another
		busy, err := held(dir)
		if e, err := ReadExit(dir); err == nil {
			c.finishExit(e)
			return
		}
		switch {
		case err != nil || !busy:
			c.finishErr(fmt.Errorf("%s: %w", dir, ErrGone))
			return
		case late:
			c.finishErr(fmt.Errorf("%w (%w)", ErrDisconnected, cause))
			return
		}
	}
}

func (c *Client) finishErr(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.exit == nil && c.err == nil {
		c.err = err
		close(c.done)
	}
}

// release lets everybody go who waits for the shim.
func (c *Client) release() {
	c.mu.Lock()
	calls, execs, attached := c.calls, c.execs, c.attached
	c.calls, c.execs, c.attached = nil, nil, nil
	why := c.whyLocked()
	c.mu.Unlock()
	for _, ch := range calls {
		ch <- answer{err: why}
	}
	for _, p := range execs {
		p.finish(0, why)
	}
	for _, a := range attached {
		a.finish(why.Error())
	}
}

// whyLocked is the error of everything after the end.
func (c *Client) whyLocked() error {
	if c.err != nil {
		return c.err
	}
	return ErrExited
}
