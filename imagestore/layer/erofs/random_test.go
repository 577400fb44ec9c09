package erofs

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/imagestore/unpack"
)

// dice makes archives in which everything meets everything: few names, all types.
type dice struct{ *rand.Rand }

func (d dice) name() string {
	parts := make([]string, 1+d.IntN(3))
	for i := range parts {
		parts[i] = string(rune('a' + d.IntN(4)))
	}
	return strings.Join(parts, "/")
}

func (d dice) target() string {
	switch d.IntN(4) {
	case 0:
		return "/" + d.name()
	case 1:
		return "../" + d.name()
	}
	return d.name()
}

func (d dice) entry(n int) e {
	x := e{
		name: d.name(), mode: int64(d.IntN(0o10000)) | 0o400, uid: d.IntN(3), gid: d.IntN(3),
		mtime: time.Unix(1600000000+int64(d.IntN(1000)), int64(d.IntN(1e9))),
	}
	if d.IntN(5) == 0 {
		x.xattrs = map[string]string{"user." + d.name(): strings.Repeat("v", d.IntN(600))}
	}
	switch d.IntN(20) {
	case 0, 1, 2, 3, 4:
		x.kind = tar.TypeDir
	case 5, 6:
		x.kind, x.link = tar.TypeSymlink, d.target()
	case 7, 8, 9:
		x.kind, x.link = tar.TypeLink, d.name()
	case 10:
		x.kind, x.major, x.minor = tar.TypeChar, int64(d.IntN(2)), int64(d.IntN(2))
	case 11:
		x.kind = tar.TypeFifo
	case 12, 13:
		x = e{name: whiteoutOf(x.name)}
	case 14:
		x = e{name: x.name + "/.wh..wh..opq"}
	default:
		x.body = strings.Repeat("b", d.IntN(2000)) + fmt.Sprint(n)
	}
	return x
}

func whiteoutOf(name string) string {
	i := strings.LastIndexByte(name, '/') + 1
	return name[:i] + ".wh." + name[i:]
}

func (d dice) archive(t testing.TB) []byte {
	list := make([]e, 1+d.IntN(25))
	for i := range list {
		list[i] = d.entry(i)
	}
	return archive(t, list...)
}

// bothWays writes an archive in both formats, and fails if only one takes it.
func bothWays(t testing.TB, b []byte) (dir, plain string, r unpack.Result, ok bool) {
	t.Helper()
	dir, plain = t.TempDir(), memory(t)
	root, err := os.Open(plain)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	r, want := unpack.Tree(t.Context(), root, bytes.NewReader(b), generous)
	own, got := writeLayer(t.Context(), dir, bytes.NewReader(b), generous)
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("error %v, unpacked %v\n%s", got, want, listing(t, b))
	}
	if len(r.Needs.Links) == 0 && (own.Bytes != r.Bytes || own.Inodes != r.Inodes || (own.Root == nil) != (r.Root == nil)) {
		t.Errorf("result %+v, unpacked %+v\n%s", own, r, listing(t, b))
	}
	return dir, plain, r, want == nil
}

// Random archives: the kernel shows the file as unpack makes the directory.
func TestRandomLayers(t *testing.T) {
	const layerSeeds = 200
	taken := 0
	for seed := range uint64(layerSeeds) {
		d := dice{rand.New(rand.NewPCG(seed, 1))}
		b := d.archive(t)
		dir, plain, r, ok := bothWays(t, b)
		if !ok {
			continue
		}
		taken++
		got, want := seen(t, mounted(t, dir+"/layer.erofs")), seen(t, plain)
		// What waits for the layers below is not made yet, or is marked.
		for _, l := range r.Needs.Links {
			forget(got, l.Name)
			forget(want, l.Name)
		}
		forgetNow(got, want)
		same(t, got, want, func(_ string, l *look) {
			l.xattrs = strings.TrimSpace(strings.Replace(l.xattrs, "trusted.varve.implicit=79", "", 1))
			if l.mode&unix.S_IFMT == unix.S_IFCHR && l.rdev == 0 {
				l.uid, l.gid = 0, 0 // of a whiteout, which nobody sees
			}
		})
		if t.Failed() {
			t.Fatalf("seed %d:\n%s", seed, listing(t, b))
		}
	}
	if taken < layerSeeds/7 {
		t.Errorf("only %d archives of %d were sound", taken, layerSeeds)
	}
}

// forget takes a name away with all that is below it, and what depends on it.
func forget(all map[string]look, name string) {
	for p, l := range all {
		if p == name || strings.HasPrefix(p, name+"/") {
			delete(all, p)
			continue
		}
		l.nlink, l.same = 0, ""
		all[p] = l
	}
}

// forgetNow forgets the times of what the other side made without being told a time.
func forgetNow(got, want map[string]look) {
	for p, w := range want {
		if w.mtime.Sec >= 1600000000 && w.mtime.Sec <= 1600001000 {
			continue
		}
		g := got[p]
		w.mtime, g.mtime = unix.Timespec{}, unix.Timespec{}
		want[p] = w
		if _, ok := got[p]; ok {
			got[p] = g
		}
	}
}

func listing(t testing.TB, b []byte) string {
	var s strings.Builder
	r := tar.NewReader(bytes.NewReader(b))
	for {
		h, err := r.Next()
		if err != nil {
			return s.String()
		}
		fmt.Fprintf(&s, "%c %q -> %q mode %o owner %d:%d size %d device %d:%d\n", h.Typeflag, h.Name, h.Linkname, h.Mode, h.Uid, h.Gid, h.Size, h.Devmajor, h.Devminor)
	}
}

// Random stacks: the joined file system shows what overlay shows.
func TestRandomStacks(t *testing.T) {
	const seeds = 60
	taken := 0
	for seed := range uint64(seeds) {
		d := dice{rand.New(rand.NewPCG(seed, 2))}
		var archives [][]byte
		var layers []string
		for len(archives) < 2+d.IntN(4) {
			b, dir := d.archive(t), t.TempDir()
			if _, err := writeLayer(t.Context(), dir, bytes.NewReader(b), generous); err == nil {
				archives, layers = append(archives, b), append([]string{dir}, layers...)
			}
		}
		plain, want := overlaid(t, archives...)
		stack := t.TempDir()
		got := writeStack(t.Context(), stack, layers)
		entry := (*unpack.EntryError)(nil)
		if (got == nil) != (want == nil) || got != nil && !errors.As(got, &entry) {
			t.Fatalf("seed %d: error %v, overlay %v", seed, got, want)
		}
		if got != nil {
			continue
		}
		taken++
		asOverlay(t, seen(t, mountedStack(t, stack, layers)), seen(t, plain))
		if t.Failed() {
			for _, b := range archives {
				t.Log(listing(t, b))
			}
			t.Fatalf("seed %d", seed)
		}
	}
	if taken < seeds/6 {
		t.Errorf("only %d stacks of %d were sound", taken, seeds)
	}
}
