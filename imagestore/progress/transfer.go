package progress

import (
	"context"
	"io"
	"math"
	"sync/atomic"
	"time"
)

// transfer is the making of one layer, which several pulls may wait for.
type transfer struct {
	key   string
	users map[*Pull]int // joins of each; guarded by Pulls.mu
	work  *Work         // the newest; guarded by Pulls.mu
}

// Work is one attempt to make a layer: where those who do it count. A nil Work
// counts nothing.
type Work struct {
	pulls    *Pulls
	transfer *transfer
	stage    LayerStage // guarded by Pulls.mu
	meter    meter      // guarded by Pulls.mu

	fetched, unpacked atomic.Int64
	kept              atomic.Int64 // of fetched, what an earlier pull had left on the disk
	wasted            atomic.Int64 // what was fetched of blobs before the last
	troubles
}

// troubles are counted by the registry's client.
type troubles struct {
	retries, resumes atomic.Int64
	last             atomic.Pointer[string] // the cause of the last one
}

func (t *troubles) note(cause error) {
	text := cause.Error()
	t.last.Store(&text)
}

// lastTrouble is the cause of the last one, or empty.
func (t *troubles) lastTrouble() string {
	if text := t.last.Load(); text != nil {
		return *text
	}
	return ""
}

// What a context may carry.
type (
	joinKey     struct{} // *joined
	workKey     struct{} // *Work
	troublesKey struct{} // *troubles
)

// joined is a transfer that a pull waits for, and may be the first to begin.
type joined struct {
	pulls    *Pulls
	transfer *transfer
}

// Begin starts an attempt at the layer that was joined in ctx; End must be
// called. The context that it gives carries the Work.
func Begin(ctx context.Context) (context.Context, *Work) {
	j, _ := ctx.Value(joinKey{}).(*joined)
	if j == nil {
		return ctx, nil
	}
	w := &Work{pulls: j.pulls, transfer: j.transfer, stage: LayerWaiting}
	w.pulls.mu.Lock()
	defer w.pulls.mu.Unlock()
	w.transfer.work = w
	w.pulls.working[w] = true
	w.pulls.touchLocked(w.transfer)
	return context.WithValue(context.WithValue(ctx, workKey{}, w), troublesKey{}, &w.troubles), w
}

// Of gives the Work of a context, or nil.
func Of(ctx context.Context) *Work {
	w, _ := ctx.Value(workKey{}).(*Work)
	return w
}

// Stage says what is done from now on.
func (w *Work) Stage(s LayerStage) {
	if w == nil {
		return
	}
	w.pulls.mu.Lock()
	defer w.pulls.mu.Unlock()
	w.stageLocked(s)
}

func (w *Work) stageLocked(s LayerStage) {
	if w.stage != s && !w.stage.Ended() {
		w.stage = s
		w.meter.at = time.Now() // it is used from the beginning of fetching on
		w.pulls.touchLocked(w.transfer)
	}
}

// End says how the attempt ended.
func (w *Work) End(err error) {
	if w == nil {
		return
	}
	w.pulls.mu.Lock()
	defer w.pulls.mu.Unlock()
	if err != nil {
		w.stageLocked(LayerFailed)
	} else {
		w.stageLocked(LayerDone)
	}
	delete(w.pulls.working, w)
	w.pulls.ended.add(w)
}

// Fetching counts what is read from the blob. Its end is the end of fetching. The
// blob of another host, after one whose bytes were wrong, begins at nothing.
func (w *Work) Fetching(blob io.ReadCloser) io.ReadCloser {
	if w == nil {
		return blob
	}
	w.wasted.Add(w.fetched.Swap(0) - w.kept.Swap(0))
	w.unpacked.Store(0)
	w.Stage(LayerFetching)
	return &fetching{ReadCloser: blob, work: w}
}

type fetching struct {
	io.ReadCloser
	work *Work
}

func (f *fetching) Read(p []byte) (int, error) {
	n, err := f.ReadCloser.Read(p)
	f.work.fetched.Add(int64(n))
	if err == io.EOF {
		f.work.Stage(LayerUnpacking)
	}
	return n, err
}

// Kept says that of what Fetching counts n bytes do not come from the network: an
// earlier pull left them.
func (w *Work) Kept(n int) {
	if w != nil {
		w.kept.Add(int64(n))
	}
}

// Unpacking counts what is read from the archive. One that can hand its bytes over
// by a method Next still can.
func (w *Work) Unpacking(archive io.Reader) io.Reader {
	if w == nil {
		return archive
	}
	u := unpacking{archive, w}
	if next, ok := archive.(handing); ok {
		return &handedOver{u, next}
	}
	return &u
}

// handing is a reader that can give its own buffers away.
type handing interface {
	io.Reader
	Next() ([]byte, error)
}

type handedOver struct {
	unpacking
	next handing
}

func (h *handedOver) Next() ([]byte, error) {
	b, err := h.next.Next()
	h.work.unpacked.Add(int64(len(b)))
	return b, err
}

type unpacking struct {
	archive io.Reader
	work    *Work
}

func (u *unpacking) Read(p []byte) (int, error) {
	n, err := u.archive.Read(p)
	u.work.unpacked.Add(int64(n))
	return n, err
}

// Unpacked says how long the archive was, with the padding that its reader left.
func (w *Work) Unpacked(size int64) {
	if w != nil {
		w.unpacked.Store(size)
	}
}

// Retried counts a request that is made again because of an error, for the pull or
// layer that ctx belongs to. It is told before the pause, so that who waits can be
// told why.
func Retried(ctx context.Context, cause error) {
	if t, ok := ctx.Value(troublesKey{}).(*troubles); ok {
		t.note(cause)
		t.retries.Add(1)
	}
}

// Resumed counts a transfer that is taken up where it broke. See Retried.
func Resumed(ctx context.Context, cause error) {
	if t, ok := ctx.Value(troublesKey{}).(*troubles); ok {
		t.note(cause)
		t.resumes.Add(1)
	}
}

// smoothing is the time over which a rate is averaged, sampling the shortest
// time that says anything.
const (
	smoothing = 3 * time.Second
	sampling  = 200 * time.Millisecond
)

// meter smooths a rate. It is moved on by who looks at it, at whatever times.
type meter struct {
	at    time.Time
	bytes int64
	rate  float64
}

func (m *meter) sample(now time.Time, bytes int64) int64 {
	passed := now.Sub(m.at)
	if passed < sampling {
		return int64(m.rate)
	}
	weight := 1 - math.Exp(-float64(passed)/float64(smoothing))
	if m.rate == 0 {
		weight = 1 // the first one stands for all
	}
	m.rate += weight * (float64(bytes-m.bytes)/passed.Seconds() - m.rate)
	m.at, m.bytes = now, bytes
	return int64(m.rate)
}

// stateLocked fills in what the work knows of a layer.
func (w *Work) stateLocked(s *LayerState, now time.Time) {
	s.Stage, s.Fetched, s.Unpacked, s.Kept = w.stage, w.fetched.Load(), w.unpacked.Load(), w.kept.Load()
	s.Retries, s.Resumes, s.Trouble = w.retries.Load(), w.resumes.Load(), w.lastTrouble()
	if s.Stage == LayerFetching {
		s.Rate = w.meter.sample(now, max(0, s.Fetched-s.Kept))
	}
}
