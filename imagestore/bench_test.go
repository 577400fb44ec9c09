package imagestore

import (
	"archive/tar"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/imagestore/layer/layertest"
	"github.com/varve-cri/varve/imagestore/spool"
)

// manyFiles makes a layer of n small files in directories, with links among them:
// what a language's package tree looks like.
func manyFiles(b *testing.B, n int, seed uint64) []byte {
	rnd := rand.New(rand.NewPCG(seed, 1))
	words := make([]byte, 1<<16)
	for i := range words {
		words[i] = "etaoin shrdlu\n(){};"[rnd.IntN(19)]
	}
	entries := []tar.Header{layertest.Dir("./", 0o755)}
	for i := range n {
		dir := fmt.Sprintf("usr/lib/pkg%d/%d", seed, i/20)
		if i%20 == 0 {
			entries = append(entries, layertest.Dir(dir, 0o755))
		}
		size := 200 + rnd.IntN(28000)
		at := rnd.IntN(len(words) - size)
		entries = append(entries, layertest.File(fmt.Sprintf("%s/file%d", dir, i), string(words[at:at+size])))
		if i%50 == 49 {
			entries = append(entries, tar.Header{Name: fmt.Sprintf("%s/link%d", dir, i), Typeflag: tar.TypeLink, Linkname: fmt.Sprintf("%s/file%d", dir, i)})
		}
	}
	return layertest.Tar(b, entries...)
}

// BenchmarkPull pulls an image of four layers of many small files over loopback.
func BenchmarkPull(b *testing.B) {
	r := newRemote(b)
	p := picture{format: "gzip"}
	var bytes int64
	const files = 5000
	for i := range 4 {
		l := manyFiles(b, files, uint64(i))
		bytes += int64(len(l))
		p.layers = append(p.layers, l)
	}
	r.push("app:v1", p)
	b.SetBytes(bytes)
	b.ReportAllocs()
	for b.Loop() {
		s := open(b)
		pulled(b, s, r.host()+"/app:v1")
		b.StopTimer()
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(4*files*b.N)/b.Elapsed().Seconds(), "files/s")
}

// BenchmarkContainer makes, mounts and removes a read-write layer.
func BenchmarkContainer(b *testing.B) {
	s, _, image := small(b)
	for _, c := range []struct {
		name string
		work func(id string) error
	}{
		{"create+remove", func(string) error { return nil }},
		{"create+mount+remove", func(id string) error {
			f, err := s.MountRW(id)
			if err == nil {
				err = f.Close()
			}
			return err
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			n := 0
			for b.Loop() {
				n++
				id := fmt.Sprint("c", n)
				if err := s.CreateRW(id, image.ID); err != nil {
					b.Fatal(err)
				}
				if err := c.work(id); err != nil {
					b.Fatal(err)
				}
				if err := s.RemoveRW(id); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkGet reads by name.
func BenchmarkGet(b *testing.B) {
	s, _, image := small(b)
	for b.Loop() {
		if _, err := s.Get(image.Tags[0]); err != nil {
			b.Fatal(err)
		}
	}
}

func processorTime(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkPullKept is BenchmarkPull of one layer, with and without its bytes kept
// on the way: what a resume after a restart costs who needs none.
func BenchmarkPullKept(b *testing.B) {
	r := newRemote(b)
	r.push("app:v1", picture{format: "gzip", layers: [][]byte{manyFiles(b, 10000, 1)}})
	for _, c := range []struct {
		name   string
		limits spool.Limits
	}{
		{"never", spool.Limits{MinBytes: -1}},
		{"when slow", spool.Limits{MinBytes: 1}},
		{"always", spool.Limits{MinBytes: 1, After: -1, MinFree: -1}},
	} {
		b.Run(c.name, func(b *testing.B) {
			var busy time.Duration
			for b.Loop() {
				s := open(b, func(cfg *Config) { cfg.Spool = c.limits })
				begun := processorTime(b)
				pulled(b, s, r.host()+"/app:v1")
				b.StopTimer()
				busy += processorTime(b) - begun
				if err := s.Close(); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
			b.ReportMetric(float64(busy)/float64(b.N)/1e6, "cpu-ms/op")
		})
	}
}

// BenchmarkRoot makes the root of a container on an image of twelve layers, in each
// format: what every container's start waits for when no spare is there.
func BenchmarkRoot(b *testing.B) {
	r := newRemote(b)
	p := picture{format: "gzip"}
	for i := range 12 {
		p.layers = append(p.layers, manyFiles(b, 100, uint64(i)))
	}
	r.push("app:v1", p)
	for _, format := range []string{FormatErofs, FormatOverlay} {
		b.Run(format, func(b *testing.B) {
			s := open(b, inFormat(format))
			image := pulled(b, s, r.host()+"/app:v1")
			var create, mount, first []time.Duration
			n := 0
			for b.Loop() {
				n++
				id := fmt.Sprint("c", n)
				begin := time.Now()
				if err := s.CreateRW(id, image.ID); err != nil {
					b.Fatal(err)
				}
				made := time.Now()
				f, err := s.MountRW(id)
				if err != nil {
					b.Fatal(err)
				}
				mounted := time.Now()
				if n == 1 {
					first = append(first, mounted.Sub(made))
				}
				create, mount = append(create, made.Sub(begin)), append(mount, mounted.Sub(made))
				if err := errors.Join(f.Close(), s.RemoveRW(id)); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(median(create).Microseconds()), "create-µs")
			b.ReportMetric(float64(median(mount).Microseconds()), "mount-µs")
			b.ReportMetric(float64(first[0].Microseconds()), "first-mount-µs")
		})
	}
}

func median(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)/2]
}
