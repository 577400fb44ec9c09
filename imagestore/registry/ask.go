package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/varve-cri/varve/imagestore/fault"
	"github.com/varve-cri/varve/imagestore/progress"
)

// errSlow ends a request to a host that has others after it.
var errSlow = errors.New("no answer in time")

// try asks one host until it answers. A host with others after it gets less
// patience: fewer attempts, a shorter wait for the answer, and in all no more time
// for its failures than Limits.Share, so that a sick mirror does not eat the whole
// pull (containerd#10624).
func (r *Repository) try(ctx context.Context, h *host, last bool, q request) (*http.Response, error) {
	attempts, left := r.limits.Attempts, time.Duration(1<<62)
	if !last {
		attempts, left = min(attempts, 2), r.limits.Share-time.Duration(h.spent.Load())
	}
	begun := time.Now()
	failed := func(err error) error {
		h.spent.Add(int64(time.Since(begun)))
		return err
	}
	for n := 0; ; n++ {
		resp, err := r.attempt(ctx, h, last, q)
		passing := (*transient)(nil)
		if err == nil {
			return resp, nil
		}
		if !errors.As(err, &passing) {
			return nil, failed(err)
		}
		wait := max(passing.after, r.limits.Backoff<<n)
		if n+1 >= attempts || passing.after > r.limits.RetryAfter || time.Since(begun)+wait >= left {
			return nil, failed(passing.err)
		}
		progress.Retried(ctx, fmt.Errorf("%w; again in %v", passing.err, wait))
		if err := pause(ctx, wait); err != nil {
			return nil, h.fault(fault.Canceled, q, err)
		}
	}
}

// attempt sends once; a host with others after it must answer within MirrorHeader,
// its token server included.
func (r *Repository) attempt(ctx context.Context, h *host, last bool, q request) (*http.Response, error) {
	if last {
		return h.send(ctx, r.path, q)
	}
	bounded, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(r.limits.MirrorHeader, func() { cancel(errSlow) })
	resp, err := h.send(bounded, r.path, q)
	timer.Stop()
	if errors.Is(context.Cause(bounded), errSlow) {
		if err == nil {
			resp.Body.Close()
		}
		err = &transient{err: h.fault(fault.Unavailable, q, fmt.Errorf("%w: %v", errSlow, r.limits.MirrorHeader))}
	}
	if err != nil {
		cancel(nil)
		return nil, err
	}
	resp.Body = &bound{resp.Body, cancel}
	return resp, nil
}

// bound ends a request's context with its body.
type bound struct {
	io.ReadCloser
	cancel context.CancelCauseFunc
}

func (b *bound) Close() error {
	err := b.ReadCloser.Close()
	b.cancel(nil)
	return err
}

// order lists the hosts to ask: those that may answer the question, the ones that
// failed before in this pull after those that did not.
func (r *Repository) order(resolve bool) []*host {
	var hosts []*host
	for _, h := range r.hosts {
		if (resolve && h.resolve || !resolve && h.pull) && !h.barred.Load() {
			hosts = append(hosts, h)
		}
	}
	slices.SortStableFunc(hosts, func(a, b *host) int { return int(a.strikes.Load() - b.strikes.Load()) })
	return hosts
}

// ask asks the hosts in order until one answers, and gives that one too.
func (r *Repository) ask(ctx context.Context, q request) (*http.Response, *host, error) {
	var before []string
	hosts := r.order(q.resolve)
	for i, h := range hosts {
		last := i == len(hosts)-1
		if !last && time.Duration(h.spent.Load()) >= r.limits.Share {
			before = append(before, h.base.Host+": its share of the time is used up")
			continue
		}
		resp, err := r.try(ctx, h, last, q)
		if err == nil {
			return resp, h, nil
		}
		if last || ctx.Err() != nil {
			return nil, h, withHistory(err, before)
		}
		// Who lacks one part of an image will lack the others.
		h.strikes.Add(1)
		before = append(before, h.base.Host+": "+err.Error())
	}
	return nil, nil, fault.New(fault.Invalid, q.step, errors.New("no host is configured that may be asked for it"))
}

// withHistory adds to the last host's error what the hosts before it said.
func withHistory(err error, before []string) error {
	last := (*fault.Error)(nil)
	if len(before) == 0 || !errors.As(err, &last) {
		return err
	}
	told := *last
	told.Err = fmt.Errorf("%w (before that %s)", last.Err, strings.Join(before, "; "))
	return &told
}

// passOver puts a host that answered badly behind the others, or asks it no more
// at all when what it sent was not what the digest says. It tells whether there is
// another host to ask, and leaves the last one alone.
func (r *Repository) passOver(h *host, resolve, lied bool) bool {
	for _, other := range r.order(resolve) {
		if other == h || !lied && other.strikes.Load() > h.strikes.Load() {
			continue // one that failed more often is no better
		}
		if lied {
			h.barred.Store(true)
		}
		h.strikes.Store(other.strikes.Load() + 1)
		return true
	}
	return false
}

// pause waits, or gives the cause for which ctx ended.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
