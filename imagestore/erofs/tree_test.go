package erofs

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

var ample = Bounds{Inodes: 1 << 20, Text: 64 << 20}

// file is an io.WriterAt and io.ReaderAt in memory.
type file struct{ b []byte }

func (f *file) WriteAt(b []byte, at int64) (int, error) {
	if need := int(at) + len(b); need > len(f.b) {
		f.b = append(f.b, make([]byte, need-len(f.b))...)
	}
	return copy(f.b[at:], b), nil
}

func must[T any](t testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// sample is a tree with one of each and a directory of many files, whose data would lie before metadata at 1 MiB.
func sample(t testing.TB, many int) *Tree {
	id := must[ID](t)
	tree := NewTree(ample)
	a := Attributes{Mode: 0o4750, UID: 1, GID: 1 << 31, Seconds: -5, Nanos: 999999999}
	d := id(tree.Mkdir(Root, "d", Attributes{Mode: 0o700}))
	f := id(tree.File(d, "f", a, Extent{Block: 8, Size: 5000}))
	id(tree.File(d, "empty", a, Extent{}))
	sparse := id(tree.Sparse(d, "sparse", a, 20000, Chunks{Bits: 3, Blocks: []uint32{Hole, 20, Hole, 28, 36}}))
	tree.Shift(sparse, 8)
	id(tree.Sparse(d, "hole", a, 1, Chunks{Bits: 3, Blocks: []uint32{Hole}}))
	id(tree.Symlink(d, "l", a, "target"))
	id(tree.Symlink(d, "long", a, strings.Repeat("x", 4095)))
	id(tree.Node(d, "null", Attributes{Mode: TypeCharacter | 0o666}, 0x103))
	id(tree.Node(d, "pipe", Attributes{Mode: TypeFifo | 0o600}, 0))
	if err := errors.Join(tree.Link(Root, "name of f", f), tree.SetXattr(f, "user.k", strings.Repeat("v", 900)), tree.SetXattr(d, "user.k", "v")); err != nil {
		t.Fatal(err)
	}
	all := id(tree.Mkdir(Root, "many", Attributes{Mode: 0o755}))
	for i := range many {
		id(tree.File(all, strings.Repeat("n", i%200)+fmt.Sprint(i), a, Extent{Block: uint32(10 + i), Size: 1}))
	}
	return tree
}

func written(t testing.TB, tree *Tree) []byte {
	t.Helper()
	f := &file{}
	size := must[int64](t)(tree.Write(f, 1<<20, nil))
	if size != int64(len(f.b)) || size%BlockSize != 0 {
		t.Fatalf("%d bytes, said %d", len(f.b), size)
	}
	return f.b
}

// What Write makes is what a reader makes of it, byte for byte.
func TestRoundTrip(t *testing.T) {
	first := written(t, sample(t, 300))
	m := must[*Image](t)(Open(bytes.NewReader(first), int64(len(first))))
	j := NewJoined(ample)
	if err := j.Apply(m, 0); err != nil {
		t.Fatal(err)
	}
	if second := written(t, j.Tree); !bytes.Equal(first, second) {
		t.Error("what was read is not what was written")
	}
	if again := written(t, j.Tree); !bytes.Equal(first, again) {
		t.Error("a second write differs")
	}
}

// The order in which a tree is made does not show.
func TestOrderDoesNotMatter(t *testing.T) {
	id := must[ID](t)
	var files [2][]byte
	for i := range files {
		tree := NewTree(ample)
		for n := range 100 {
			if i == 1 {
				n = 99 - n
			}
			d := tree.Lookup(Root, fmt.Sprint("d", n%10))
			if d == 0 {
				d = id(tree.Mkdir(Root, fmt.Sprint("d", n%10), Attributes{Mode: 0o755}))
			}
			f := id(tree.File(d, fmt.Sprint("f", n), Attributes{}, Extent{Block: uint32(8 + n), Size: 1}))
			if err := errors.Join(tree.SetXattr(f, fmt.Sprint("user.", i), "x"), tree.SetXattr(f, "user.k", "v")); err != nil {
				t.Fatal(err)
			}
			tree.RemoveXattr(f, fmt.Sprint("user.", i))
		}
		tree.Remove(Root, "d3")
		files[i] = written(t, tree)
	}
	if !bytes.Equal(files[0], files[1]) {
		t.Error("the same tree gave two files")
	}
}

func TestReplaceAndRemove(t *testing.T) {
	id := must[ID](t)
	tree := NewTree(ample)
	d := id(tree.Mkdir(Root, "d", Attributes{}))
	sub := id(tree.Mkdir(d, "sub", Attributes{}))
	f := id(tree.File(sub, "f", Attributes{}, Extent{}))
	if err := errors.Join(tree.Link(Root, "h", f), tree.Link(sub, "f", f), tree.Link(d, "h", f)); err != nil {
		t.Fatal(err)
	}
	if tree.Links(f) != 3 {
		t.Errorf("%d links", tree.Links(f))
	}
	id(tree.File(Root, "d", Attributes{}, Extent{}))
	if tree.Links(f) != 1 || tree.Links(d) != 0 || tree.Links(sub) != 0 || tree.Lookup(Root, "h") != f {
		t.Errorf("after a file took the directory's place: %d, %d, %d links", tree.Links(f), tree.Links(d), tree.Links(sub))
	}
	tree.Clear(Root)
	if tree.Links(f) != 0 || tree.Lookup(Root, "h") != 0 || tree.Lookup(Root, "d") != 0 {
		t.Error("something is left")
	}
	if err := tree.Link(Root, "x", Root); err == nil {
		t.Error("a second name for a directory")
	}
}

func TestRefusals(t *testing.T) {
	tree := NewTree(Bounds{Inodes: 3, Text: 5000})
	file := func(name string, size int64) error {
		_, err := tree.File(Root, name, Attributes{}, Extent{Size: size})
		return err
	}
	link := func(target string) error {
		_, err := tree.Symlink(Root, "l", Attributes{}, target)
		return err
	}
	long := strings.Repeat("n", 256)
	for name, c := range map[string]struct{ got, want error }{
		"long name":       {file(long, 0), unix.ENAMETOOLONG},
		"no name":         {file("", 0), unix.EINVAL},
		"dot":             {file(".", 0), unix.EINVAL},
		"slash":           {file("a/b", 0), unix.EINVAL},
		"NUL":             {file("a\x00", 0), unix.EINVAL},
		"big file":        {file("f", 1<<40+1), unix.EFBIG},
		"negative":        {file("f", -1), unix.EFBIG},
		"long link":       {link(strings.Repeat("l", 4096)), unix.ENAMETOOLONG},
		"no link":         {link(""), unix.ENOENT},
		"text":            {errors.Join(link(strings.Repeat("l", 4000)), link(strings.Repeat("l", 4000))), ErrFull},
		"inodes":          {errors.Join(file("1", 0), file("2", 0), file("3", 0)), ErrFull},
		"xattr name":      {tree.SetXattr(Root, "user."+long, ""), unix.ERANGE},
		"xattr value":     {tree.SetXattr(Root, "user.k", strings.Repeat("v", 65536)), unix.E2BIG},
		"xattr prefix":    {tree.SetXattr(Root, "none.k", "v"), unix.ENOTSUP},
		"xattr no suffix": {tree.SetXattr(Root, "user.", "v"), unix.EINVAL},
	} {
		if !errors.Is(c.got, c.want) {
			t.Errorf("%s: %v, want %v", name, c.got, c.want)
		}
	}
	big := NewTree(ample)
	for i := range 3 {
		err := big.SetXattr(Root, fmt.Sprint("user.", i), strings.Repeat("v", 30000))
		if (err == unix.ENOSPC) != (i == 2) {
			t.Errorf("30,000 bytes for the time %d: %v", i+1, err)
		}
	}
}

// 80,000 entries, as in a big image, cost less than half of 20 MiB, and so does
// laying them out.
func TestMemory(t *testing.T) {
	used := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := used()
	tree := NewTree(ample)
	var dir ID
	for i := range 80000 {
		var err error
		if i%10 == 0 {
			dir, err = tree.Mkdir(Root, fmt.Sprintf("directory-%d", i), Attributes{Mode: 0o755})
		} else {
			_, err = tree.File(dir, fmt.Sprintf("some-file-%d.so", i), Attributes{}, Extent{Block: 8, Size: 1})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	made := used() - before
	l := must[*layout](t)(tree.plan())
	all := used() - before
	t.Logf("tree %d KiB, with its layout %d KiB", made>>10, all>>10)
	if made > 10<<20 || all > 12<<20 {
		t.Errorf("80,000 entries take %d bytes, with their layout %d", made, all)
	}
	runtime.KeepAlive(l)
	runtime.KeepAlive(tree)
}
