package spool

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

const (
	dataSuffix = ".blob"
	logSuffix  = ".ledger"
)

// What a blob unpacks to, in multiples of itself, must find room beside its spool;
// and when a pull found none all the same, spools stay away for some time, or the
// next try would fail for the same reason.
const (
	unpacked = 4
	stayAway = 10 * time.Minute
)

// errNoRoom tells that the limits leave no room for another spool.
var errNoRoom = errors.New("no room")

// Limits bound what spools cost. Zero fields take the defaults.
type Limits struct {
	// MinBytes is the smallest blob that is kept (16 MiB); negative keeps none.
	MinBytes int64
	// After is how long a transfer must have taken, most of it waiting for the
	// network, before its bytes are kept (2 s): what is near is not worth it.
	// Negative is at once.
	After time.Duration
	// MaxBytes and MaxCount bound all spools together (8 GiB, 64).
	MaxBytes int64
	MaxCount int
	// MaxAge is how long a spool that nobody asks for is kept (24 h).
	MaxAge time.Duration
	// MinFree is the percentage of the file system that must stay free (10);
	// negative is none.
	MinFree int
}

func (l Limits) withDefaults() Limits {
	if l.MinBytes == 0 {
		l.MinBytes = 16 << 20
	}
	if l.After == 0 {
		l.After = 2 * time.Second
	}
	if l.MaxBytes == 0 {
		l.MaxBytes = 8 << 30
	}
	if l.MaxCount == 0 {
		l.MaxCount = 64
	}
	if l.MaxAge == 0 {
		l.MaxAge = 24 * time.Hour
	}
	if l.MinFree == 0 {
		l.MinFree = 10
	}
	return l
}

// Spool is a directory of spools.
type Spool struct {
	dir    string
	limits Limits
	report func(string)

	mu      sync.Mutex
	entries map[string]*kept // by name; guarded by mu
	bytes   int64            // of all entries; guarded by mu
	emptied time.Time        // when the room was needed; guarded by mu
}

// kept is one blob's files.
type kept struct {
	busy  bool // a pull has it
	bytes int64
	used  time.Time
}

// Open opens the directory, which must be there, and removes what the limits do
// not allow. report is told of what does not work.
func Open(dir string, limits Limits, report func(string)) (*Spool, error) {
	s := &Spool{dir: dir, limits: limits.withDefaults(), report: report, entries: map[string]*kept{}}
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		name, ok := strings.CutSuffix(f.Name(), dataSuffix)
		if !ok {
			continue
		}
		if info, err := f.Info(); err == nil {
			s.entries[name] = &kept{bytes: info.Size(), used: info.ModTime()}
			s.bytes += info.Size()
		}
	}
	for _, f := range files {
		name := strings.TrimSuffix(strings.TrimSuffix(f.Name(), dataSuffix), logSuffix)
		if s.entries[name] == nil || f.Name() == name {
			_ = os.RemoveAll(s.path(f.Name()))
		}
	}
	s.Sweep()
	return s, nil
}

// After is the limit of that name.
func (s *Spool) After() time.Duration { return s.limits.After }

func (s *Spool) path(name string) string { return filepath.Join(s.dir, name) }

func nameOf(d digest.Digest) string { return d.Algorithm().String() + "-" + d.Encoded() }

// Take gives a blob's entry to one pull at a time; nil when the blob is too small
// or another pull has it. The digest must be valid: it becomes a file's name.
func (s *Spool) Take(d digest.Digest, size int64) *Entry {
	if s.limits.MinBytes < 0 || size < s.limits.MinBytes {
		return nil
	}
	name := nameOf(d)
	s.mu.Lock()
	k := s.entries[name]
	if k != nil && k.busy {
		s.mu.Unlock()
		return nil
	}
	there := k != nil
	if !there {
		k = &kept{}
		s.entries[name] = k
	}
	k.busy, k.used = true, time.Now()
	s.mu.Unlock()
	e := &Entry{spool: s, name: name, size: size, ledger: ledger{name: name, size: size}}
	if there {
		if err := e.load(); err != nil {
			e.close()
			e.sums, e.ledger.from = nil, 0
			s.remove(name)
		}
	}
	return e
}

