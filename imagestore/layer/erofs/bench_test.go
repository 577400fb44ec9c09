package erofs

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/imagestore/erofs"
)

// tree is an archive of many small files and few big ones, as images are: n
// entries in directories of ten, of about bytes in all.
func tree(t testing.TB, prefix string, n int, bytesEach int) []byte {
	list := make([]e, 0, n+n/10)
	for i := range n {
		if i%10 == 0 {
			list = append(list, e{name: fmt.Sprintf("%s/lib/package-%d/dir-%d/", prefix, i/100, i/10), kind: tar.TypeDir, plain: true})
		}
		list = append(list, e{name: fmt.Sprintf("%s/lib/package-%d/dir-%d/some-file-%d.so", prefix, i/100, i/10, i), body: random(bytesEach, uint64(i)), plain: true})
	}
	return archive(t, list...)
}

// BenchmarkWriteLayer is without fsync, in megabytes of the stream. "copy" is the
// same stream through the same writes without a look at it.
func BenchmarkWriteLayer(b *testing.B) {
	archive := tree(b, "usr", 6400, 15<<10)
	dir := b.TempDir()
	b.Run("layer", func(b *testing.B) {
		b.SetBytes(int64(len(archive)))
		defer reportCPU(b)()
		for range b.N {
			if _, err := writeLayer(b.Context(), dir, bytes.NewReader(archive), generous); err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			os.Remove(dir + "/" + layerFile)
			b.StartTimer()
		}
	})
	b.Run("copy", func(b *testing.B) {
		b.SetBytes(int64(len(archive)))
		defer reportCPU(b)()
		for range b.N {
			f, err := os.Create(dir + "/copy")
			if err != nil {
				b.Fatal(err)
			}
			if err := newTape(b.Context(), bytes.NewReader(archive), f, 0).rest(); err != nil {
				b.Fatal(err)
			}
			f.Close()
			b.StopTimer()
			os.Remove(f.Name())
			b.StartTimer()
		}
	})
}

// BenchmarkTree is the share of writeLayer that grows with the entries: a tar of
// 77,000 empty files, to nowhere.
func BenchmarkTree(b *testing.B) {
	archive := tree(b, "usr", 70000, 0)
	b.ReportAllocs()
	b.ResetTimer()
	defer reportCPU(b)()
	for range b.N {
		en := newEntries(generous, nil)
		r := tar.NewReader(bytes.NewReader(archive))
		for {
			h, err := r.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				b.Fatal(err)
			}
			if err := en.add(h, r, 4096); err != nil {
				b.Fatal(err)
			}
		}
		if _, err := en.tree.Write(nowhere{}, erofs.DataStart, nil); err != nil {
			b.Fatal(err)
		}
	}
}

// reportCPU adds the processor time an operation took, which says more than the
// clock on a machine that does other things too.
func reportCPU(b *testing.B) (stop func()) {
	used := func() float64 {
		var r unix.Rusage
		if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
			b.Fatal(err)
		}
		return float64(r.Utime.Nano()+r.Stime.Nano()) / 1e6
	}
	start := used()
	return func() { b.ReportMetric((used()-start)/float64(b.N), "cpu-ms/op") }
}

type nowhere struct{}

func (nowhere) WriteAt(b []byte, _ int64) (int, error) { return len(b), nil }

// BenchmarkJoin makes one file system of 77,000 entries in 12 layers.
func BenchmarkJoin(b *testing.B) {
	var archives [][]byte
	for i := range 12 {
		archives = append(archives, tree(b, fmt.Sprintf("usr/%d", i%4), 5850, 0))
	}
	layers := layersOf(b, archives...)
	dir := b.TempDir()
	b.ReportAllocs()
	b.ResetTimer()
	defer reportCPU(b)()
	for range b.N {
		if err := writeStack(b.Context(), dir, layers); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		os.Remove(dir + "/" + stackFile)
		b.StartTimer()
	}
}
