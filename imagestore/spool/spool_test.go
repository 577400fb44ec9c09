package spool

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

const blobBytes = 6*chunkBytes + 12345

var content = func() []byte {
	b := make([]byte, blobBytes)
	chacha := rand.NewChaCha8([32]byte{})
	_, _ = chacha.Read(b)
	return b
}()

var sum = digest.FromBytes(content)

func open(t *testing.T, dir string, l Limits) *Spool {
	t.Helper()
	if l.MinBytes == 0 {
		l.MinBytes = 1
	}
	if l.MinFree == 0 {
		l.MinFree = -1
	}
	s, err := Open(dir, l, func(m string) { t.Log(m) })
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// keep keeps content[from:to] in pieces of odd sizes.
func keep(e *Entry, from, to int) {
	for n := 1; from < to; n = n*3%200_003 + 1 {
		n = min(n, to-from)
		e.Keep(int64(from), content[from:from+n])
		from += n
	}
}

// replay gives all that is kept, and fails when it is not what was kept.
func replay(t *testing.T, e *Entry) (chunks int) {
	t.Helper()
	for at := e.From(); ; {
		b, err := e.Next()
		if err == io.EOF {
			return chunks
		}
		if err != nil || !bytes.Equal(b, content[at:at+int64(len(b))]) {
			t.Fatalf("chunk %d: other bytes, or %v", chunks, err)
		}
		chunks++
		at += int64(len(b))
	}
}

func left(t *testing.T, dir string) (names []string) {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		names = append(names, f.Name())
	}
	return names
}

func TestGoingOn(t *testing.T) {
	for _, from := range []int{0, 1, chunkBytes, 777_777} {
		dir := t.TempDir()
		s := open(t, dir, Limits{})
		e := s.Take(sum, blobBytes)
		if e.From() != e.To() || replay(t, e) != 0 {
			t.Fatal("a new one is not empty")
		}
		keep(e, from, from+3*chunkBytes+99)
		if s.Take(sum, blobBytes) != nil {
			t.Error("two have it")
		}
		e.Close()
		s = open(t, dir, Limits{})
		e = s.Take(sum, blobBytes)
		if e.From() != int64(from) || replay(t, e) != 3 || e.To() != int64(from+3*chunkBytes) {
			t.Fatalf("from %d: %d to %d", from, e.From(), e.To())
		}
		keep(e, from+3*chunkBytes, blobBytes)
		e.Close()
		e = s.Take(sum, blobBytes)
		if want := (blobBytes - from) / chunkBytes; replay(t, e) != want {
			t.Errorf("from %d: not %d chunks", from, want)
		}
		e.Close()
		s.Drop(sum)
		s.Drop(sum)
		if names := left(t, dir); len(names) != 0 || s.bytes != 0 || len(s.entries) != 0 {
			t.Errorf("left: %v, %d bytes", names, s.bytes)
		}
	}
}

