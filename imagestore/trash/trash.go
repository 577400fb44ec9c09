package trash

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/varve-cri/varve/imagestore/fault"
)

// Trash is a directory of what is being deleted. All its methods may be called at the
// same time.
type Trash struct {
	dir, reserve string
	report       func(string)
	prefix       string
	serial       atomic.Uint64
	reserveMu    sync.Mutex // held while the reserve is made or spent

	mu     sync.Mutex
	queue  []string
	closed bool
	more   *sync.Cond
	idle   *sync.Cond
	busy   bool
	ended  chan struct{}
}

// Open begins to work in dir, which must be there, and makes the reserve when there is
// room for it. report is told of what could not be deleted.
func Open(dir, reserve string, report func(string)) *Trash {
	t := &Trash{dir: dir, reserve: reserve, report: report, ended: make(chan struct{})}
	// Names from an earlier life of the store must not be met again, whatever the
	// clock says.
	t.prefix = rand.Text()
	t.more, t.idle = sync.NewCond(&t.mu), sync.NewCond(&t.mu)
	// A crash may have left it half-made.
	if info, err := os.Stat(filepath.Join(reserve, "last")); err != nil || info.Size() < reserveBytes {
		_ = os.RemoveAll(reserve)
	}
	t.keepReserve()
	go t.work()
	return t
}

// Put moves a path, on the same file system, into the trash; one that is not there is
// nothing to do. Where even the rename finds no room, with the reserve neither, the
// path is deleted at once: it must not be in the queue under a name that the next pull
// may take.
func (t *Trash) Put(path string) {
	to := filepath.Join(t.dir, fmt.Sprintf("%s-%d", t.prefix, t.serial.Add(1)))
	err := os.Rename(path, to)
	if fault.KindOf(err) == fault.NoSpace && t.Spend() {
		err = os.Rename(path, to)
	}
	switch {
	case err == nil:
		t.Enqueue(to)
	case !os.IsNotExist(err):
		t.delete(path)
	}
}

// delete deletes a path, and makes the reserve anew if it was spent to get here.
func (t *Trash) delete(path string) {
	if err := os.RemoveAll(path); err != nil {
		t.report(fmt.Sprintf("delete %s: %v", path, err))
	}
	t.keepReserve()
}

// Enqueue has a path deleted that is in the directory already: what an earlier life of
// the store left.
func (t *Trash) Enqueue(path string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.queue = append(t.queue, path)
	t.more.Signal()
}

func (t *Trash) work() {
	defer close(t.ended)
	for {
		path, ok := t.next()
		if !ok {
			return
		}
		shrink(path)
		t.delete(path)
	}
}

func (t *Trash) next() (string, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.busy = false; len(t.queue) == 0 {
		t.idle.Broadcast()
	}
	for len(t.queue) == 0 && !t.closed {
		t.more.Wait()
	}
	if t.closed {
		return "", false
	}
	path := t.queue[0]
	t.queue = t.queue[1:]
	t.busy = true
	return path, true
}

// Wait returns when the trash is empty.
func (t *Trash) Wait() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for (t.busy || len(t.queue) > 0) && !t.closed {
		t.idle.Wait()
	}
}

// Pending is how many things wait for their space to be freed.
func (t *Trash) Pending() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := len(t.queue)
	if t.busy {
		n++
	}
	return n
}

// Close ends the work after the deletion at hand; the rest is for the next life of the
// store, which must Enqueue it.
func (t *Trash) Close() {
	t.mu.Lock()
	t.closed = true
	t.more.Signal()
	t.idle.Broadcast()
	t.mu.Unlock()
	<-t.ended
}
