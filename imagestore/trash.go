package imagestore

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// reserveBytes is kept on the disk so that a full one can still be cleaned up:
// the database needs a few pages to forget an image.
const reserveBytes = 1 << 20

// trash takes directories out of sight at once and deletes them in the
// background, one at a time, so that a removal is quick and does not take the
// disk from the containers.
type trash struct {
	dir, reserve string
	report       func(string)
	prefix       string
	serial       atomic.Uint64

	mu     sync.Mutex
	queue  []string
	closed bool
	more   *sync.Cond
	idle   *sync.Cond
	busy   bool
	ended  chan struct{}
}

func newTrash(dir, reserve string, report func(string)) *trash {
	t := &trash{dir: dir, reserve: reserve, report: report, ended: make(chan struct{})}
	// Names from an earlier life of the store must not be met again.
	t.prefix = fmt.Sprintf("%x", time.Now().UnixNano())
	t.more, t.idle = sync.NewCond(&t.mu), sync.NewCond(&t.mu)
	t.keepReserve()
	go t.work()
	return t
}

// put moves a path into the trash. On a disk too full for the rename the path is
// deleted where it is.
func (t *trash) put(path string) {
	to := filepath.Join(t.dir, fmt.Sprintf("%s-%d", t.prefix, t.serial.Add(1)))
	if err := os.Rename(path, to); err != nil {
		if os.IsNotExist(err) {
			return
		}
		to = path
	}
	t.enqueue(to)
}

func (t *trash) enqueue(path string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.queue = append(t.queue, path)
	t.more.Signal()
}

func (t *trash) work() {
	defer close(t.ended)
	for {
		path, ok := t.next()
		if !ok {
			return
		}
		if err := os.RemoveAll(path); err != nil {
			t.report(fmt.Sprintf("delete %s: %v", path, err))
		}
	}
}

func (t *trash) next() (string, bool) {
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

// wait returns when the trash is empty.
func (t *trash) wait() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for (t.busy || len(t.queue) > 0) && !t.closed {
		t.idle.Wait()
	}
}

// close ends the work after the deletion at hand; the next Open goes on.
func (t *trash) close() {
	t.mu.Lock()
	t.closed = true
	t.more.Signal()
	t.idle.Broadcast()
	t.mu.Unlock()
	<-t.ended
}

// keepReserve makes the reserve when there is room for it.
func (t *trash) keepReserve() {
	f, err := os.OpenFile(t.reserve, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return
	}
	defer f.Close()
	if err := unix.Fallocate(int(f.Fd()), 0, 0, reserveBytes); err != nil {
		_ = os.Remove(t.reserve)
	}
}

// spend gives the reserve back to the disk, and tells whether there was one.
func (t *trash) spend() bool { return os.Remove(t.reserve) == nil }
