// Package layertest is the suite that every layer.Driver passes on a real kernel.
// It tests what a container sees through a mount, not how a driver stores it.
package layertest

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/imagestore/layer"
	"github.com/varve-cri/varve/imagestore/unpack"
)

// Tar makes an archive: each entry's body and type are set from the header's
// Linkname and Name as tar wants them.
func Tar(t testing.TB, entries ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range entries {
		body := ""
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
			body, h.Linkname = h.Linkname, ""
			h.Size = int64(len(body))
		}
		if h.Mode == 0 {
			h.Mode = 0o755
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatalf("%.300q: %v", h.Name, err)
		}
		if _, err := io.WriteString(w, body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// File is a regular file's header for Tar.
func File(name, body string) tar.Header { return tar.Header{Name: name, Linkname: body} }

// Dir is a directory's header for Tar.
func Dir(name string, mode int64) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: mode}
}

var generous = unpack.Limits{Bytes: 1 << 30, Entries: 1 << 20}

// Bench holds one driver's layers during a test.
type bench struct {
	t   *testing.T
	dir string
	layer.Driver
	stack []string // topmost first
	// joined is of the stack; empty until it is mounted, or when the format needs none.
	joined string
	n      int
}

// Run runs the suite on the driver that open gives for a scratch directory.
func Run(t *testing.T, open func(scratch string) (layer.Driver, error)) {
	for name, test := range map[string]func(*bench){
		"one layer":         oneLayer,
		"stack and hide":    stackAndHide,
		"writable":          writable,
		"mount twice":       mountTwice,
		"deep":              deep,
		"inherit":           inherit,
		"cancelled":         cancelled,
		"attributes":        attributes,
		"read-only is kept": readOnly,
		"many layers":       manyLayers,
		"types change":      typesChange,
		"twice":             twice,
		"links across":      linksAcross,
		"implicit":          implicitDirs,
		"oddities":          oddities,
		"sparse":            sparse,
		"removed":           removedWhileMounted,
		"shared":            shared,
		"mixed upper":       mixedUpper,
		"joined is pure":    joinedIsPure,
		"check":             check,
	} {
		t.Run(name, func(t *testing.T) {
			b := &bench{t: t, dir: t.TempDir()}
			for _, d := range []string{"scratch", "root", "upper", "work"} {
				if err := os.Mkdir(filepath.Join(b.dir, d), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			var err error
			if b.Driver, err = open(b.dir + "/scratch"); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := b.Close(); err != nil {
					t.Error(err)
				}
			})
			test(b)
		})
	}
}

// write adds a layer on top.
func (b *bench) write(entries ...tar.Header) unpack.Result {
	b.t.Helper()
	dir := filepath.Join(b.dir, "layer"+strconv.Itoa(b.n))
	b.n++
	if err := os.Mkdir(dir, 0o700); err != nil {
		b.t.Fatal(err)
	}
	r, err := b.Write(b.t.Context(), dir, bytes.NewReader(Tar(b.t, entries...)), generous)
	if err != nil {
		b.t.Fatal(err)
	}
	if !r.Needs.None() {
		if _, err := b.Inherit(b.t.Context(), dir, r.Needs, b.stack); err != nil {
			b.t.Fatal(err)
		}
	}
	if err := b.Sync([]string{dir}); err != nil {
		b.t.Fatal(err)
	}
	b.stack, b.joined = append([]string{dir}, b.stack...), ""
	return r
}

// join joins the stack as it is now, if the format wants that.
func (b *bench) join() layer.Stack {
	b.t.Helper()
	if b.Joins() && b.joined == "" {
		b.joined = filepath.Join(b.dir, "stack"+strconv.Itoa(b.n))
		b.n++
		if err := os.Mkdir(b.joined, 0o700); err != nil {
			b.t.Fatal(err)
		}
		if err := b.Join(b.t.Context(), b.joined, b.stack); err != nil {
			b.t.Fatal(err)
		}
	}
	return layer.Stack{Layers: b.stack, Joined: b.joined}
}

// mount gives a path below which the mount can be reached.
func (b *bench) mount(rw bool) string {
	b.t.Helper()
	s := b.join()
	s.Root = b.dir + "/root"
	if rw {
		s.Root, s.Upper, s.Work = "", b.dir+"/upper", b.dir+"/work"
	}
	f, err := b.Mount(s)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { f.Close() })
	return fmt.Sprintf("/proc/self/fd/%d", f.Fd())
}

func (b *bench) want(root string, files map[string]string) {
	b.t.Helper()
	for p, want := range files {
		got, err := os.ReadFile(root + "/" + p)
		switch {
		case want == "" && !os.IsNotExist(err):
			b.t.Errorf("%s: %q, %v, want nothing", p, got, err)
		case want != "" && string(got) != want:
			b.t.Errorf("%s: %q, %v, want %q", p, got, err, want)
		}
	}
}

func oneLayer(b *bench) {
	r := b.write(Dir("./", 0o755), File("a", "a"))
	if r.Inodes < 1 || r.Bytes < 1 || r.Root == nil {
		b.t.Errorf("result %+v", r)
	}
	b.want(b.mount(false), map[string]string{"a": "a"})
}

