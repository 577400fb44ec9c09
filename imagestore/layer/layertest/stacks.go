package layertest

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/imagestore/layer"
)

// list gives the names in a directory.
func (b *bench) list(dir string) string {
	b.t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		b.t.Error(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

func (b *bench) lists(root string, dirs map[string]string) {
	b.t.Helper()
	for dir, want := range dirs {
		if got := b.list(root + "/" + dir); got != want {
			b.t.Errorf("%s holds %q, want %q", dir, got, want)
		}
	}
}

// Each layer adds a file, hides the one of three layers before, and now and then
// all that there was.
func manyLayers(b *bench) {
	b.write(Dir("d", 0o755), File("d/f0", "0"), Dir("o", 0o755), File("o/f0", "0"))
	const layers = 40
	for i := 1; i < layers; i++ {
		n := strconv.Itoa(i)
		entries := []tar.Header{Dir("d", 0o755), File("d/f"+n, n), File("o/f"+n, n)}
		if i >= 3 {
			entries = append(entries, File("d/.wh.f"+strconv.Itoa(i-3), ""))
		}
		if i%10 == 5 {
			entries = append(entries, File("o/.wh..wh..opq", ""))
		}
		b.write(entries...)
	}
	root := b.mount(false)
	b.lists(root, map[string]string{"": "d o", "d": "f37 f38 f39", "o": "f35 f36 f37 f38 f39"})
	b.want(root, map[string]string{"d/f37": "37", "o/f35": "35", "o/f34": ""})
}

// One layer is in a stack twice, with one between that hides half of it.
func twice(b *bench) {
	b.write(Dir("d", 0o755), File("d/old", "old"), File("y", "y"), File("gone", "0"))
	b.write(Dir("d", 0o755), File("d/x", "x"), File("d/.wh.old", ""), File(".wh.gone", ""))
	again := b.stack[0]
	b.write(File("d/.wh.x", ""), File("d/z", "z"), File("gone", "1"))
	b.stack = append([]string{again}, b.stack...)
	root := b.mount(false)
	b.want(root, map[string]string{"d/x": "x", "y": "y", "d/z": "z", "gone": ""})
	b.lists(root, map[string]string{"": "d y", "d": "x z"})
}

// A name changes its type from layer to layer.
func typesChange(b *bench) {
	b.write(Dir("x", 0o755), File("x/in", "0"), File("y", "y0"), Dir("z", 0o755), File("z/old", "z"))
	b.write(File("x", "file"), Dir("y", 0o700), File("y/in", "1"), File(".wh.z", ""))
	root := b.mount(false)
	b.want(root, map[string]string{"x": "file", "y/in": "1", "z/old": ""})
	b.write(File(".wh.x", ""), tar.Header{Name: "y", Typeflag: tar.TypeSymlink, Linkname: "z"}, Dir("z", 0o755), File("z/new", "2"))
	root = b.mount(false)
	b.lists(root, map[string]string{"": "y z", "z": "new"})
	b.want(root, map[string]string{"z/new": "2", "y/new": "2", "y/in": "", "x": ""})
	b.write(File("x/in", "3"))
	b.lists(b.mount(false), map[string]string{"": "x y z", "x": "in"})
}

// A link keeps the content of what it was made to, in whichever layer that is.
func linksAcross(b *bench) {
	link := func(name, to string) tar.Header {
		return tar.Header{Name: name, Typeflag: tar.TypeLink, Linkname: to}
	}
	suid := File("bin/tool", "tool")
	suid.Mode, suid.Uid, suid.Gid = 0o4750, 7, 8
	b.write(Dir("bin", 0o755), suid, File("lib", "lib"))
	b.write(File("other", "other"), link("bin/alias", "bin/tool"))
	b.write(link("second", "bin/alias"), link("lib2", "lib"))
	b.write(File("lib", "new lib"), File(".wh.other", ""))
	root := b.mount(false)
	b.want(root, map[string]string{"bin/alias": "tool", "second": "tool", "bin/tool": "tool", "lib": "new lib", "lib2": "lib", "other": ""})
	for _, name := range []string{"bin/alias", "second"} {
		var st unix.Stat_t
		if err := unix.Lstat(root+"/"+name, &st); err != nil || st.Mode != unix.S_IFREG|0o4750 || st.Uid != 7 || st.Gid != 8 || st.Size != 4 {
			b.t.Errorf("%s: %+v, %v", name, st, err)
		}
	}
}

// A directory that an archive names only as a parent is the one from below, unless
// that was hidden.
func implicitDirs(b *bench) {
	d := Dir("a/b", 0o2770)
	d.Uid, d.Gid = 1000, 2000
	d.Format, d.PAXRecords = tar.FormatPAX, map[string]string{"SCHILY.xattr.user.k": "v"}
	b.write(Dir("a", 0o711), d, File("a/b/c/d", "0"), File("gone/x", "0"))
	b.write(File("a/b/e", "1"))
	b.write(File("a/b/c/f", "2"), File(".wh.gone", ""))
	b.write(File("gone/y", "3"))
	root := b.mount(false)
	b.lists(root, map[string]string{"a/b": "c e", "a/b/c": "d f", "gone": "y"})
	for name, mode := range map[string]uint32{"a": 0o711, "a/b": 0o2770, "gone": 0o755} {
		var st unix.Stat_t
		if err := unix.Stat(root+"/"+name, &st); err != nil || st.Mode&0o7777 != mode {
			b.t.Errorf("%s: mode %o, %v, want %o", name, st.Mode, err, mode)
		}
		if name == "a/b" && (st.Uid != 1000 || st.Gid != 2000) {
			b.t.Errorf("%s: owner %d:%d", name, st.Uid, st.Gid)
		}
	}
	var v [8]byte
	if n, err := unix.Getxattr(root+"/a/b", "user.k", v[:]); err != nil || string(v[:n]) != "v" {
		b.t.Errorf("user.k of a/b: %q, %v", v[:max(n, 0)], err)
	}
}

// What is no file or directory, owners beyond 16 bits, and attributes of any size.
func oddities(b *bench) {
	big := File("big", "x")
	big.Uid, big.Gid, big.Mode = 1<<31+5, 1<<30+6, 0o6755
	big.Format = tar.FormatPAX
	long := strings.Repeat("long", 900)
	capability := "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	big.PAXRecords = map[string]string{"SCHILY.xattr.user.long": long, "SCHILY.xattr.user.empty": "", "SCHILY.xattr.security.capability": capability}
	b.write(
		big,
		tar.Header{Name: "block", Typeflag: tar.TypeBlock, Devmajor: 259, Devminor: 70000, Mode: 0o600},
		tar.Header{Name: "fifo", Typeflag: tar.TypeFifo, Mode: 0o640},
		tar.Header{Name: strings.Repeat("n", 255), Typeflag: tar.TypeSymlink, Linkname: strings.Repeat("t/", 1000)},
		File("empty", ""),
	)
	b.write(File("above", "1"))
	root := b.mount(false)
	for name, want := range map[string]unix.Stat_t{
		"big":   {Mode: unix.S_IFREG | 0o6755, Uid: 1<<31 + 5, Gid: 1<<30 + 6, Size: 1},
		"block": {Mode: unix.S_IFBLK | 0o600, Rdev: unix.Mkdev(259, 70000)},
		"fifo":  {Mode: unix.S_IFIFO | 0o640},
		"empty": {Mode: unix.S_IFREG | 0o755},
	} {
		var st unix.Stat_t
		if err := unix.Lstat(root+"/"+name, &st); err != nil || st.Mode != want.Mode || st.Uid != want.Uid || st.Gid != want.Gid || st.Rdev != want.Rdev || st.Size != want.Size {
			b.t.Errorf("%s: %+v, %v", name, st, err)
		}
	}
	for key, want := range map[string]string{"user.long": long, "user.empty": "", "security.capability": capability} {
		v := make([]byte, 8192)
		if n, err := unix.Lgetxattr(root+"/big", key, v); err != nil || string(v[:n]) != want {
			b.t.Errorf("%s: %.20q, %v", key, v[:max(n, 0)], err)
		}
	}
	if l, err := os.Readlink(root + "/" + strings.Repeat("n", 255)); err != nil || len(l) != 2000 {
		b.t.Errorf("a link of %d bytes, %v", len(l), err)
	}
}

// Holes are read as zeros, and take no space.
func sparse(b *bench) {
	from := b.t.TempDir()
	script := fmt.Sprintf("cd %s && printf head > f && truncate -s 20M f && printf tail >> f && tar --sparse -cf - f", from)
	archive, err := exec.Command("sh", "-c", script).Output()
	if err != nil {
		b.t.Fatal(err)
	}
	dir := filepath.Join(b.dir, "sparse")
	if err := os.Mkdir(dir, 0o700); err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.Write(b.t.Context(), dir, bytes.NewReader(archive), generous); err != nil {
		b.t.Fatal(err)
	}
	b.stack, b.joined = []string{dir}, ""
	b.write(File("above", "1"))
	got, err := os.ReadFile(b.mount(false) + "/f")
	want := append(append([]byte("head"), make([]byte, 20<<20-4)...), "tail"...)
	if err != nil || !bytes.Equal(got, want) {
		b.t.Errorf("%d bytes, %v", len(got), err)
	}
	out, err := exec.Command("du", "-s", "-B1", dir).Output()
	if n, _ := strconv.Atoi(strings.Fields(string(out))[0]); err != nil || n > 1<<20 {
		b.t.Errorf("the layer takes %d bytes, %v", n, err)
	}
}

// Who has a stack mounted keeps it, also when it is removed and forgotten.
func removedWhileMounted(b *bench) {
	if !b.Joins() {
		return // directories that are removed are gone from below a mount
	}
	body := strings.Repeat("body", 5000)
	b.write(Dir("d", 0o755), File("d/a", body), File("d/b", body))
	b.write(File("d/c", "c"))
	root := b.mount(true)
	for _, dir := range append(slices.Clone(b.stack), b.joined) {
		if err := os.RemoveAll(dir); err != nil {
			b.t.Fatal(err)
		}
	}
	b.Drop(b.joined)
	b.want(root, map[string]string{"d/a": body, "d/b": body, "d/c": "c"})
	b.lists(root, map[string]string{"d": "a b c"})
	if err := os.WriteFile(root+"/d/a", []byte("mine"), 0o600); err != nil {
		b.t.Error(err)
	}
	b.want(root, map[string]string{"d/a": "mine", "d/b": body})
	if _, err := b.Mount(layer.Stack{Layers: b.stack, Joined: b.joined, Root: b.dir + "/root"}); !errors.Is(err, layer.ErrNotJoined) {
		b.t.Errorf("a stack that is gone: %v", err)
	}
}

// Two stacks stand on the same layer, and one goes.
func shared(b *bench) {
	b.write(File("base", "base"))
	base := slices.Clone(b.stack)
	b.write(File("own", "first"))
	first, joined := b.mount(false), b.joined
	b.stack = base
	b.write(File("own", "second"), File(".wh.base", ""))
	second := b.mount(false)
	b.want(first, map[string]string{"base": "base", "own": "first"})
	b.want(second, map[string]string{"base": "", "own": "second"})
	b.Drop(joined)
	b.want(first, map[string]string{"base": "base", "own": "first"})
	b.want(second, map[string]string{"own": "second"})
}

// What a container does to an image's files, and finds when it is mounted again.
func mixedUpper(b *bench) {
	suid := File("suid", "s")
	suid.Mode, suid.Uid = 0o4755, 3
	b.write(Dir("d", 0o755), File("d/x", "x"), File("d/y", "y"), Dir("gone", 0o755), File("gone/z", "z"), suid, File("kept", "k"))
	b.write(Dir("d", 0o755), File("d/w", "w"))
	root := b.mount(true)
	for _, err := range []error{
		os.WriteFile(root+"/d/x", []byte("changed"), 0o600),
		os.Remove(root + "/d/y"),
		os.RemoveAll(root + "/gone"),
		os.Mkdir(root+"/gone", 0o700),
		os.WriteFile(root+"/gone/new", []byte("new"), 0o600),
		os.Link(root+"/kept", root+"/link"),
		os.Rename(root+"/d/w", root+"/d/v"),
		os.Chmod(root+"/suid", 0o755|os.ModeSetuid|os.ModeSetgid),
		unix.Setxattr(root+"/suid", "user.k", []byte("v"), 0),
		unix.Mknod(root+"/null", unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))),
	} {
		if err != nil {
			b.t.Error(err)
		}
	}
	for _, root := range []string{root, b.mount(true)} {
		b.want(root, map[string]string{"d/x": "changed", "d/y": "", "gone/z": "", "gone/new": "new", "link": "k", "d/v": "w", "d/w": "", "suid": "s"})
		b.lists(root, map[string]string{"d": "v x", "gone": "new"})
		var st unix.Stat_t
		if err := unix.Lstat(root+"/suid", &st); err != nil || st.Mode&0o7777 != 0o6755 || st.Uid != 3 {
			b.t.Errorf("suid: %+v, %v", st, err)
		}
	}
	b.want(b.mount(false), map[string]string{"d/x": "x", "d/y": "y", "d/w": "w", "gone/z": "z", "kept": "k"})
}

