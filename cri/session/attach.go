package session

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/cri-streaming/pkg/streaming/remotecommand"

	"github.com/varve-cri/varve/shim"
)

// Attach joins the client's streams with those of the container until the
// container exits or the context ends. A client that falls behind by more than
// the shim keeps for it is let go with shim.ErrSlow, because the container and
// its log wait for nobody.
func Attach(ctx context.Context, client *shim.Client, s Streams) error {
	p, err := pipes(s.In != nil, s.Out != nil, s.Err != nil)
	if err != nil {
		return err
	}
	defer closePipes(p)
	at, err := client.Attach(ctx, shim.AttachRequest{Stdin: p[0].r, Stdout: p[1].w, Stderr: p[2].w})
	_, _, _ = p[0].r.Close(), p[1].w.Close(), p[2].w.Close()
	if err != nil {
		return err
	}
	sizes, stop := context.WithCancel(ctx)
	defer stop()
	if s.TTY {
		go s.follow(sizes, func(size remotecommand.TerminalSize) { _ = client.Resize(sizes, size.Height, size.Width) })
	}
	if s.In != nil {
		go feed(p[0].w, s.In)
	}
	var flows []*flow
	if s.Out != nil {
		flows = append(flows, newFlow(p[1].r, s.Out))
	}
	if s.Err != nil {
		flows = append(flows, newFlow(p[2].r, s.Err))
	}
	select {
	case <-at.Done():
	case <-ctx.Done():
		return detach(ctx, at)
	}
	if err := at.Err(); errors.Is(err, shim.ErrSlow) {
		return err // at once: it may never take the rest
	}
	for _, f := range flows {
		select {
		case <-f.done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return at.Err()
}

// detach lets go of the container for a client that has gone.
func detach(ctx context.Context, at *shim.Attachment) error {
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), killTime)
	defer cancel()
	if err := at.Detach(bounded); err != nil {
		return errors.Join(context.Cause(ctx), fmt.Errorf("detach: %w", err))
	}
	return context.Cause(ctx)
}
