package scrub

import (
	"context"
	"time"
)

// shortest is the shortest sleep: shorter ones cost more than they save.
const shortest = 10 * time.Millisecond

// Pacer spreads reading over time.
type Pacer struct {
	ctx   context.Context //nolint:containedctx // of the one check that it paces
	rate  int64
	begun time.Time
	read  int64
}

// NewPacer allows so many bytes a second, 0 any number, until ctx ends.
func NewPacer(ctx context.Context, rate int64) *Pacer {
	return &Pacer{ctx: ctx, rate: rate, begun: time.Now()}
}

// Wait returns when so many bytes more may be read, or the context's cause.
func (p *Pacer) Wait(bytes int) error {
	p.read += int64(bytes)
	if p.rate <= 0 {
		return context.Cause(p.ctx)
	}
	ahead := time.Duration(float64(p.read)/float64(p.rate)*float64(time.Second)) - time.Since(p.begun)
	if ahead < shortest {
		return context.Cause(p.ctx)
	}
	select {
	case <-time.After(ahead):
		return nil
	case <-p.ctx.Done():
		return context.Cause(p.ctx)
	}
}