func stackAndHide(b *bench) {
	b.write(File("a", "1"), File("d/x", "x"), File("d/y", "y"), File("o/below", "b"), File("e/f", "f"))
	b.write(File("a", "2"), File("d/.wh.x", ""), File("o/.wh..wh..opq", ""), File("o/own", "own"), File(".wh.e", ""))
	b.write(File("e", "a file now"))
	root := b.mount(false)
	b.want(root, map[string]string{"a": "2", "d/x": "", "d/y": "y", "o/below": "", "o/own": "own", "e": "a file now"})
	entries, err := os.ReadDir(root + "/d")
	if err != nil || len(entries) != 1 {
		b.t.Errorf("d holds %v, %v", entries, err)
	}
}

func writable(b *bench) {
	b.write(File("a", "1"), File("gone", "x"))
	root := b.mount(true)
	if err := os.WriteFile(root+"/a", []byte("2"), 0o600); err != nil {
		b.t.Fatal(err)
	}
	if err := os.Remove(root + "/gone"); err != nil {
		b.t.Fatal(err)
	}
	b.want(root, map[string]string{"a": "2", "gone": ""})
	b.want(b.mount(false), map[string]string{"a": "1", "gone": "x"})
}

// A start that failed after the mount may be tried again.
func mountTwice(b *bench) {
	b.write(File("a", "1"))
	s := b.join()
	s.Upper, s.Work = b.dir+"/upper", b.dir+"/work"
	for range 2 {
		f, err := b.Mount(s)
		if err != nil {
			b.t.Fatal(err)
		}
		f.Close()
	}
}

// Many layers: more than fit into one page of mount options.
func deep(b *bench) {
	const layers = 150
	for i := range layers {
		b.write(File("f"+strconv.Itoa(i), "x"), File("top", strconv.Itoa(i)))
	}
	b.want(b.mount(true), map[string]string{"f0": "x", "top": strconv.Itoa(layers - 1)})
}

func inherit(b *bench) {
	private := Dir("home/u", 0o700)
	private.Uid = 1000
	b.write(Dir("home", 0o755), private, File("lib/so", "so"))
	b.write(File("home/u/f", "f"), tar.Header{Name: "so2", Typeflag: tar.TypeLink, Linkname: "lib/so"})
	root := b.mount(false)
	var st unix.Stat_t
	if err := unix.Stat(root+"/home/u", &st); err != nil || st.Mode&0o7777 != 0o700 || st.Uid != 1000 {
		b.t.Errorf("home/u: %o of %d, %v", st.Mode, st.Uid, err)
	}
	b.want(root, map[string]string{"so2": "so", "home/u/f": "f"})
}

func cancelled(b *bench) {
	ctx, cancel := context.WithCancel(b.t.Context())
	cancel()
	dir := b.t.TempDir()
	if _, err := b.Write(ctx, dir, bytes.NewReader(Tar(b.t, File("a", "1"))), generous); err == nil {
		b.t.Error("a cancelled write gave no error")
	}
}

func attributes(b *bench) {
	f := File("suid", "x")
	f.Mode, f.Uid, f.Gid = 0o4711, 12, 13
	f.Format = tar.FormatPAX
	f.PAXRecords = map[string]string{"SCHILY.xattr.user.k": "v"}
	b.write(f, tar.Header{Name: "h", Typeflag: tar.TypeLink, Linkname: "suid"}, tar.Header{Name: "null", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3, Mode: 0o666}, tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "/suid"})
	root := b.mount(false)
	var st unix.Stat_t
	if err := unix.Lstat(root+"/suid", &st); err != nil || st.Mode&0o7777 != 0o4711 || st.Uid != 12 || st.Gid != 13 || st.Nlink != 2 {
		b.t.Errorf("suid: %+v, %v", st, err)
	}
	var v [8]byte
	if n, err := unix.Lgetxattr(root+"/suid", "user.k", v[:]); err != nil || string(v[:n]) != "v" {
		b.t.Errorf("user.k: %v", err)
	}
	if err := unix.Lstat(root+"/null", &st); err != nil || st.Rdev != unix.Mkdev(1, 3) {
		b.t.Errorf("null: %+v, %v", st, err)
	}
	if l, err := os.Readlink(root + "/l"); l != "/suid" {
		b.t.Errorf("l: %q, %v", l, err)
	}
}

func readOnly(b *bench) {
	b.write(File("a", "1"))
	if err := os.Chmod(b.dir+"/root", 0o711); err != nil {
		b.t.Fatal(err)
	}
	root := b.mount(false)
	if err := os.WriteFile(root+"/new", nil, 0o600); err == nil {
		b.t.Error("a read-only mount was written to")
	}
	var st unix.Stat_t
	if err := unix.Stat(root, &st); err != nil || st.Mode&0o7777 != 0o711 {
		b.t.Errorf("the root's mode is %o, %v", st.Mode, err)
	}
}