// Drop removes what is kept of a blob: it is in the store now, or was not what its
// digest says.
func (s *Spool) Drop(d digest.Digest) {
	name := nameOf(d)
	s.mu.Lock()
	k := s.entries[name]
	drop := k != nil && !k.busy
	if drop {
		k.busy = true
	}
	s.mu.Unlock()
	if drop {
		s.remove(name)
		s.release(name)
	}
}

// remove deletes an entry's files; its pull may go on with it.
func (s *Spool) remove(name string) {
	for _, suffix := range []string{logSuffix, dataSuffix} { // the ledger first: without it the data is nothing
		if err := os.Remove(s.path(name + suffix)); err != nil && !os.IsNotExist(err) {
			s.report(fmt.Sprintf("spool: %v", err))
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := s.entries[name]; k != nil {
		s.bytes -= k.bytes
		k.bytes = 0
	}
}

// release gives the entry back; one without files is forgotten.
func (s *Spool) release(name string) {
	size := int64(0)
	if info, err := os.Stat(s.path(name + dataSuffix)); err == nil {
		size = info.Size()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.entries[name]
	s.bytes += size - k.bytes
	k.busy, k.bytes, k.used = false, size, time.Now()
	if size == 0 {
		delete(s.entries, name)
	}
}

// admit asks whether another spool of so many bytes may begin, and makes room at
// the cost of the oldest.
func (s *Spool) admit(name string, bytes int64) error {
	s.mu.Lock()
	needed := !s.emptied.IsZero() && time.Since(s.emptied) < stayAway
	s.mu.Unlock()
	if bytes > s.limits.MaxBytes || needed {
		return errNoRoom
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(s.dir, &fs); err != nil {
		return err
	}
	free := int64(fs.Bavail) * fs.Bsize
	if s.limits.MinFree > 0 && free-(1+unpacked)*bytes < int64(fs.Blocks)/100*int64(s.limits.MinFree)*fs.Bsize {
		return errNoRoom
	}
	s.evict(name, s.limits.MaxCount, s.limits.MaxBytes-bytes)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.entries) > s.limits.MaxCount || s.bytes+bytes > s.limits.MaxBytes {
		return errNoRoom
	}
	return nil
}

// grow counts bytes that are about to be written.
func (s *Spool) grow(name string, n int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bytes+n > s.limits.MaxBytes {
		return false
	}
	s.bytes += n
	s.entries[name].bytes += n
	return true
}

// Sweep removes the spools that are older or more than the limits allow.
func (s *Spool) Sweep() { s.evict("", s.limits.MaxCount, s.limits.MaxBytes) }

// Empty removes all spools that no pull has, and lets none begin for some time: a
// pull needed the room.
func (s *Spool) Empty() {
	s.mu.Lock()
	s.emptied = time.Now()
	s.mu.Unlock()
	s.evict("", 0, 0)
}

// evict removes idle spools, those that are too old and then the oldest, until
// there are at most so many with at most so many bytes; spared is left alone.
func (s *Spool) evict(spared string, count int, bytes int64) {
	for _, name := range s.chooseVictims(spared, count, bytes) {
		s.remove(name)
		s.release(name)
	}
}

func (s *Spool) chooseVictims(spared string, count int, bytes int64) (victims []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var idle []string
	for name, k := range s.entries {
		if !k.busy && name != spared {
			idle = append(idle, name)
		}
	}
	slices.SortFunc(idle, func(a, b string) int { return s.entries[a].used.Compare(s.entries[b].used) })
	have, total := len(s.entries), s.bytes
	for _, name := range idle {
		k := s.entries[name]
		// A clock that was set back makes files of the future; they are as old.
		if age := time.Since(k.used); have <= count && total <= bytes && age <= s.limits.MaxAge && age >= -s.limits.MaxAge {
			continue
		}
		k.busy = true
		have, total = have-1, total-k.bytes
		victims = append(victims, name)
	}
	return victims
}
