package stats

import (
	"sync"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// maxAge is how old the size of a read-write layer may be before it is
// measured again, in the background.
const maxAge = 10 * time.Second

// FirstMeasure is how long a request waits for the first measurements of
// layers, so that the first answer is a true one wherever the layer is small.
const FirstMeasure = 100 * time.Millisecond

// Layer is the size of one container's read-write layer as last measured.
type Layer struct {
	mu      sync.Mutex
	last    *runtimeapi.FilesystemUsage // guarded by mu
	pending chan struct{}               // guarded by mu; closed when the measurement that runs has ended
}

// begin has the layer of container id measured unless its size is known and
// fresh. What it returns is to be waited for before the size is asked for: nil,
// but for the first time.
func (r *Reader) begin(id string, l *Layer) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last != nil && time.Since(time.Unix(0, l.last.GetTimestamp())) < maxAge {
		return nil
	}
	if l.pending == nil {
		l.pending = make(chan struct{})
		go r.walk(id, l, l.pending)
	}
	if l.last != nil {
		return nil
	}
	return l.pending
}

func (r *Reader) walk(id string, l *Layer, done chan struct{}) {
	r.walks <- struct{}{} // one at a time: the disk serves the containers first
	bytes, inodes, err := r.measure(id)
	<-r.walks
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil { // else it is being removed, or the next request tries again
		l.last = r.usage(bytes, inodes)
	}
	l.pending = nil
	close(done)
}

// size returns the size as last measured, after the first measurement but not
// after the deadline.
func (r *Reader) size(l *Layer, first <-chan struct{}, deadline time.Time) *runtimeapi.FilesystemUsage {
	if first != nil {
		t := time.NewTimer(time.Until(deadline))
		defer t.Stop()
		select {
		case <-first:
		case <-t.C:
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last == nil {
		return r.usage(0, 0)
	}
	return l.last
}

func (r *Reader) usage(bytes, inodes uint64) *runtimeapi.FilesystemUsage {
	return &runtimeapi.FilesystemUsage{
		Timestamp: time.Now().UnixNano(), FsId: &runtimeapi.FilesystemIdentifier{Mountpoint: r.root},
		UsedBytes: value(bytes), InodesUsed: value(inodes),
	}
}
