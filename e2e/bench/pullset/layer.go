package pullset

import (
	"archive/tar"
	"fmt"
	"io"
	"math/rand/v2"
	"time"
)

// layer writes one layer's entries.
type layer struct {
	spec  Spec
	index int
	pool  []byte
	r     *rand.Rand
	w     *tar.Writer
	dirs  []string
	files []string
	left  int   // entries
	bytes int64 // of files
}

// write writes layer i of the spec as a tar archive.
func (s Spec) write(w io.Writer, i int, pool []byte) error {
	l := &layer{
		spec: s, index: i, pool: pool, r: s.random(uint64(i)), w: tar.NewWriter(w),
		left: int(s.share(int64(s.Entries), i)), bytes: s.share(s.Bytes, i),
	}
	for _, part := range []func() error{l.directories, l.removals, l.bigFiles, l.smallFiles} {
		if err := part(); err != nil {
			return fmt.Errorf("layer %d of %s: %w", i, s.Name, err)
		}
	}
	return l.w.Close()
}

func (l *layer) header(h tar.Header, body []byte) error {
	h.ModTime = time.Unix(1_700_000_000+int64(l.index)*1000, 0)
	h.Size = int64(len(body))
	l.left--
	if err := l.w.WriteHeader(&h); err != nil {
		return err
	}
	_, err := l.w.Write(body)
	return err
}

// directories makes a twelfth of the entries directories, some in others.
func (l *layer) directories() error {
	for i := range max(1, l.left/12) {
		name := fmt.Sprintf("usr/lib/part%02d/d%d", l.index, i)
		if i > 0 && l.r.IntN(3) > 0 {
			name = fmt.Sprintf("%s/d%d", l.dirs[l.r.IntN(len(l.dirs))], i)
		}
		l.dirs = append(l.dirs, name)
		if err := l.header(tar.Header{Name: name + "/", Typeflag: tar.TypeDir, Mode: 0o755}, nil); err != nil {
			return err
		}
	}
	return nil
}

// removals takes away things of the layer below: one entry of 300 is a
// whiteout, and one directory of a middle layer becomes opaque.
func (l *layer) removals() error {
	if l.index == 0 {
		return nil
	}
	below := fmt.Sprintf("usr/lib/part%02d", l.index-1)
	for i := range l.left / 300 {
		if err := l.header(tar.Header{Name: fmt.Sprintf("%s/d0/.wh.f%d", below, i), Typeflag: tar.TypeReg, Mode: 0o644}, nil); err != nil {
			return err
		}
	}
	if l.index != len(l.spec.Layers)/2 {
		return nil
	}
	for _, h := range []tar.Header{
		{Name: "usr/lib/part00/d0/", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "usr/lib/part00/d0/.wh..wh..opq", Typeflag: tar.TypeReg, Mode: 0o644},
	} {
		if err := l.header(h, nil); err != nil {
			return err
		}
	}
	return nil
}

// bigFiles writes the share of bytes that is in files of up to 12 MiB.
func (l *layer) bigFiles() error {
	for big := int64(float64(l.bytes) * l.spec.Big); big > 0; {
		size := min(big, 2<<20+l.r.Int64N(10<<20))
		if err := l.file(size); err != nil {
			return err
		}
		big -= size
	}
	return nil
}

// smallFiles fills the layer up: files around the size that is left for each,
// and now and then a link.
func (l *layer) smallFiles() error {
	for l.left > 0 {
		var err error
		switch kind := l.r.IntN(100); {
		case kind < 3 && len(l.files) > 0:
			target := l.files[l.r.IntN(len(l.files))]
			err = l.header(tar.Header{Name: l.name("h"), Typeflag: tar.TypeLink, Linkname: target, Mode: 0o644}, nil)
		case kind < 6:
			err = l.header(tar.Header{Name: l.name("s"), Typeflag: tar.TypeSymlink, Linkname: "../f0", Mode: 0o777}, nil)
		default:
			// Exponential sizes: most are small, some are ten times the mean.
			mean := float64(l.bytes) / float64(l.left)
			err = l.file(min(l.bytes, int64(mean*l.r.ExpFloat64())))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// name is a new name in one of the layer's directories.
func (l *layer) name(prefix string) string {
	return fmt.Sprintf("%s/%s%d", l.dirs[l.r.IntN(len(l.dirs))], prefix, l.left)
}

func (l *layer) file(size int64) error {
	name := l.name("f")
	if len(l.files) < l.left/300 {
		name = fmt.Sprintf("%s/f%d", l.dirs[0], len(l.files)) // what the next layer's whiteouts name
	}
	l.files = append(l.files, name)
	l.bytes -= size
	mode := int64(0o644)
	if l.r.IntN(8) == 0 {
		mode = 0o755
	}
	begin := l.r.IntN(len(l.pool) - int(size))
	return l.header(tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: mode}, l.pool[begin:begin+int(size)])
}
