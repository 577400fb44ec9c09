package shim

import (
	"context"
	"errors"
	"os"
)

// AttachRequest joins the container's standard streams. nil files are left
// out. The shim sets O_NONBLOCK on what it is given, so pass pipes or sockets that
// nobody else reads or writes.
type AttachRequest struct {
	Stdin          *os.File // read by the shim, written to the container
	Stdout, Stderr *os.File // get what the container writes from now on; a terminal has only Stdout
}

// Attachment is a running attach.
type Attachment struct{}

// Attach copies between the container's streams and the files until the
// container exits, the reader of an output goes away or is too slow (1 MiB behind),
// Detach is called, or this connection ends. The log is not affected.
func (c *Client) Attach(ctx context.Context, r AttachRequest) (*Attachment, error) {
	return nil, errors.ErrUnsupported
}

// Done is closed when the attachment has ended.
func (a *Attachment) Done() <-chan struct{} { return nil }

// Detach ends the attachment.
func (a *Attachment) Detach(ctx context.Context) error { return errors.ErrUnsupported }
