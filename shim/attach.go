package shim

import (
	"context"
	"errors"
	"os"
	"sync"

	"github.com/varve-cri/varve/shim/proto"
)

// AttachRequest joins the container's standard streams. nil files are left
// out. The shim sets O_NONBLOCK on what it is given, so pass pipes or sockets that
// nobody else reads or writes, and close your own descriptors after Attach.
type AttachRequest struct {
	Stdin          *os.File // read by the shim, written to the container
	Stdout, Stderr *os.File // get what the container writes from now on; a terminal has only Stdout
}

// Attachment is a running attach.
type Attachment struct {
	c      *Client
	id     uint32
	done   chan struct{}
	once   sync.Once
	reason string
	mine   bool // Attach has returned it; guarded by c.mu
}

// Attach copies between the container's streams and the files until the
// container exits, the reader of an output goes away or is too slow (1 MiB behind),
// Detach is called, or this connection ends. The log is not affected.
func (c *Client) Attach(ctx context.Context, r AttachRequest) (*Attachment, error) {
	var a answer
	m := &proto.Attach{In: r.Stdin != nil, Out: r.Stdout != nil, Err: r.Stderr != nil}
	err := descriptors([]*os.File{r.Stdin, r.Stdout, r.Stderr}, func(fds []int) error {
		var err error
		a, err = c.call(ctx, proto.VerbAttach, m, fds...)
		return err
	})
	if err != nil {
		return nil, err
	}
	var got proto.Attached
	if err := proto.Decode(a.body, &got); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	at := c.attachmentLocked(got.ID)
	if at == nil {
		return nil, c.whyLocked()
	}
	at.mine = true
	select {
	case <-at.done:
		delete(c.attached, at.id)
	default:
	}
	return at, nil
}

// onDetached takes the end of an attachment.
func (c *Client) onDetached(m *proto.Detached) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := c.attachmentLocked(m.ID)
	if a == nil {
		return
	}
	a.finish(m.Reason)
	if a.mine {
		delete(c.attached, m.ID)
	}
}

// unwanted ends an attachment whose Attach was given up before the answer.
func (c *Client) unwanted(body []byte) {
	var m proto.Attached
	if proto.Decode(body, &m) == nil {
		msg := proto.Append(nil, proto.Head{Kind: proto.Request, Verb: proto.VerbDetach}, &proto.Detach{ID: m.ID})
		_ = control(c.conn, func(fd int) error { return proto.Send(fd, msg) })
	}
}

// attachmentLocked finds an attachment or makes it known: the shim may tell
// of its end before Attach has seen its beginning.
func (c *Client) attachmentLocked(id uint32) *Attachment {
	if c.attached == nil {
		return nil
	}
	a := c.attached[id]
	if a == nil {
		a = &Attachment{c: c, id: id, done: make(chan struct{})}
		c.attached[id] = a
	}
	return a
}

func (a *Attachment) finish(reason string) {
	if a == nil {
		return
	}
	a.once.Do(func() {
		a.reason = reason
		close(a.done)
	})
}

// Done is closed when the attachment has ended.
func (a *Attachment) Done() <-chan struct{} { return a.done }

// Reason says why it has ended, once Done is closed.
func (a *Attachment) Reason() string {
	<-a.done
	return a.reason
}

// Err is why it has ended, once Done is closed: nil when the container has
// exited or Detach was called, ErrSlow when the reader of an output fell too far
// behind.
func (a *Attachment) Err() error {
	switch reason := a.Reason(); reason {
	case "", proto.ReasonDetached, proto.ReasonExited:
		return nil
	case proto.ReasonSlow:
		return ErrSlow
	default:
		return errors.New(reason)
	}
}

// Detach ends the attachment.
func (a *Attachment) Detach(ctx context.Context) error {
	err := a.c.ask(ctx, proto.VerbDetach, &proto.Detach{ID: a.id}, nil)
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrExited) {
		return nil
	}
	return err
}
