package imagestore

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/imagestore/fault"
)

// The reserve is kept on the disk so that a full one can still be cleaned up: the
// database needs a few pages to forget an image, and a store that opens tries its
// mounts in a few directories.
const (
	reserveName   = "reserve"
	reserveBytes  = 1 << 20
	reserveInodes = 64
)

// trash takes directories out of sight at once and deletes them in the
// background, one at a time, so that a removal is quick and does not take the
// disk from the containers.
type trash struct {
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

func newTrash(dir, reserve string, report func(string)) *trash {
	t := &trash{dir: dir, reserve: reserve, report: report, ended: make(chan struct{})}
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

// put moves a path into the trash. Where even the rename finds no room, with the
// reserve neither, the path is deleted at once: it must not be in the queue under a
// name that the next pull may take.
func (t *trash) put(path string) {
	to := filepath.Join(t.dir, fmt.Sprintf("%s-%d", t.prefix, t.serial.Add(1)))
	err := os.Rename(path, to)
	if fault.KindOf(err) == NoSpace && t.spend() {
		err = os.Rename(path, to)
	}
	switch {
	case err == nil:
		t.enqueue(to)
	case !os.IsNotExist(err):
		t.delete(path)
	}
}

// delete deletes a path, and makes the reserve anew if it was spent to get here.
func (t *trash) delete(path string) {
	if err := os.RemoveAll(path); err != nil {
		t.report(fmt.Sprintf("delete %s: %v", path, err))
	}
	t.keepReserve()
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
		shrink(path)
		t.delete(path)
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

// keepReserve makes the reserve when it is not there and there is room for it.
func (t *trash) keepReserve() {
	t.reserveMu.Lock()
	defer t.reserveMu.Unlock()
	if err := os.Mkdir(t.reserve, 0o700); err != nil {
		return // it is there, or there is no room
	}
	if err := makeReserve(t.reserve); err != nil {
		_ = os.RemoveAll(t.reserve)
	}
}

func makeReserve(dir string) error {
	for i := range reserveInodes {
		f, err := os.Create(filepath.Join(dir, strconv.Itoa(i)))
		if err != nil {
			return err
		}
		f.Close()
	}
	f, err := os.Create(filepath.Join(dir, "last"))
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Fallocate(int(f.Fd()), 0, 0, reserveBytes)
}

// spend gives the reserve back to the disk, and tells whether there was one.
func (t *trash) spend() bool {
	t.reserveMu.Lock()
	defer t.reserveMu.Unlock()
	return spendReserve(t.reserve)
}

func spendReserve(dir string) bool {
	_, err := os.Lstat(dir)
	return err == nil && os.RemoveAll(dir) == nil
}
