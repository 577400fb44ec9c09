package erofs

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/imagestore/erofs"
	"github.com/varve-cri/varve/imagestore/layer"
	"github.com/varve-cri/varve/imagestore/layer/overlay"
	"github.com/varve-cri/varve/imagestore/unpack"
)

// joined makes a stack of archives, lowest first, and mounts it.
func joined(t testing.TB, archives ...[]byte) string {
	t.Helper()
	layers := layersOf(t, archives...)
	dir := t.TempDir()
	if err := writeStack(t.Context(), dir, layers); err != nil {
		t.Fatal(err)
	}
	return mountedStack(t, dir, layers)
}

// mountedStack mounts what writeStack made in dir.
func mountedStack(t testing.TB, dir string, layers []string) string {
	t.Helper()
	devices := make([]string, len(layers))
	for i, l := range layers {
		devices[i] = filepath.Join(l, layerFile)
	}
	return mounted(t, filepath.Join(dir, stackFile), devices...)
}

// layersOf writes archives, lowest first, and gives their directories topmost first.
func layersOf(t testing.TB, archives ...[]byte) []string {
	t.Helper()
	layers := make([]string, len(archives))
	for i, b := range archives {
		layers[len(archives)-1-i], _ = written(t, b)
	}
	return layers
}

// overlaid unpacks the same archives and mounts them with overlay. What it says of
// the layers' roots is not the root's: overlay takes that from the mount's own.
func overlaid(t testing.TB, archives ...[]byte) (root string, err error) {
	t.Helper()
	top := memory(t)
	d, err := overlay.New(top)
	if err != nil {
		t.Fatal(err)
	}
	s := layer.Stack{Root: top + "/root"}
	if err := os.Mkdir(s.Root, 0o755); err != nil {
		t.Fatal(err)
	}
	for i, b := range archives {
		dir := fmt.Sprint(top, "/", i)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		r, err := d.Write(t.Context(), dir, bytes.NewReader(b), generous)
		if err != nil {
			t.Fatal(err)
		}
		if !r.Needs.None() {
			if _, err := d.Inherit(t.Context(), dir, r.Needs, s.Layers); err != nil {
				return "", err
			}
		}
		s.Layers = append([]string{dir}, s.Layers...)
	}
	f, err := d.Mount(s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return fmt.Sprintf("/proc/self/fd/%d", f.Fd()), nil
}

// The joined file system shows what overlay shows for the same layers.
func TestJoinAsOverlay(t *testing.T) {
	lowest := archive(t,
		e{name: "a", body: "1"}, e{name: "d/x", body: "x"}, e{name: "d/y", body: "y"}, e{name: "o/below", body: "b"}, e{name: "o/sub/z", body: "z"},
		e{name: "home/", kind: tar.TypeDir}, e{name: "home/u/", kind: tar.TypeDir, mode: 0o700, uid: 7, xattrs: map[string]string{"user.x": "lower"}},
		e{name: "hid/d/", kind: tar.TypeDir, mode: 0o700}, e{name: "lib/so", body: "so", uid: 8, mode: 0o640},
		e{name: "file-to-dir", body: "f"}, e{name: "dir-to-file/in", body: "f"}, e{name: "link-to-dir", kind: tar.TypeSymlink, link: "d"},
		e{name: "h1", body: "linked"}, e{name: "h2", kind: tar.TypeLink, link: "h1"}, e{name: "e/f", body: "f"}, e{name: "same/", kind: tar.TypeDir, mode: 0o711},
		e{name: "gone-and-back/old", body: "old"}, e{name: "null", kind: tar.TypeChar, major: 1, minor: 3},
	)
	middle := archive(t,
		e{name: "a", body: "2"}, e{name: "d/.wh.x"}, e{name: "o/.wh..wh..opq"}, e{name: "o/own", body: "own"}, e{name: ".wh.e"},
		e{name: "hid/", kind: tar.TypeDir}, e{name: "hid/.wh..wh..opq"}, e{name: "lib/.wh.none"}, e{name: ".wh.gone-and-back"},
		e{name: "file-to-dir/in", body: "in"}, e{name: "dir-to-file", body: "f"}, e{name: "link-to-dir/new", body: "new"},
		e{name: "same/", kind: tar.TypeDir, mode: 0o750, uid: 4, xattrs: map[string]string{"user.y": "middle"}},
	)
	top := archive(t,
		e{name: "e", body: "a file now"}, e{name: "home/u/f", body: "f"}, e{name: "hid/d/f", body: "f"}, e{name: "gone-and-back/new", body: "new"},
		e{name: "so2", kind: tar.TypeLink, link: "lib/so"}, e{name: "home/so3", kind: tar.TypeLink, link: "lib/so"}, e{name: "so4", kind: tar.TypeLink, link: "so2"},
		e{name: "o/sub/new", body: "n"}, e{name: ".wh.h1"}, e{name: "same/in", body: "in"},
	)
	got := seen(t, joined(t, lowest, middle, top))
	plain, err := overlaid(t, lowest, middle, top)
	if err != nil {
		t.Fatal(err)
	}
	asOverlay(t, got, seen(t, plain))
	if u := got["home/u"]; u.uid != 7 || u.mode != unix.S_IFDIR|0o700 || u.xattrs != "user.x=6c6f776572" {
		t.Errorf("home/u is implicit in the top layer: %+v", u)
	}
	if so := got["lib/so"]; so.nlink != 4 || so.uid != 8 || got["so2"].same != so.same || got["so4"].same != so.same {
		t.Errorf("lib/so and its names above: %+v, %+v", so, got["so2"])
	}
	if h := got["h2"]; h.nlink != 1 {
		t.Errorf("h2's other name is gone: %+v", h)
	}
}

// asOverlay compares with what overlay shows, but for what overlay cannot know or
// makes up: the root, link counts, and the time at which it made a directory that
// nobody described.
func asOverlay(t testing.TB, got, want map[string]look) {
	t.Helper()
	names := map[string]uint64{}
	for _, l := range got {
		names[l.same]++
	}
	for p, l := range got {
		if l.mode&unix.S_IFMT != unix.S_IFDIR && l.nlink != names[l.same] {
			t.Errorf("%q has %d names and says %d", p, names[l.same], l.nlink)
		}
	}
	delete(got, "")
	delete(want, "")
	same(t, got, want, func(_ string, l *look) {
		l.nlink = 0
		if l.mode&unix.S_IFMT == unix.S_IFDIR {
			l.mtime = unix.Timespec{}
		}
	})
}

func TestJoinOneAndMany(t *testing.T) {
	b := everything(t, 100)
	want, err := overlaid(t, b)
	if err != nil {
		t.Fatal(err)
	}
	got := joined(t, b)
	all := seen(t, got)
	asOverlay(t, all, seen(t, want))
	for p, l := range all {
		if strings.Contains(l.xattrs, "trusted.") {
			t.Errorf("%s: %s", p, l.xattrs)
		}
	}
	var many [][]byte
	for i := range 150 {
		many = append(many, archive(t, e{name: fmt.Sprint("f", i), body: "x"}, e{name: "top", body: fmt.Sprint(i)}))
	}
	all = seen(t, joined(t, many...))
	if len(all) != 152 || all["top"].content != fmt.Sprintf("%x", sha("149")) || all["f0"].content != fmt.Sprintf("%x", sha("x")) {
		t.Errorf("150 layers: %d names, top %+v", len(all), all["top"])
	}
}

// What a layer links to must be in a layer below and not be hidden.
func TestLinkToNothing(t *testing.T) {
	for name, archives := range map[string][][]byte{
		"missing":     {archive(t), archive(t, e{name: "d/h", kind: tar.TypeLink, link: "no/such"})},
		"one layer":   {archive(t, e{name: "d/h", kind: tar.TypeLink, link: "no/such"})},
		"whited out":  {archive(t, e{name: "x", body: "x"}), archive(t, e{name: ".wh.x"}), archive(t, e{name: "d/h", kind: tar.TypeLink, link: "x"})},
		"opaque":      {archive(t, e{name: "o/x", body: "x"}), archive(t, e{name: "o/.wh..wh..opq"}, e{name: "d/h", kind: tar.TypeLink, link: "o/x"})},
		"a symlink":   {archive(t, e{name: "x", kind: tar.TypeSymlink, link: "y"}), archive(t, e{name: "d/h", kind: tar.TypeLink, link: "x"})},
		"a directory": {archive(t, e{name: "x/y", body: "y"}), archive(t, e{name: "d/h", kind: tar.TypeLink, link: "x"})},
	} {
		err := writeStack(t.Context(), t.TempDir(), layersOf(t, archives...))
		if entry := (*unpack.EntryError)(nil); !errors.As(err, &entry) || entry.Name != "d/h" {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := overlaid(t, archives...); err == nil {
			t.Errorf("%s: overlay takes it", name)
		}
	}
}

// A layer whose metadata is damaged is told by its name.
func TestDamagedLayer(t *testing.T) {
	layers := layersOf(t, archive(t, e{name: "d/a", body: "x"}), archive(t, e{name: "d/b", body: "y"}))
	f, err := os.OpenFile(layers[1]+"/"+layerFile, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	// The last inodes are those of d and its file.
	if _, err := f.WriteAt(bytes.Repeat([]byte{0xee}, 200), st.Size()-erofs.BlockSize+64); err != nil {
		t.Fatal(err)
	}
	err = writeStack(t.Context(), t.TempDir(), layers)
	if !errors.Is(err, erofs.ErrFormat) || !strings.Contains(err.Error(), filepath.Base(layers[1])) {
		t.Errorf("join: %v", err)
	}
	if err := os.Truncate(layers[1]+"/"+layerFile, 100); err != nil {
		t.Fatal(err)
	}
	if err := writeStack(t.Context(), t.TempDir(), layers); !errors.Is(err, erofs.ErrFormat) {
		t.Errorf("cut off: %v", err)
	}
}

// Each layer is a file system by itself, and overlay understands what it hides.
func TestLayersUnderOverlay(t *testing.T) {
	lower := archive(t, e{name: "a", body: "1"}, e{name: "d/", kind: tar.TypeDir}, e{name: "d/x", body: "x"}, e{name: "d/y", body: "y"}, e{name: "o/", kind: tar.TypeDir}, e{name: "o/below", body: "b"})
	upper := archive(t, e{name: "a", body: "2"}, e{name: "d/", kind: tar.TypeDir}, e{name: "d/.wh.x"}, e{name: "o/", kind: tar.TypeDir}, e{name: "o/.wh..wh..opq"}, e{name: "o/own", body: "own"})
	layers := layersOf(t, lower, upper)
	d, err := overlay.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	f, err := d.Over([]string{mounted(t, layers[0]+"/"+layerFile), mounted(t, layers[1]+"/"+layerFile)}, layer.Stack{Root: root})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	asOverlay(t, seen(t, joined(t, lower, upper)), seen(t, fmt.Sprintf("/proc/self/fd/%d", f.Fd())))
}
