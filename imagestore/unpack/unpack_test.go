package unpack

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// e is one entry of a test's archive.
type e struct {
	name, link, body string
	kind             byte
	mode             int64
	uid, gid         int
	mtime            time.Time
	pax              map[string]string
	major, minor     int64
}

func archive(t testing.TB, entries ...e) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, x := range entries {
		h := &tar.Header{
			Name: x.name, Linkname: x.link, Typeflag: x.kind, Mode: x.mode, Uid: x.uid, Gid: x.gid,
			ModTime: x.mtime, Size: int64(len(x.body)), PAXRecords: x.pax, Devmajor: x.major, Devminor: x.minor,
		}
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if h.Mode == 0 {
			h.Mode = 0o755
		}
		if x.pax != nil || !x.mtime.IsZero() {
			h.Format = tar.FormatPAX
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, x.body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

var generous = Limits{Bytes: 1 << 30, Entries: 1 << 20}

func openDir(t testing.TB, dir string) *os.File {
	t.Helper()
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func unpackTo(t testing.TB, dir string, entries ...e) (Result, error) {
	t.Helper()
	return Tree(t.Context(), openDir(t, dir), bytes.NewReader(archive(t, entries...)), generous)
}

// unpacked unpacks what must succeed.
func unpacked(t testing.TB, entries ...e) (string, Result) {
	t.Helper()
	dir := t.TempDir()
	r, err := unpackTo(t, dir, entries...)
	if err != nil {
		t.Fatal(err)
	}
	return dir, r
}

func lstat(t testing.TB, p string) unix.Stat_t {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(p, &st); err != nil {
		t.Fatalf("%s: %v", p, err)
	}
	return st
}

func read(t testing.TB, p string) string {
	t.Helper()
	b, err := os.ReadFile(p)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestAttributes(t *testing.T) {
	old := time.Unix(-86400, 123456789)
	dir, r := unpacked(t,
		e{name: "./", kind: tar.TypeDir, mode: 0o711, uid: 5, gid: 6},
		e{name: "d/", kind: tar.TypeDir, mode: 0o1777, mtime: old},
		e{name: "d/f", body: "body", mode: 0o4755, uid: 1000, gid: 2000, mtime: old, pax: map[string]string{"SCHILY.xattr.user.k": "v", "SCHILY.xattr.trusted.overlay.redirect": "/etc"}},
		e{name: "d/cap", body: "x", uid: 7, pax: map[string]string{"SCHILY.xattr.security.capability": "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"}},
		e{name: "d/l", kind: tar.TypeSymlink, link: "/etc/shadow", uid: 3, gid: 4, mtime: old},
		e{name: "d/h", kind: tar.TypeLink, link: "d/f"},
		e{name: "null", kind: tar.TypeChar, mode: 0o666, major: 1, minor: 3, gid: 9},
		e{name: "blk", kind: tar.TypeBlock, mode: 0o660, major: 7, minor: 300},
		e{name: "pipe", kind: tar.TypeFifo, mode: 0o622},
		e{name: "/ko-app/absolute", body: "inside"},
		e{name: "a/" + strings.Repeat("long/", 40) + "file", body: "deep"},
	)
	if r.Root == nil || *r.Root != (Attributes{0o711, 5, 6}) {
		t.Errorf("root attributes %+v", r.Root)
	}
	f := lstat(t, dir+"/d/f")
	if f.Mode != unix.S_IFREG|0o4755 || f.Uid != 1000 || f.Gid != 2000 || f.Nlink != 2 {
		t.Errorf("d/f: %o %d:%d links %d", f.Mode, f.Uid, f.Gid, f.Nlink)
	}
	for _, p := range []string{"/d", "/d/f", "/d/l"} {
		if m := lstat(t, dir+p).Mtim; m.Sec != -86401+1 || m.Nsec != 123456789 {
			t.Errorf("%s: time %d.%d", p, m.Sec, m.Nsec)
		}
	}
	var v [64]byte
	if n, err := unix.Lgetxattr(dir+"/d/f", "user.k", v[:]); err != nil || string(v[:n]) != "v" {
		t.Errorf("user.k: %q %v", v[:max(n, 0)], err)
	}
	if _, err := unix.Lgetxattr(dir+"/d/f", "trusted.overlay.redirect", v[:]); err != unix.ENODATA {
		t.Errorf("an archive set an overlay attribute: %v", err)
	}
	if n, err := unix.Lgetxattr(dir+"/d/cap", "security.capability", v[:]); err != nil || n != 20 {
		t.Errorf("security.capability: %d %v", n, err)
	}
	if st := lstat(t, dir+"/null"); st.Rdev != unix.Mkdev(1, 3) || st.Mode != unix.S_IFCHR|0o666 || st.Gid != 9 {
		t.Errorf("null: %+v", st)
	}
	if st := lstat(t, dir+"/blk"); st.Rdev != unix.Mkdev(7, 300) || st.Mode&unix.S_IFMT != unix.S_IFBLK {
		t.Errorf("blk: %+v", st)
	}
	if st := lstat(t, dir+"/pipe"); st.Mode != unix.S_IFIFO|0o622 {
		t.Errorf("pipe: %o", st.Mode)
	}
	if read(t, dir+"/ko-app/absolute") != "inside" || read(t, dir+"/a/"+strings.Repeat("long/", 40)+"file") != "deep" {
		t.Error("contents differ")
	}
	if len(r.Needs.Dirs) != 42 || r.Needs.Dirs[0] != "a" {
		t.Errorf("implicit directories: %d %v", len(r.Needs.Dirs), r.Needs.Dirs)
	}
}

func TestCVE_2020_10696_Climbing(t *testing.T) {
	outside := t.TempDir()
	if err := os.WriteFile(outside+"/victim", []byte("safe"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, entries := range map[string][]e{
		"dotdot":                     {{name: "../x", body: "evil"}},
		"deep dotdot":                {{name: "a/../../x", body: "evil"}},
		"absolute dotdot":            {{name: "/../x", body: "evil"}},
		"only dotdot":                {{name: "..", kind: tar.TypeDir}},
		"through absolute link":      {{name: "l", kind: tar.TypeSymlink, link: outside}, {name: "l/victim", body: "evil"}},
		"through relative link":      {{name: "l", kind: tar.TypeSymlink, link: "../../../../.." + outside}, {name: "l/victim", body: "evil"}},
		"through two links":          {{name: "a", kind: tar.TypeSymlink, link: "."}, {name: "b", kind: tar.TypeSymlink, link: "a/.."}, {name: "b/victim", body: "evil"}},
		"directory through link":     {{name: "l", kind: tar.TypeSymlink, link: outside}, {name: "l/d", kind: tar.TypeDir}},
		"dangling link":              {{name: "l", kind: tar.TypeSymlink, link: "nowhere"}, {name: "l/x", body: "evil"}},
		"link loop":                  {{name: "l", kind: tar.TypeSymlink, link: "l"}, {name: "l/x", body: "evil"}},
		"hard link out":              {{name: "h", kind: tar.TypeLink, link: "../../" + outside + "/victim"}},
		"hard link through link":     {{name: "l", kind: tar.TypeSymlink, link: "../.."}, {name: "h", kind: tar.TypeLink, link: "l/etc/passwd"}},
		"hard link to itself":        {{name: "h", body: "x"}, {name: "h", kind: tar.TypeLink, link: "h"}},
		"hard link to a directory":   {{name: "d", kind: tar.TypeDir}, {name: "h", kind: tar.TypeLink, link: "d"}},
		"hard link to the root":      {{name: "h", kind: tar.TypeLink, link: "."}},
		"whiteout of dotdot":         {{name: "d/.wh...", body: ""}},
		"whiteout of dot":            {{name: "d/.wh..", body: ""}},
		"whiteout of nothing":        {{name: "d/.wh.", body: ""}},
		"whiteout through link":      {{name: "l", kind: tar.TypeSymlink, link: outside}, {name: "l/.wh.victim"}},
		"opaque through link":        {{name: "l", kind: tar.TypeSymlink, link: outside}, {name: "l/.wh..wh..opq"}},
		"child of a file":            {{name: "f", body: "x"}, {name: "f/x", body: "y"}},
		"root is a link":             {{name: ".", kind: tar.TypeSymlink, link: outside}},
		"owner -1":                   {{name: "f", uid: 1<<32 - 1, body: "x"}},
		"unknown type":               {{name: "f", kind: 'Z'}},
		"device number out of range": {{name: "n", kind: tar.TypeChar, major: 1 << 13}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "in", "side")
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			_, err := unpackTo(t, dir, entries...)
			if entry := (*EntryError)(nil); !errors.As(err, &entry) || entry.Name != entries[len(entries)-1].name {
				t.Errorf("error %v, want one that names the last entry", err)
			}
			if names, _ := filepath.Glob(filepath.Dir(dir) + "/*"); len(names) != 1 || read(t, outside+"/victim") != "safe" {
				t.Errorf("something outside changed: %v", names)
			}
			if st := lstat(t, outside+"/victim"); st.Nlink != 1 || st.Mode&0o7777 != 0o600 {
				t.Errorf("the victim was linked or changed: %+v", st)
			}
			if entries, _ := os.ReadDir(outside); len(entries) != 1 {
				t.Errorf("outside has %v", entries)
			}
		})
	}
}

// CVE-2021-32760, CVE-2021-41089: attributes that go through a link to a file outside.
func TestCVE_2021_32760_AttributesStayInside(t *testing.T) {
	outside := t.TempDir()
	victim := outside + "/victim"
	if err := os.WriteFile(victim, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	before := lstat(t, victim)
	unpacked(t,
		e{name: "l", kind: tar.TypeSymlink, link: victim, mode: 0o777, uid: 1000},
		e{name: "h", kind: tar.TypeLink, link: "l", mode: 0o4777, uid: 1000},
		e{name: "d", kind: tar.TypeDir, mtime: time.Unix(1, 0)},
		e{name: "d", kind: tar.TypeSymlink, link: outside, mode: 0o777},
	)
	if after := lstat(t, victim); after != before {
		t.Errorf("the victim changed: %+v, was %+v", after, before)
	}
	if m := lstat(t, outside).Mtim; m.Sec == 1 {
		t.Error("a late directory time went through a link")
	}
}

func TestLinksInside(t *testing.T) {
	dir, _ := unpacked(t,
		e{name: "run", kind: tar.TypeDir}, e{name: "usr/lib", kind: tar.TypeDir},
		e{name: "var/run", kind: tar.TypeSymlink, link: "/run"}, e{name: "lib", kind: tar.TypeSymlink, link: "usr/lib"},
		e{name: "var/run/pid", body: "1"}, e{name: "lib/new/so", body: "2"},
		e{name: "h", kind: tar.TypeLink, link: "lib/new/so"},
		e{name: "late", kind: tar.TypeLink, link: "comes/later"}, e{name: "comes/later", body: "3"},
	)
	if read(t, dir+"/run/pid") != "1" || read(t, dir+"/usr/lib/new/so") != "2" || read(t, dir+"/h") != "2" || read(t, dir+"/late") != "3" {
		t.Error("links inside the layer are not followed inside the layer")
	}
}

func TestLastEntryWins(t *testing.T) {
	dir, r := unpacked(t,
		e{name: "a", body: "first"}, e{name: "a", body: "second"},
		e{name: "d/x/y", body: "gone"}, e{name: "d", body: "file now"},
		e{name: "s", kind: tar.TypeSymlink, link: "a"}, e{name: "s", body: "own"},
		e{name: "f", body: "file"}, e{name: "f", kind: tar.TypeDir, mode: 0o700}, e{name: "f/in", body: "in"},
		e{name: "keep/x", body: "x"}, e{name: "keep", kind: tar.TypeDir, mode: 0o750},
		e{name: "ro", kind: tar.TypeDir, mode: 0o500}, e{name: "ro/in", body: "in"},
	)
	for p, want := range map[string]string{"a": "second", "d": "file now", "s": "own", "f/in": "in", "keep/x": "x", "ro/in": "in"} {
		if got := read(t, dir+"/"+p); got != want {
			t.Errorf("%s: %q, want %q", p, got, want)
		}
	}
	if st := lstat(t, dir+"/keep"); st.Mode&0o7777 != 0o750 || len(r.Needs.Dirs) != 0 {
		t.Errorf("keep: %o, needs %v", st.Mode, r.Needs)
	}
}

func TestWhiteouts(t *testing.T) {
	dir, _ := unpacked(t,
		e{name: "a/.wh.gone"}, e{name: "b/.wh..wh..opq"}, e{name: "b/x", body: "x"},
		e{name: "c", kind: tar.TypeDir}, e{name: ".wh.c"},
		e{name: ".wh.d"}, e{name: "d", kind: tar.TypeDir}, e{name: ".wh.i"}, e{name: "i/f", body: "y"},
		e{name: "f", body: "mine"}, e{name: ".wh.f"}, e{name: ".wh.g"}, e{name: "g", body: "mine"},
		e{name: ".wh..wh.plnk", kind: tar.TypeDir},
	)
	if st := lstat(t, dir+"/a/gone"); st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != 0 {
		t.Errorf("a/gone: %+v", st)
	}
	for _, p := range []string{"b", "c", "d", "i"} {
		fd := openDir(t, dir+"/"+p)
		if !isOpaque(int(fd.Fd())) {
			t.Errorf("%s is not opaque", p)
		}
	}
	if read(t, dir+"/f") != "mine" || read(t, dir+"/g") != "mine" {
		t.Error("a whiteout took this layer's own file")
	}
	if names, _ := filepath.Glob(dir + "/.wh*"); len(names) > 0 {
		t.Errorf("left over: %v", names)
	}
}

func TestInherit(t *testing.T) {
	lowest, _ := unpacked(t, e{name: "home/u", kind: tar.TypeDir, mode: 0o700, uid: 7}, e{name: "hid/d", kind: tar.TypeDir, mode: 0o700}, e{name: "lib/so", body: "so", uid: 8, mode: 0o640})
	middle, _ := unpacked(t, e{name: "hid", kind: tar.TypeDir}, e{name: "hid/.wh..wh..opq"}, e{name: "lib/.wh.none"})
	dir, r := unpacked(t, e{name: "home/u/f", body: "f"}, e{name: "hid/d/f", body: "f"}, e{name: "so2", kind: tar.TypeLink, link: "lib/so"}, e{name: "so3", kind: tar.TypeLink, link: "lib/so"})
	if r.Needs.None() || len(r.Needs.Links) != 2 {
		t.Fatalf("needs %+v", r.Needs)
	}
	lower := []*os.File{openDir(t, middle), openDir(t, lowest)}
	if _, err := Inherit(t.Context(), openDir(t, dir), r.Needs, lower); err != nil {
		t.Fatal(err)
	}
	if st := lstat(t, dir+"/home/u"); st.Mode&0o7777 != 0o700 || st.Uid != 7 {
		t.Errorf("home/u: %o %d", st.Mode, st.Uid)
	}
	if st := lstat(t, dir+"/hid/d"); st.Mode&0o7777 != 0o755 {
		t.Errorf("hid/d took attributes from behind an opaque directory: %o", st.Mode)
	}
	if st := lstat(t, dir+"/lib/so"); st.Nlink != 3 || st.Uid != 8 || st.Mode&0o7777 != 0o640 || read(t, dir+"/so3") != "so" {
		t.Errorf("lib/so: %+v", st)
	}
	missing := Needs{Links: []Link{{Name: "x", Target: "no/such"}}}
	if _, err := Inherit(t.Context(), openDir(t, dir), missing, lower); !errors.Is(err, unix.ENOENT) {
		t.Errorf("a hard link to nothing: %v", err)
	}
}

func TestBrokenArchives(t *testing.T) {
	whole := archive(t, e{name: "a", body: strings.Repeat("x", 5000)}, e{name: "b", body: "y"})
	for name, c := range map[string]struct {
		b      []byte
		limits Limits
		want   error
	}{
		"truncated in a body":   {whole[:3000], generous, io.ErrUnexpectedEOF},
		"truncated in a header": {whole[:512+5120+100], generous, io.ErrUnexpectedEOF},
		"not a tar":             {bytes.Repeat([]byte("no"), 600), generous, tar.ErrHeader},
		"too many bytes":        {whole, Limits{4999, 9}, ErrLimit},
		"too many entries":      {whole, Limits{9999, 1}, ErrLimit},
	} {
		_, err := Tree(t.Context(), openDir(t, t.TempDir()), bytes.NewReader(c.b), c.limits)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Tree(ctx, openDir(t, t.TempDir()), bytes.NewReader(whole), generous); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// CVE-2017-14992: a header that asks for much memory.
func TestCVE_2017_14992_HugeHeader(t *testing.T) {
	var b bytes.Buffer
	h := make([]byte, 512)
	copy(h, "pax")
	copy(h[100:], "0000644\x000000000\x000000000\x00")
	copy(h[124:], fmt.Sprintf("%011o\x00", 8<<30-1))
	copy(h[136:], "00000000000\x00        x")
	copy(h[257:], "ustar\x0000")
	sum := 0
	for _, c := range h {
		sum += int(c)
	}
	copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))
	b.Write(h)
	_, err := Tree(t.Context(), openDir(t, t.TempDir()), io.MultiReader(&b, zeros{}), generous)
	if err == nil {
		t.Error("a PAX header of 8 GiB was read")
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func FuzzTree(f *testing.F) {
	f.Add(archive(f, e{name: "a", body: "x"}, e{name: "l", kind: tar.TypeSymlink, link: "../.."}, e{name: "l/x", body: "y"}))
	f.Add(archive(f, e{name: "d/.wh.x"}, e{name: "d/.wh..wh..opq"}, e{name: "h", kind: tar.TypeLink, link: "a"}))
	f.Add(archive(f, e{name: "d", kind: tar.TypeDir, mode: 0o4777, pax: map[string]string{"SCHILY.xattr.user.x": "y"}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		top := t.TempDir()
		dir := top + "/in"
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		root, err := os.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		r, err := Tree(t.Context(), root, bytes.NewReader(b), Limits{Bytes: 1 << 20, Entries: 100})
		if err == nil && !r.Needs.None() {
			_, _ = Inherit(t.Context(), root, r.Needs, nil)
		}
		if entries, _ := os.ReadDir(top); len(entries) != 1 {
			t.Fatalf("something outside was made: %v", entries)
		}
	})
}