// After a power cut the files may hold anything: what is given is what was kept, up
// to the first chunk that is not.
func TestTorn(t *testing.T) {
	name := nameOf(sum)
	edit := func(suffix string, change func([]byte) []byte) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			file := filepath.Join(dir, name+suffix)
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, change(b), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	zero := func(from, to int) func([]byte) []byte {
		return func(b []byte) []byte { clear(b[from:to]); return b }
	}
	flip := func(at int) func([]byte) []byte {
		return func(b []byte) []byte { b[at] ^= 1; return b }
	}
	cut := func(to int) func([]byte) []byte { return func(b []byte) []byte { return b[:to] } }
	for what, c := range map[string]struct {
		tear func(t *testing.T, dir string)
		want int
	}{
		"nothing":              {func(*testing.T, string) {}, 5},
		"data cut":             {edit(dataSuffix, cut(3*chunkBytes-1)), 2},
		"data empty":           {edit(dataSuffix, cut(0)), 0},
		"data zeros":           {edit(dataSuffix, zero(chunkBytes, 2*chunkBytes)), 1},
		"one bit of data":      {edit(dataSuffix, flip(4*chunkBytes+5)), 4},
		"ledger cut":           {edit(logSuffix, cut(headerBytes+2*recordBytes+3)), 2},
		"ledger empty":         {edit(logSuffix, cut(0)), 0},
		"ledger zeros":         {edit(logSuffix, zero(headerBytes+recordBytes, headerBytes+5*recordBytes)), 1},
		"one bit of a record":  {edit(logSuffix, flip(headerBytes+3*recordBytes+7)), 3},
		"one bit of a header":  {edit(logSuffix, flip(9)), 0},
		"a record moved":       {edit(logSuffix, func(b []byte) []byte { copy(b[headerBytes+8:], b[headerBytes:headerBytes+8]); return b }), 1},
		"ledger grown":         {edit(logSuffix, func(b []byte) []byte { return append(b, make([]byte, 99)...) }), 5},
		"data grown":           {edit(dataSuffix, func(b []byte) []byte { return append(b, make([]byte, 9*chunkBytes)...) }), 5},
		"data gone":            {func(_ *testing.T, dir string) { _ = os.Remove(filepath.Join(dir, name+dataSuffix)) }, 0},
		"ledger gone":          {func(_ *testing.T, dir string) { _ = os.Remove(filepath.Join(dir, name+logSuffix)) }, 0},
		"a directory of rests": {func(_ *testing.T, dir string) { _ = os.Mkdir(filepath.Join(dir, "x"), 0o700) }, 5},
	} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			e := open(t, dir, Limits{}).Take(sum, blobBytes)
			keep(e, 100, 100+5*chunkBytes+5)
			e.Close()
			c.tear(t, dir)
			s := open(t, dir, Limits{})
			e = s.Take(sum, blobBytes)
			got := replay(t, e)
			if got != c.want {
				t.Errorf("%d chunks, want %d", got, c.want)
			}
			// It goes on from there, whatever was behind.
			from := 100
			if e.From() != e.To() || got > 0 {
				from = int(e.To())
			}
			keep(e, from, blobBytes)
			e.Close()
			e = s.Take(sum, blobBytes)
			if got := replay(t, e); got != 6 {
				t.Errorf("%d chunks in the end", got)
			}
			e.Close()
			if names := left(t, dir); len(names) != 2 {
				t.Errorf("left: %v", names)
			}
		})
	}
}

func TestLimits(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Limits{MinBytes: 100, MaxCount: 2, MaxBytes: 5 * chunkBytes, MaxAge: time.Hour})
	if s.Take(sum, 99) != nil || open(t, dir, Limits{MinBytes: -1}).Take(sum, blobBytes) != nil {
		t.Error("a small blob is kept")
	}
	blob := func(i int) digest.Digest { return digest.FromString(fmt.Sprint(i)) }
	put := func(i, chunks int) *Entry {
		e := s.Take(blob(i), blobBytes-3*chunkBytes)
		keep(e, 0, chunks*chunkBytes)
		return e
	}
	for i := range 3 {
		put(i, 1).Close()
	}
	if names := left(t, dir); len(names) != 4 || strings.Contains(strings.Join(names, ""), blob(0).Encoded()) {
		t.Errorf("the oldest is not the one that went: %v", names)
	}
	// A busy one is not removed, and no more is kept than there may be.
	busy, other := put(3, 3), put(4, 3)
	busy.Close()
	if e := s.Take(blob(3), blobBytes-3*chunkBytes); e.To() != 3*chunkBytes {
		t.Errorf("the busy one has %d bytes", e.To())
	} else {
		e.Close()
	}
	other.Close()
	if s.bytes > 5*chunkBytes {
		t.Errorf("%d bytes are kept", s.bytes)
	}
	if big := s.Take(sum, blobBytes); big != nil {
		keep(big, 0, chunkBytes)
		big.Close()
	}
	if s.entries[nameOf(sum)] != nil {
		t.Error("a blob that is larger than all may be is kept")
	}
	for _, age := range []time.Duration{2 * time.Hour, -2 * time.Hour} { // the clock may have been in 1970
		for _, name := range left(t, dir) {
			if err := os.Chtimes(filepath.Join(dir, name), time.Time{}, time.Now().Add(-age)); err != nil {
				t.Fatal(err)
			}
		}
		if s = open(t, dir, Limits{MaxAge: time.Hour}); len(s.entries) != 0 || len(left(t, dir)) != 0 {
			t.Errorf("an old one is kept: %v", left(t, dir))
		}
		put(5, 1).Close()
	}
	s.Empty()
	if len(left(t, dir)) != 0 || s.bytes != 0 {
		t.Errorf("not empty: %v", left(t, dir))
	}
	if put(7, 1).Close(); len(left(t, dir)) != 0 {
		t.Error("a pull needed the room, and it is used again")
	}
	s = open(t, dir, Limits{MinFree: 100})
	put(6, 1).Close()
	if len(left(t, dir)) != 0 {
		t.Error("a disk that is not to be filled was used")
	}
}

