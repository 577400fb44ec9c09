package shim

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestLogStreamsAndPartialLines(t *testing.T) {
	l := newLauncher(t, 2)
	long := strings.Repeat("0123456789", 5)
	b := run(t, l, newPlan("say", "a\n\n"+long+"\nend", "oops\n"), func(r *StartRequest) { r.MaxLogLine = 20 })
	b.exited()
	var out []record
	for _, r := range readLog(t, b.log) {
		if r.stream == "stdout" {
			out = append(out, r)
		} else if r != (record{"stderr", "F", "oops"}) {
			t.Errorf("stderr: %v", r)
		}
	}
	want := []record{
		{"stdout", "F", "a"}, {"stdout", "F", ""},
		{"stdout", "P", long[:20]}, {"stdout", "P", long[20:40]}, {"stdout", "F", long[40:]},
		{"stdout", "P", "end"},
	}
	if fmt.Sprint(out) != fmt.Sprint(want) {
		t.Errorf("got  %v\nwant %v", out, want)
	}
}

// TestHeavyWriterThatExits finds every byte in the log at the moment the exit
// is known.
func TestHeavyWriterThatExits(t *testing.T) {
	l := newLauncher(t, 2)
	const n = 40000
	var want strings.Builder
	for i := range n {
		fmt.Fprintf(&want, "line %d %s\n", i, strings.Repeat("x", i%100))
	}
	want.WriteString("no newline")
	for range 5 {
		b := run(t, l, newPlan("lines", itoa(n)), nil)
		b.exited()
		if got := joined(readLog(t, b.log), "stdout"); got != want.String() {
			t.Fatalf("%d bytes in the log, %d written", len(got), want.Len())
		}
	}
}

func TestNoLogPathDiscards(t *testing.T) {
	l := newLauncher(t, 1)
	b := run(t, l, newPlan("lines", "10000"), func(r *StartRequest) { r.LogPath = "" })
	if e := b.exited(); e.Code != 0 {
		t.Error(e)
	}
	if err := b.ReopenLog(deadline(t)); err == nil {
		t.Error("reopened after the exit")
	}
}

// TestRotate renames the log away again and again, as the kubelet does: no line
// is lost and none is twice.
func TestRotate(t *testing.T) {
	l := newLauncher(t, 1)
	b := run(t, l, newPlan("tick"), nil)
	var names []string
	for i := range 20 {
		until(t, "lines", func() bool { return len(readSoFar(t, b.log)) > 5 })
		name := fmt.Sprintf("%s.%02d", b.log, i)
		if err := os.Rename(b.log, name); err != nil {
			t.Fatal(err)
		}
		if err := b.ReopenLog(deadline(t)); err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	if err := b.Shutdown(deadline(t)); err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for _, name := range append(names, b.log) {
		got.WriteString(joined(readLog(t, name), "stdout"))
	}
	for i, line := range strings.Split(strings.TrimSuffix(got.String(), "\n"), "\n") {
		if line != fmt.Sprintf("tick %d", i) {
			t.Fatalf("line %d is %q", i, line)
		}
	}
}

// TestReopenWithoutDirectory goes on with the old file and makes no new one.
func TestReopenWithoutDirectory(t *testing.T) {
	l := newLauncher(t, 1)
	logs := filepath.Join(t.TempDir(), "logs")
	if err := os.Mkdir(logs, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(logs, "0.log")
	b := run(t, l, newPlan("tick"), func(r *StartRequest) { r.LogPath = path })
	moved := logs + ".moved"
	if err := os.Rename(logs, moved); err != nil {
		t.Fatal(err)
	}
	err := b.ReopenLog(deadline(t))
	if err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("reopen: %v", err)
	}
	if _, err := os.Stat(logs); !os.IsNotExist(err) {
		t.Error("directory was made:", err)
	}
	before := len(readSoFar(t, moved+"/0.log"))
	until(t, "more lines in the old file", func() bool { return len(readSoFar(t, moved+"/0.log")) > before+5 })
}

// TestDiskFull fills the disk that has the log. The container runs on, the
// loss is counted, and after the disk has room again the records are whole.
func TestDiskFull(t *testing.T) {
	l := newLauncher(t, 1)
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	fill := filepath.Join(dir, "fill")
	if err := os.WriteFile(fill, make([]byte, 128<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "0.log")
	b := run(t, l, newPlan("flood"), func(r *StartRequest) { r.LogPath = path })
	until(t, "lost bytes", func() bool {
		s, err := b.State(deadline(t))
		return err == nil && s.LogErrors > 3 && s.LogLost > 1000
	})
	if err := os.Remove(fill); err != nil {
		t.Fatal(err)
	}
	until(t, "a longer log", func() bool { st, _ := os.Stat(path); return st.Size() > 150<<10 })
	if err := b.Shutdown(deadline(t)); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	torn := 0
	for line := range strings.Lines(string(text)) {
		if len(line) != 31+len("stdout F ")+64 {
			torn++
		}
	}
	if torn > 4 { // where the disk became full
		t.Errorf("%d records are not whole", torn)
	}
}
