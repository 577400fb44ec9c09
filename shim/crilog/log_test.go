package crilog

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var update = flag.Bool("update", false, "write the golden files")

func newLog(t *testing.T, maxLine int) *Log {
	t.Helper()
	l, err := Open(filepath.Join(t.TempDir(), "0.log"), maxLine)
	if err != nil {
		t.Fatal(err)
	}
	l.now = func() time.Time { return time.Date(2026, 11, 23, 10, 0, 0, 1000, time.FixedZone("", 7200)) }
	t.Cleanup(l.Close)
	return l
}

func content(t *testing.T, l *Log) string {
	t.Helper()
	b, err := os.ReadFile(l.path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestGolden(t *testing.T) {
	l := newLog(t, 10)
	out, err := l.Stream("stdout"), l.Stream("stderr")
	out.Write([]byte("one\ntwo\n\nbegun "))
	err.Write([]byte("between\n"))
	out.Write([]byte("ended\n"))
	out.Write([]byte("exactly 10\nmore than ten\n"))
	out.Write([]byte("ten bytes!"))
	out.Write([]byte("\nten bytes!"))
	out.Write([]byte("x\r\n"))
	err.Write([]byte(strings.Repeat("z", 35)))
	out.Write([]byte("the end"))
	out.End()
	err.End()
	got, golden := content(t, l), "testdata/records.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, e := os.ReadFile(golden)
	if e != nil || got != string(want) {
		t.Errorf("%v; got\n%s\nwant\n%s", e, got, want)
	}
}

// undo puts a log's records together again.
func undo(t *testing.T, text string) string {
	t.Helper()
	var b strings.Builder
	for line := range strings.Lines(text) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), " ", 4)
		if len(f) != 4 {
			t.Fatalf("bad record %q", line)
		}
		if len(f[3]) > 16 {
			t.Fatalf("content of %d bytes", len(f[3]))
		}
		b.WriteString(f[3])
		if f[2] == "F" {
			b.WriteByte('\n')
		}
	}
	return b.String()
}

func FuzzBytesAreKept(f *testing.F) {
	f.Add([]byte("a\nb"), 1)
	f.Add(bytes.Repeat([]byte("0123456789abcdef\n"), 5), 16)
	f.Fuzz(func(t *testing.T, data []byte, cut int) {
		l := newLog(t, 16)
		s := l.Stream("stdout")
		if cut <= 0 {
			cut = 1
		}
		for rest := data; len(rest) > 0; {
			n := min(cut, len(rest))
			s.Write(rest[:n])
			rest = rest[n:]
		}
		s.End()
		if got := undo(t, content(t, l)); got != string(data) {
			t.Fatalf("%q, want %q", got, data)
		}
	})
}

func TestErrorsAreCountedAndTornRecordsEnded(t *testing.T) {
	l := newLog(t, 0)
	s := l.Stream("stdout")
	room := 50
	l.write = func(fd int, b []byte) (int, error) {
		if room == 0 {
			return 0, unix.ENOSPC
		}
		n, err := unix.Write(fd, b[:min(room, len(b))])
		room -= n
		return n, err
	}
	s.Write([]byte("first\n"))
	s.Write([]byte("second\n"))
	if l.Errors != 1 || l.Lost == 0 || !l.torn {
		t.Errorf("%d errors, %d lost, torn %v", l.Errors, l.Lost, l.torn)
	}
	s.Write([]byte("third\n"))
	room = 1 << 20
	s.Write([]byte("fourth\n"))
	lines := strings.Split(content(t, l), "\n")
	if len(lines) != 4 || !strings.HasSuffix(lines[0], "first") || !strings.HasSuffix(lines[2], "stdout F fourth") {
		t.Errorf("%q", lines)
	}
	if l.Errors != 2 {
		t.Errorf("%d errors", l.Errors)
	}
}

func TestBigBatchesAndTrim(t *testing.T) {
	l := newLog(t, 1<<20) // a record longer than the usual batch
	s := l.Stream("stdout")
	want := bytes.Repeat([]byte("\n"), 64<<10)
	want = append(want, bytes.Repeat([]byte("q"), 300<<10)...)
	want = append(want, '\n')
	for rest := want; len(rest) > 0; {
		n := min(64<<10, len(rest))
		s.Write(rest[:n])
		l.Trim()
		rest = rest[n:]
	}
	text := content(t, l)
	if n := strings.Count(text, "\n"); n != 64<<10+1 {
		t.Errorf("%d records", n)
	}
	if n := strings.Count(text, "q"); n != 300<<10 {
		t.Errorf("%d bytes of the long line", n)
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	fifo, link := filepath.Join(dir, "fifo"), filepath.Join(dir, "link")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{fifo, link, dir, filepath.Join(dir, "no", "dir")} {
		if l, err := Open(path, 0); err == nil {
			l.Close()
			t.Errorf("%s was opened", path)
		}
	}
	l, err := Open("", 0)
	if err != nil {
		t.Fatal(err)
	}
	l.Stream("stdout").Write([]byte("nowhere\n"))
	if err := l.Reopen(); err != nil {
		t.Error(err)
	}
	l.Close()
}

func TestReopen(t *testing.T) {
	l := newLog(t, 0)
	s := l.Stream("stdout")
	s.Write([]byte("old\nbeg"))
	if err := os.Rename(l.path, l.path+".1"); err != nil {
		t.Fatal(err)
	}
	if err := l.Reopen(); err != nil {
		t.Fatal(err)
	}
	s.Write([]byte("un\n"))
	if got := content(t, l); !strings.HasSuffix(got, "stdout F begun\n") {
		t.Errorf("%q", got)
	}
	l.Close()
	if err := l.Reopen(); err != unix.EBADF {
		t.Error(err)
	}
}

func BenchmarkWrite(b *testing.B) {
	for _, size := range []int{10, 100, 1000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			l, err := Open(filepath.Join(b.TempDir(), "0.log"), 0)
			if err != nil {
				b.Fatal(err)
			}
			defer l.Close()
			l.write = func(_ int, p []byte) (int, error) { return len(p), nil }
			s := l.Stream("stdout")
			data := bytes.Repeat(append(bytes.Repeat([]byte("x"), size-1), '\n'), (64<<10)/size)
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				s.Write(data)
			}
		})
	}
}

// TestTrusted: the first part of the path may be a link, the rest may not, and
// neither may it climb.
func TestTrusted(t *testing.T) {
	top, outside := t.TempDir(), t.TempDir()
	for _, dir := range []string{"pod", "pod/web"} {
		if err := os.Mkdir(filepath.Join(top, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"link": "pod", "pod/out": outside, "pod/web/1.log": outside + "/1.log"} {
		if err := os.Symlink(to, filepath.Join(top, link)); err != nil {
			t.Fatal(err)
		}
	}
	for _, base := range []string{top + "/pod", top + "/link"} {
		l, err := Open(base+Trusted+"web/0.log", 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Reopen(); err != nil {
			t.Error(err)
		}
		l.Close()
		for below, want := range map[string]unix.Errno{"out/0.log": unix.ELOOP, "web/1.log": unix.ELOOP, "../0.log": unix.EXDEV, "none/0.log": unix.ENOENT} {
			if l, err := Open(base+Trusted+below, 0); err != want {
				t.Errorf("%s: %v, %v", below, l, err)
			}
		}
	}
	if left, err := os.ReadDir(outside); err != nil || len(left) > 0 {
		t.Errorf("made outside: %v, %v", left, err)
	}
}
