package disk

import (
	"bytes"
	"fmt"
	"os"
	"testing"
)

const size = 32 << 20

func recorded(t *testing.T) *Disk {
	t.Helper()
	base, err := Format(size)
	if err != nil {
		t.Fatal(err)
	}
	d, err := Record(base)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// write makes a file and syncs it.
func write(t *testing.T, root *os.File, name, body string) {
	t.Helper()
	f, err := os.Create(fmt.Sprintf("/proc/self/fd/%d/%s", root.Fd(), name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(body); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
}

// The log, replayed, gives what the disk holds; and what was synced before a cut is
// there after it, while what came later may be missing.
func TestRecord(t *testing.T) {
	d := recorded(t)
	root, err := d.Mount("")
	if err != nil {
		t.Fatal(err)
	}
	var done []int64
	for i := range 5 {
		write(t, root, fmt.Sprint("f", i), fmt.Sprint("body ", i))
		at, err := d.Position()
		if err != nil {
			t.Fatal(err)
		}
		done = append(done, at)
	}
	root.Close()
	l, err := d.Log()
	if err != nil {
		t.Fatal(err)
	}
	replayed := append([]byte{}, l.base...)
	for _, r := range l.records {
		copy(replayed[r.at:], r.data)
	}
	if held, err := d.Content(); err != nil || !bytes.Equal(held, replayed) {
		t.Errorf("the log does not lead to what the disk holds: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if l.Flushes() < 5 {
		t.Errorf("%d flushes for 5 syncs", l.Flushes())
	}
	missing := 0
	l.Cuts(1, 2, func(c Cut) bool {
		missing += replay(t, c, done)
		return true
	})
	if missing == 0 {
		t.Error("every file was always there")
	}
}

// replay mounts the disk as a cut leaves it and counts the files that are missing.
func replay(t *testing.T, c Cut, done []int64) (missing int) {
	t.Helper()
	p, err := Plain(c.Image)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := p.Close(); err != nil {
			t.Errorf("%s: %v", c.Name, err)
		}
	}()
	root, err := p.Mount("")
	if err != nil {
		t.Fatalf("%s: %v", c.Name, err)
	}
	for i, at := range done {
		b, err := os.ReadFile(fmt.Sprintf("/proc/self/fd/%d/f%d", root.Fd(), i))
		switch {
		case at <= c.At && (err != nil || string(b) != fmt.Sprint("body ", i)):
			t.Errorf("%s: f%d was synced and holds %q, %v", c.Name, i, b, err)
		case err != nil:
			missing++
		}
	}
	root.Close()
	if err := p.Check(); err != nil {
		t.Errorf("%s: %v", c.Name, err)
	}
	return missing
}

func TestFailures(t *testing.T) {
	if _, err := parseLog(nil, make([]byte, recordHeader-1)); err == nil {
		t.Error("half a header was read")
	}
	if _, err := parseLog(nil, append(record{kind: written, size: 9}.header(), 0)); err == nil {
		t.Error("half a record was read")
	}
	log := append(record{kind: written, size: 3}.header(), "abc"...)
	for n := range len(log) {
		if got := whole(append(bytes.Clone(log), log[:n]...)); got != len(log) {
			t.Errorf("%d bytes of a record behind a whole one: %d are whole", n, got)
		}
	}
	if _, err := Format(4096); err == nil {
		t.Error("a file system fits into a page")
	}
	d, err := Plain(make([]byte, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if _, err := d.Mount(""); err == nil {
		t.Error("zeros were mounted")
	}
	if err := d.Check(); err == nil {
		t.Error("zeros are a sane file system")
	}
}
