package erofs

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

// read makes a tree of a file's bytes, as a join does.
func read(b []byte) (*Joined, error) {
	m, err := Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return nil, err
	}
	j := NewJoined(Bounds{Inodes: 1 << 16, Text: 1 << 20})
	return j, j.Apply(m, 1)
}

// sealed gives the superblock a right checksum again.
func sealed(b []byte) []byte {
	le.PutUint32(b[superAt+4:], checksum(b[superAt:]))
	return b
}

// Each byte of the metadata, changed: never a panic, and no error but that of the format.
func TestDamagedBytes(t *testing.T) {
	whole := written(t, sample(t, 60))
	start := 1 << 20
	for i := start; i < len(whole); i += 1 + (i-start)/1500 { // all at first, fewer where things repeat
		for _, change := range []byte{0x01, 0x80, 0xff} {
			f := patched{bytes.NewReader(whole), whole[i] ^ change, int64(i)}
			m, err := Open(f, int64(len(whole)))
			if err != nil {
				t.Fatalf("byte %d: %v", i, err)
			}
			j := NewJoined(ample)
			if err := j.Apply(m, 1); err != nil && !errors.Is(err, ErrFormat) && !errors.Is(err, ErrFull) {
				t.Errorf("byte %d: %v", i, err)
			}
		}
	}
}

// patched is a file with one other byte.
type patched struct {
	io.ReaderAt
	value byte
	at    int64
}

func (p patched) ReadAt(b []byte, at int64) (int, error) {
	n, err := p.ReaderAt.ReadAt(b, at)
	if i := p.at - at; i >= 0 && i < int64(n) {
		b[i] = p.value
	}
	return n, err
}

func TestDamagedSuperblock(t *testing.T) {
	whole := written(t, sample(t, 300))
	for i := superAt; i < superAt+BlockSize; i++ {
		b := bytes.Clone(whole)
		b[i] ^= 0x10
		if _, err := read(b); !errors.Is(err, ErrFormat) {
			t.Errorf("byte %d: %v", i, err)
		}
		if i-superAt < superSize && i-superAt >= 8 { // behind a right checksum: no panic
			_, _ = read(sealed(b))
		}
	}
	for _, n := range []int{0, 1, superAt, superAt + 100, DataStart, len(whole) / 2, len(whole) - 1} {
		if _, err := read(whole[:n]); !errors.Is(err, ErrFormat) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	if _, err := read(bytes.Repeat([]byte{0xff}, 8192)); !errors.Is(err, ErrFormat) {
		t.Errorf("no file system: %v", err)
	}
}

// A directory that is its own child, or is in two places, ends the reading.
func TestDirectoryLoops(t *testing.T) {
	id := must[ID](t)
	tree := NewTree(ample)
	d := id(tree.Mkdir(Root, "d", Attributes{}))
	id(tree.Mkdir(d, "e", Attributes{}))
	whole := written(t, tree)
	m := must[*Image](t)(Open(bytes.NewReader(whole), int64(len(whole))))
	root := m.meta + int64(m.super.root)*inodeSlot
	// The entry "d" of the root is its third: after "." and "..".
	entry := root + inodeSize + 2*direntSize
	if nid := le.Uint64(whole[entry:]); nid <= uint64(m.super.root) {
		t.Fatalf("the root's third entry leads to %d", nid)
	}
	le.PutUint64(whole[entry:], uint64(m.super.root))
	if _, err := read(whole); !errors.Is(err, ErrFormat) {
		t.Errorf("a root in the root: %v", err)
	}
}

// A file that cannot be read is not a damaged one.
func TestReadErrors(t *testing.T) {
	whole := written(t, sample(t, 300))
	m := must[*Image](t)(Open(broken{bytes.NewReader(whole)}, int64(len(whole))))
	if err := NewJoined(ample).Apply(m, 1); !errors.Is(err, io.ErrNoProgress) || errors.Is(err, ErrFormat) {
		t.Errorf("apply: %v", err)
	}
}

// broken is a disk that can read its beginning only.
type broken struct{ io.ReaderAt }

func (f broken) ReadAt(b []byte, at int64) (int, error) {
	if at > 0 {
		return 0, io.ErrNoProgress
	}
	return f.ReaderAt.ReadAt(b, at)
}

// FuzzRead reads metadata that someone else made, behind a sound superblock.
func FuzzRead(f *testing.F) {
	whole := written(f, sample(f, 5))
	f.Add(whole[1<<20:], uint16(firstNid))
	marked := NewTree(ample)
	d := must[ID](f)(marked.Mkdir(Root, "d", Attributes{}))
	marked.Mark(d, Opaque|Implicit)
	must[ID](f)(marked.LinkBelow(d, "l", "some/where"))
	must[ID](f)(marked.Node(d, "w", Attributes{Mode: TypeCharacter}, 0))
	f.Add(written(f, marked)[1<<20:], uint16(firstNid))
	f.Fuzz(func(t *testing.T, meta []byte, root uint16) {
		meta = meta[:len(meta)/BlockSize*BlockSize]
		if len(meta) == 0 || len(meta) > 1<<20 {
			return
		}
		s := superblock{blocks: uint32(DataStart*2+len(meta)) / BlockSize, meta: DataStart * 2 / BlockSize, root: root}
		b := append(append(s.encode(), make([]byte, DataStart)...), meta...)
		j, err := read(b)
		if err != nil {
			return
		}
		// What was taken in can be written, and read again.
		if _, err := read(written(t, j.Tree)); err != nil && !errors.Is(err, ErrFormat) {
			t.Errorf("what was read cannot be read again: %v", err)
		}
	})
}
