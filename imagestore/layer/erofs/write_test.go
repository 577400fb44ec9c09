package erofs

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/imagestore/erofs"
	"github.com/varve-cri/varve/imagestore/unpack"
)

var generous = unpack.Limits{Bytes: 8 << 30, Entries: 1 << 20}

// e is one entry of a test's archive.
type e struct {
	name, link, body string
	kind             byte
	mode             int64
	uid, gid         int
	mtime            time.Time
	xattrs           map[string]string
	major, minor     int64
	plain            bool // in the oldest format that will do, as most archives are
}

func archive(t testing.TB, entries ...e) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, x := range entries {
		h := &tar.Header{
			Name: x.name, Linkname: x.link, Typeflag: x.kind, Mode: x.mode, Uid: x.uid, Gid: x.gid,
			ModTime: x.mtime, Size: int64(len(x.body)), Devmajor: x.major, Devminor: x.minor,
		}
		if !x.plain {
			h.Format = tar.FormatPAX
		}
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if h.Mode == 0 {
			h.Mode = 0o755
		}
		if h.ModTime.IsZero() {
			h.ModTime = time.Unix(1700000000, 123456789)
		}
		if x.plain {
			h.ModTime = h.ModTime.Truncate(time.Second)
		}
		for name, value := range x.xattrs {
			if h.PAXRecords == nil {
				h.PAXRecords = map[string]string{}
			}
			h.PAXRecords["SCHILY.xattr."+name] = value
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

// written makes a layer in a directory of its own.
func written(t testing.TB, b []byte) (dir string, r unpack.Result) {
	t.Helper()
	dir = t.TempDir()
	r, err := writeLayer(t.Context(), dir, bytes.NewReader(b), generous)
	if err != nil {
		t.Fatal(err)
	}
	return dir, r
}

// unpacked makes a directory of the same archive.
func unpacked(t testing.TB, b []byte) (dir string, r unpack.Result) {
	t.Helper()
	dir = memory(t)
	root, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	r, err = unpack.Tree(t.Context(), root, bytes.NewReader(b), generous)
	if err != nil {
		t.Fatal(err)
	}
	return dir, r
}

func random(n int, seed uint64) string {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	_, _ = r.Read(b)
	return string(b)
}

// everything is an archive with all that a file can be, and a directory of many
// entries.
func everything(t testing.TB, many int) []byte {
	old := time.Unix(-86400, 123456789)
	capability := "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	acl := "\x02\x00\x00\x00" + "\x01\x00\x07\x00\xff\xff\xff\xff" + "\x02\x00\x06\x00\x39\x30\x00\x00" + "\x04\x00\x05\x00\xff\xff\xff\xff" + "\x10\x00\x07\x00\xff\xff\xff\xff" + "\x20\x00\x05\x00\xff\xff\xff\xff"
	list := []e{
		{name: "./", kind: tar.TypeDir, mode: 0o711, uid: 5, gid: 6, mtime: old},
		{name: "d/", kind: tar.TypeDir, mode: 0o1777, mtime: old, xattrs: map[string]string{"user.d": "dir"}},
		{name: "d/f", body: "hello", mode: 0o4755, uid: 1000, gid: 1 << 31, mtime: old, xattrs: map[string]string{"user.k": "v", "trusted.overlay.redirect": "/etc"}},
		{name: "d/h", kind: tar.TypeLink, link: "d/f"},
		{name: "d/h2", kind: tar.TypeLink, link: "d/h"},
		{name: "d/cap", body: "x", uid: 7, xattrs: map[string]string{"security.capability": capability}},
		{name: "d/acl", body: "x", mode: 0o775, xattrs: map[string]string{"system.posix_acl_access": acl}},
		{name: "d/big", body: "x", xattrs: map[string]string{"user.big": strings.Repeat("v", 1500), "user.b": strings.Repeat("w", 700), "user.empty": "e"}},
		{name: "d/bigdir/", kind: tar.TypeDir, xattrs: map[string]string{"user.big": strings.Repeat("v", 777)}},
		{name: "d/bigdir/x", body: "y"},
		{name: "d/l", kind: tar.TypeSymlink, link: "/etc/shadow", uid: 3, gid: 4, mtime: old},
		{name: "d/long", kind: tar.TypeSymlink, link: strings.Repeat("l/", 1000)},
		{name: "d/longest", kind: tar.TypeSymlink, link: strings.Repeat("m", 4095)},
		{name: "d/just", kind: tar.TypeSymlink, link: strings.Repeat("n", 448)},
		{name: "d/over", kind: tar.TypeSymlink, link: strings.Repeat("n", 449)},
		{name: "null", kind: tar.TypeChar, mode: 0o666, major: 1, minor: 3, gid: 9},
		{name: "blk", kind: tar.TypeBlock, mode: 0o660, major: 4095, minor: 1<<20 - 1},
		{name: "pipe", kind: tar.TypeFifo, mode: 0o622},
		{name: "many/", kind: tar.TypeDir},
		{name: "deep/" + strings.Repeat("long/", 40) + "file", body: "deep"},
		{name: "n/" + strings.Repeat("n", 255), body: "longest name"},
		{name: "n/\xff\xfe not UTF-8 \x01", body: "bytes"},
		{name: "n/!before-dot", body: "1"}, {name: "n/-dash", body: "2"}, {name: "n/.hidden", body: "3"}, {name: "n/..two", body: "4"},
		{name: "w/.wh.gone"}, {name: "o/.wh..wh..opq"}, {name: "o/x", body: "x"},
		{name: "late", kind: tar.TypeLink, link: "comes/later"}, {name: "comes/later", body: "3"},
	}
	for i, n := range []int{0, 1, 511, 512, 513, 4095, 4096, 4097, 1<<20 + 1} {
		list = append(list, e{name: fmt.Sprintf("size/%d", n), body: random(n, uint64(i))})
	}
	for i := range many {
		list = append(list, e{name: fmt.Sprintf("many/entry-%d", i*7919%many), body: fmt.Sprint(i)})
	}
	return archive(t, list...)
}

// The kernel shows what unpacking the same archive makes.
func TestLayerAsUnpacked(t *testing.T) {
	b := everything(t, 5000)
	dir, got := written(t, b)
	plain, want := unpacked(t, b)
	implicit := map[string]bool{}
	for _, d := range want.Needs.Dirs {
		implicit[d] = true
	}
	root := mounted(t, dir+"/layer.erofs")
	same(t, seen(t, root), seen(t, plain), func(p string, l *look) {
		if implicit[p] { // made now, by one; marked, by the other
			l.mtime = unix.Timespec{}
			l.xattrs = strings.TrimSpace(strings.Replace(l.xattrs, "trusted.varve.implicit=79", "", 1))
		}
		if p == "w/gone" {
			l.mtime = unix.Timespec{}
		}
	})
	got.Needs, want.Needs = unpack.Needs{}, unpack.Needs{}
	if *got.Root != *want.Root || got.Bytes != want.Bytes || got.Inodes != want.Inodes {
		t.Errorf("result %+v %+v, unpacked %+v %+v", got, got.Root, want, want.Root)
	}
	for _, name := range []string{"d/nothing", "many/entry-5000", "n/\xff", "n/zzz", "n/ "} {
		if _, err := os.Lstat(root + "/" + name); !os.IsNotExist(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The stream lies in the file as it came, and nothing is left beside it.
func TestStreamIsKept(t *testing.T) {
	b := append(everything(t, 100), "what comes after the archive's end"...)
	dir, _ := written(t, b)
	f, err := os.Open(dir + "/layer.erofs")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(f, erofs.DataStart, int64(len(b)))); err != nil {
		t.Fatal(err)
	}
	if [32]byte(h.Sum(nil)) != sha256.Sum256(b) {
		t.Error("the stream in the file is not the stream")
	}
	if st, err := f.Stat(); err != nil || st.Size()%erofs.BlockSize != 0 {
		t.Errorf("%d bytes, %v", st.Size(), err)
	}
	if names, _ := filepath.Glob(dir + "/*"); len(names) != 2 { // the file and its sum
		t.Errorf("left beside the layer: %v", names)
	}
	again, _ := written(t, b)
	if sum(t, dir+"/layer.erofs") != sum(t, again+"/layer.erofs") {
		t.Error("the same archive gave another file")
	}
}

func TestEmptyLayers(t *testing.T) {
	for name, b := range map[string][]byte{"no bytes": nil, "no entries": archive(t), "root only": archive(t, e{name: "./", kind: tar.TypeDir, mode: 0o700, uid: 9})} {
		dir, r := written(t, b)
		all := seen(t, mounted(t, dir+"/layer.erofs"))
		want := uint32(unix.S_IFDIR | 0o755)
		if r.Root != nil {
			want = unix.S_IFDIR | 0o700
		}
		if len(all) != 1 || all[""].mode != want || r.Inodes != 0 {
			t.Errorf("%s: %+v, %+v", name, all, r)
		}
	}
}