// The same layers are always joined to the same bytes, and one wrong byte of them
// is found before anything is mounted.
func joinedIsPure(b *bench) {
	if !b.Joins() {
		return
	}
	b.write(Dir("d", 0o755), File("d/x", "x"))
	b.write(File("d/y", "y"), File("d/.wh.x", ""))
	b.want(b.mount(false), map[string]string{"d/x": "", "d/y": "y"})
	first := b.joined
	b.joined = ""
	b.join()
	entries, err := os.ReadDir(first)
	if err != nil || len(entries) == 0 {
		b.t.Fatalf("%v, %v", entries, err)
	}
	for _, e := range entries {
		path := filepath.Join(first, e.Name())
		one, err := os.ReadFile(path)
		two, err2 := os.ReadFile(filepath.Join(b.joined, e.Name()))
		if err != nil || err2 != nil || !bytes.Equal(one, two) {
			b.t.Errorf("%s: %d and %d bytes, %v, %v", e.Name(), len(one), len(two), err, err2)
		}
		damaged := slices.Clone(one)
		damaged[len(damaged)/2] ^= 4
		for name, bytes := range map[string][]byte{"damaged": damaged, "shorter": one[:len(one)/2], "empty": nil} {
			b.Drop(first)
			if err := os.WriteFile(path, bytes, 0o600); err != nil {
				b.t.Fatal(err)
			}
			_, err := b.Mount(layer.Stack{Layers: b.stack, Joined: first, Root: b.dir + "/root"})
			if !errors.Is(err, layer.ErrNotJoined) {
				b.t.Errorf("%s is %s: %v", e.Name(), name, err)
			}
		}
		if err := os.WriteFile(path, one, 0o600); err != nil {
			b.t.Fatal(err)
		}
	}
	b.joined = first
	b.want(b.mount(false), map[string]string{"d/y": "y"})
}
