package overlay

import (
	"archive/tar"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/varve-cri/varve/imagestore/layer"
	"github.com/varve-cri/varve/imagestore/layer/layertest"
	"github.com/varve-cri/varve/imagestore/unpack"
)

// BenchmarkWrite writes a layer of 2000 small files, and apart from that the list of
// their checksums, which is the part of it that Check costs a pull; and checks it.
func BenchmarkWrite(b *testing.B) {
	d, err := New(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	entries := []tar.Header{layertest.Dir("./", 0o755)}
	for i := range 2000 {
		dir := fmt.Sprintf("usr/lib/p%d", i/20)
		if i%20 == 0 {
			entries = append(entries, layertest.Dir("usr", 0o755), layertest.Dir("usr/lib", 0o755), layertest.Dir(dir, 0o755))
		}
		entries = append(entries, layertest.File(fmt.Sprintf("%s/file%d", dir, i), strings.Repeat("0123456789abcdef", i)))
	}
	archive := layertest.Tar(b, entries...)
	top := b.TempDir()
	var last string
	var made unpack.Result
	n := 0
	b.Run("layer", func(b *testing.B) {
		b.SetBytes(int64(len(archive)))
		for b.Loop() {
			n++
			last = filepath.Join(top, fmt.Sprint(n))
			if err := os.Mkdir(last, 0o700); err != nil {
				b.Fatal(err)
			}
			r, err := d.Write(b.Context(), last, bytes.NewReader(archive), unpack.Limits{Bytes: 1 << 30, Entries: 1 << 20})
			if err != nil {
				b.Fatal(err)
			}
			made = r
		}
	})
	b.Run("list alone", func(b *testing.B) {
		for b.Loop() {
			if err := os.Remove(filepath.Join(last, sumsName)); err != nil {
				b.Fatal(err)
			}
			if err := writeSums(last, made); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("check", func(b *testing.B) {
		b.SetBytes(int64(len(archive)))
		for b.Loop() {
			if err := d.Check(last, &layer.Metadata{}, func(int) error { return nil }); err != nil {
				b.Fatal(err)
			}
		}
	})
}