// A full disk ends the spool, gives its room back, and is nobody's error.
func TestFullDisk(t *testing.T) {
	for _, suffix := range []string{dataSuffix, logSuffix} {
		dir := t.TempDir()
		var said []string
		s, err := Open(dir, Limits{MinBytes: 1, MinFree: -1}, func(m string) { said = append(said, m) })
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("/dev/full", filepath.Join(dir, nameOf(sum)+suffix)); err != nil {
			t.Fatal(err)
		}
		e := s.Take(sum, blobBytes)
		keep(e, 0, blobBytes)
		e.Close()
		if len(left(t, dir)) != 0 || len(said) != 1 || !strings.Contains(said[0], "no space left") {
			t.Errorf("left %v, said %q", left(t, dir), said)
		}
	}
}

// Pulls that come and go, and the room that is needed, at the same time.
func TestConcurrent(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Limits{MaxCount: 3, MaxBytes: 6 * chunkBytes})
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			d := digest.FromString(fmt.Sprint(i % 5))
			for n := range 30 {
				if e := s.Take(d, blobBytes-3*chunkBytes); e != nil {
					at := int(e.To())
					for b, err := e.Next(); err == nil; b, err = e.Next() {
						_ = b
						at = int(e.From()) + e.given*chunkBytes
					}
					keep(e, at, min(at+chunkBytes+n, blobBytes-3*chunkBytes))
					e.Close()
				}
				switch {
				case n%7 == 6:
					s.Drop(d)
				case n%11 == 10:
					s.Sweep()
				}
			}
		})
	}
	all.Wait()
	if s.bytes > 6*chunkBytes || len(s.entries) > 5 {
		t.Errorf("%d bytes in %d spools", s.bytes, len(s.entries))
	}
	s.Empty()
	if names := left(t, dir); len(names) != 0 || s.bytes != 0 {
		t.Errorf("left: %v, %d bytes", names, s.bytes)
	}
}

func FuzzLedger(f *testing.F) {
	l := &ledger{name: "n", size: 5 * chunkBytes, from: 7}
	f.Add(append(append(l.header(), l.record(0, 5)...), l.record(1, 6)...))
	f.Fuzz(func(t *testing.T, data []byte) {
		from, sums, ok := parseLedger("n", 5*chunkBytes, data)
		if ok && (from < 0 || from+int64(len(sums))*chunkBytes > 5*chunkBytes) {
			t.Errorf("from %d, %d chunks", from, len(sums))
		}
	})
}

// BenchmarkKeep is what keeping costs for each byte, in time of the processor.
func BenchmarkKeep(b *testing.B) {
	s, err := Open(b.TempDir(), Limits{MinBytes: 1, MinFree: -1}, func(m string) { b.Log(m) })
	if err != nil {
		b.Fatal(err)
	}
	const size = 64 << 20
	piece := content[:128<<10]
	cpu := func() time.Duration {
		var u unix.Rusage
		if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	b.SetBytes(size)
	begun := cpu()
	for b.Loop() {
		e := s.Take(sum, size)
		for at := int64(0); at < size; at += int64(len(piece)) {
			e.Keep(at, piece)
		}
		e.Close()
		s.Drop(sum)
	}
	b.ReportMetric(float64(cpu()-begun)/float64(b.N)/1e6, "cpu-ms/op")
}
