package index

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/varve-cri/varve/imagestore/layer"
)

// filled is the bytes of a database with rows of many pages, and how many there are.
func filled(t testing.TB) (b []byte, rows int) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "db")
	x, err := Open(path, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	for n := range 40 {
		err := x.Update(func(c *Change) error {
			config := fmt.Appendf(nil, `{"author":"%d %s"}`, n, strings.Repeat("a", n*100))
			id := digest.FromBytes(config)
			chain := digest.FromString(fmt.Sprint("layer", n))
			if err := c.PutContent(id, config); err != nil {
				return err
			}
			if err := c.PutLayer(&layer.Metadata{ID: chain, Format: "erofs", Tree: fmt.Sprint("t", n)}); err != nil {
				return err
			}
			if err := c.PutImage(&Image{ID: id, Layers: []digest.Digest{chain}, Format: "erofs"}); err != nil {
				return err
			}
			return c.PutName(fmt.Sprintf("h/a:%d", n), id)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	s := x.Snapshot()
	rows = len(s.Images) + len(s.Layers) + len(s.Names)
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	if b, err = os.ReadFile(path); err != nil {
		t.Fatal(err)
	}
	return b, rows
}

// reopened opens a database with these bytes, writes to it and closes it, and gives
// the rows that are there and what was told.
func reopened(t testing.TB, dir string, b []byte) (rows int, told []string) {
	t.Helper()
	path := filepath.Join(dir, "db")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	x, err := Open(path, func(m string) { told = append(told, m) })
	if err != nil {
		t.Fatal(err)
	}
	s := x.Snapshot()
	rows = len(s.Images) + len(s.Layers) + len(s.Names)
	for name, id := range s.Names {
		if s.Images[id] == nil {
			t.Errorf("%s leads to nothing", name)
		}
	}
	for k, l := range s.Layers {
		if l.Key() != k || !isName(l.Tree) {
			t.Errorf("layer %v is %+v", k, l)
		}
	}
	if err := x.Update(fillIn); err != nil {
		t.Errorf("a change: %v", err)
	}
	if err := x.Close(); err != nil {
		t.Error(err)
	}
	again, err := Open(path, func(m string) { t.Errorf("told again: %s", m) })
	if err != nil {
		t.Fatal(err)
	}
	if again.Snapshot().Images[imageID] == nil {
		t.Error("the change is lost")
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
	return rows, told
}

// A database that is damaged somewhere loses the rows that lie there, and no others;
// it opens, says what happened, and keeps the damaged file.
func TestDamagedDatabase(t *testing.T) {
	whole, all := filled(t)
	page := os.Getpagesize()
	at := func(offset, n int, with byte) []byte {
		b := append([]byte{}, whole...)
		for i := offset; i < min(offset+n, len(b)); i++ {
			b[i] ^= with
		}
		return b
	}
	if rows, told := reopened(t, t.TempDir(), whole); rows != all || len(told) != 0 {
		t.Errorf("whole: %d rows of %d, %q", rows, all, told)
	}
	for name, c := range map[string]struct {
		b     []byte
		least int
	}{
		"first record of a transaction":  {at(0, 80, 0xff), all - 4},
		"second record of a transaction": {at(page, 80, 0xff), all - 4},
		"both records":                   {at(0, 2*page, 0xff), 0},
		"cut in half":                    {whole[:len(whole)/2], 0},
		"cut by a page":                  {whole[:len(whole)-page], 0},
		"cut in the first page":          {whole[:100], 0},
		"one byte":                       {whole[:1], 0},
		"zeros":                          {make([]byte, len(whole)), 0},
		"text":                           {[]byte(strings.Repeat("not a database ", 5000)), 0},
		"a page in the middle":           {at(len(whole)/page/2*page, page, 0xff), 0},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			rows, told := reopened(t, dir, c.b)
			if rows < c.least {
				t.Errorf("%d rows of %d: %q", rows, all, told)
			}
			if _, err := os.Stat(dir + "/db.damaged"); err == nil && (len(told) == 0 || !strings.Contains(told[0], "was damaged")) {
				t.Errorf("told %q", told)
			}
		})
	}
	// Any one page that is lost costs some rows at most.
	var worst int
	for p := 2; p < len(whole)/page; p++ {
		rows, _ := reopened(t, t.TempDir(), at(p*page, page, 0xa5))
		worst = max(worst, all-rows)
	}
	t.Logf("%d rows in %d pages; the worst page costs %d", all, len(whole)/page, worst)
	random := rand.New(rand.NewPCG(1, 2))
	for range 60 {
		b := append([]byte{}, whole...)
		for range 1 + random.IntN(20) {
			b[random.IntN(len(b))] ^= byte(1 + random.IntN(255))
		}
		reopened(t, t.TempDir(), b)
	}
}

// Two processes: the second one neither waits for ever nor takes what the first is
// writing for damage.
func TestSalvageLeavesAnOpenDatabaseAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	x, _ := opened(t, path)
	if err := x.Update(fillIn); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, func(m string) { t.Errorf("told %s", m) }); err == nil {
		t.Error("a database was opened twice")
	}
	if _, err := os.Stat(path + damagedSuffix); err == nil {
		t.Error("an open database was put aside")
	}
}

// Whatever the file holds, Open gives a database that works.
func FuzzOpen(f *testing.F) {
	whole, _ := filled(f)
	page := uint32(os.Getpagesize())
	f.Add(uint32(0), []byte{1, 2, 3}, uint32(len(whole)))
	f.Add(page+16, []byte{0xff}, uint32(len(whole)))
	f.Add(3*page, []byte{0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0xff, 0xff}, uint32(len(whole)))
	f.Add(4*page+8, []byte{1, 0, 1, 0, 0xff, 0xff, 0xff, 0xff}, uint32(len(whole))/2)
	f.Fuzz(func(t *testing.T, at uint32, with []byte, size uint32) {
		b := append([]byte{}, whole...)
		copy(b[int(at)%len(b):], with)
		reopened(t, t.TempDir(), b[:min(int(size), len(b))])
	})
}
