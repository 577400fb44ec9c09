package progress

import (
	"context"
	"strconv"
	"time"

	"github.com/varve-cri/varve/imagestore/fault"
)

// Pull is one pull of an image. Its methods may be called at the same time.
type Pull struct {
	pulls *Pulls
	troubles

	// Pulls.mu guards what follows. Of state only the parts are kept that no one
	// counts: snapshotLocked adds the others.
	state  State
	layers []layer
}

// layer is one layer of a pull.
type layer struct {
	state    LayerState // its end, once ended is set
	transfer *transfer  // while it is joined
	shared   bool
	ended    bool
}

// Blob is the blob of a layer, as the manifest has it.
type Blob struct {
	Digest string
	Size   int64
}

// Context carries the pull to who counts Retried and Resumed.
func (p *Pull) Context(ctx context.Context) context.Context {
	return context.WithValue(ctx, troublesKey{}, &p.troubles)
}

// ID tells the pull from all others.
func (p *Pull) ID() string { return p.state.ID } // never changes

// Stage says what the pull does from now on.
func (p *Pull) Stage(s Stage) {
	p.pulls.mu.Lock()
	defer p.pulls.mu.Unlock()
	if !p.state.Stage.Ended() {
		p.state.Stage = s
		p.pulls.changedLocked(p, false)
	}
}

// Layers says which layers there are, and that the pull is at them.
func (p *Pull) Layers(blobs []Blob) {
	p.pulls.mu.Lock()
	defer p.pulls.mu.Unlock()
	p.state.Stage = Layers
	p.layers = make([]layer, len(blobs))
	for i, b := range blobs {
		p.layers[i].state = LayerState{Digest: b.Digest, Total: b.Size, Stage: LayerWaiting}
	}
	p.pulls.changedLocked(p, false)
}

// Join says that the pull waits for its layer i, which is made under key by
// whoever began; leave ends that, with the result. A pull may join a layer again
// because another of its layers needs it.
func (p *Pull) Join(ctx context.Context, i int, key string) (_ context.Context, leave func(error)) {
	s := p.pulls
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.transfers[key]
	if t == nil {
		t = &transfer{key: key, users: map[*Pull]int{}}
		s.transfers[key] = t
	}
	l := &p.layers[i]
	if l.transfer == nil && !l.ended {
		l.transfer, l.shared = t, len(t.users) > 0
	}
	t.users[p]++
	s.changedLocked(p, false)
	return context.WithValue(ctx, joinKey{}, &joined{s, t}), func(err error) { p.leave(l, t, err) }
}

func (p *Pull) leave(l *layer, t *transfer, err error) {
	s := p.pulls
	s.mu.Lock()
	defer s.mu.Unlock()
	if !l.ended {
		l.state = l.stateLocked(time.Now())
		l.ended, l.transfer = true, nil
		switch {
		case err != nil:
			l.state.Stage = LayerFailed
		case !l.state.Stage.Ended():
			l.state.Stage = LayerDone
		}
		l.state.Rate = 0
		s.changedLocked(p, false)
	}
	if t.users[p]--; t.users[p] == 0 {
		delete(t.users, p)
	}
	if len(t.users) == 0 && s.transfers[t.key] == t {
		delete(s.transfers, t.key)
	}
}

// Unchanged says that the image is here and up to date.
func (p *Pull) Unchanged() {
	p.pulls.mu.Lock()
	defer p.pulls.mu.Unlock()
	p.state.Unchanged = true
}

// End says how the pull ended: with the image's id, or with an error.
func (p *Pull) End(image string, err error) {
	s := p.pulls
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.state.Stage.Ended() {
		return
	}
	now := time.Now()
	p.state.Stage, p.state.Image, p.state.Ended = Done, image, &now
	if err != nil {
		p.state.Stage, p.state.Image = Failed, ""
		p.state.Error, p.state.Kind = err.Error(), fault.KindOf(err)
	}
	s.endLocked(p, now)
}

// State gives the pull as it is now.
func (p *Pull) State() State {
	p.pulls.mu.Lock()
	defer p.pulls.mu.Unlock()
	return p.snapshotLocked(time.Now())
}

func (p *Pull) snapshotLocked(now time.Time) State {
	s := p.state
	s.Retries, s.Resumes, s.Trouble = p.retries.Load(), p.resumes.Load(), p.lastTrouble()
	s.Layers = make([]LayerState, len(p.layers))
	for i := range p.layers {
		l := p.layers[i].stateLocked(now)
		s.Layers[i] = l
		s.Total += l.Total
		s.Fetched += l.Fetched
		s.Kept += l.Kept
		s.Rate += l.Rate
		s.Retries += l.Retries
		s.Resumes += l.Resumes
	}
	return s
}

func (l *layer) stateLocked(now time.Time) LayerState {
	s := l.state
	if l.transfer == nil {
		return s
	}
	s.Shared = l.shared
	if w := l.transfer.work; w != nil {
		w.stateLocked(&s, now)
	}
	return s
}

// countLocked is a number that changes with every byte and every trouble.
func (p *Pull) countLocked() (n int64) {
	n = p.retries.Load() + p.resumes.Load()
	for i := range p.layers {
		if t := p.layers[i].transfer; t != nil && t.work != nil {
			w := t.work
			n += w.fetched.Load() + w.wasted.Load() + w.unpacked.Load() + w.retries.Load() + w.resumes.Load()
		}
	}
	return n
}

func name(n uint64) string { return strconv.FormatUint(n, 10) }
