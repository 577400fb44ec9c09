package layertest

import (
	"archive/tar"
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/varve-cri/varve/imagestore/layer"
)

func atOnce(int) error { return nil }

// checked makes two layers with all kinds of entries, some of which replace others,
// and gives the directories, lowest first, with what Check needs to know of them.
func checked(b *bench) (dirs []string, metas []*layer.Metadata) {
	named := File("named", "n")
	named.Format, named.PAXRecords = tar.FormatPAX, map[string]string{"SCHILY.xattr.user.k": "v"}
	owned := Dir("owned", 0o700)
	owned.Uid = 1000
	layers := [][]tar.Header{{
		Dir("./", 0o755), named, owned, Dir("d", 0o755), Dir("d/e", 0o755), File("d/e/f", "f"), File("d.e", "a name between d and d/e"),
		File("big", strings.Repeat("0123456789", 60_000)), File("empty", ""), File("twice", "1"), File("twice", "the last one counts"),
		Dir("gone", 0o755), File("gone/x", "x"), File("gone", "a file now"),
		{Name: "hard", Typeflag: tar.TypeLink, Linkname: "big"}, {Name: "late", Typeflag: tar.TypeLink, Linkname: "later"}, File("later", "l"),
		{Name: "soft", Typeflag: tar.TypeSymlink, Linkname: "/anywhere"}, {Name: "null", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3},
		{Name: "pipe", Typeflag: tar.TypeFifo},
	}, {
		File("owned/below", "b"), {Name: "hard2", Typeflag: tar.TypeLink, Linkname: "big"}, File(".wh.named", ""), File("d/.wh..wh..opq", ""),
		File(".wh.d.e", ""), File("d.e/over/a/whiteout", "w"), File("line\nbreak \xff", "odd"),
	}}
	for i, entries := range layers {
		b.write(entries...)
		dirs = append(dirs, b.stack[0])
		archive := Tar(b.t, entries...)
		metas = append(metas, &layer.Metadata{Diff: digest.FromBytes(archive), TarSize: int64(len(archive)), Format: b.Name()})
		if err := b.Check(dirs[i], metas[i], atOnce); err != nil {
			b.t.Fatal(err)
		}
	}
	return dirs, metas
}

// check: every part of what was written is looked at, and nothing that was not.
func check(b *bench) {
	dirs, metas := checked(b)
	// A mount and its use change nothing.
	b.want(b.mount(true), map[string]string{"hard2": strings.Repeat("0123456789", 60_000), "d/e/f": ""})
	for i, dir := range dirs {
		damaged := func(what string) {
			b.t.Helper()
			if err := b.Check(dir, metas[i], atOnce); !errors.Is(err, layer.ErrDamaged) {
				b.t.Errorf("layer %d, %s: %v", i, what, err)
			}
		}
		for _, file := range files(b, dir) {
			if filepath.Base(file) == "layer.json" {
				continue
			}
			content, err := os.ReadFile(file)
			if err != nil {
				b.t.Fatal(err)
			}
			for _, at := range []int{0, len(content) / 2, len(content) - 1} {
				if len(content) > 0 {
					flip(b, file, content, at)
					damaged("a bit of " + file)
				}
			}
			for name, change := range map[string]func() error{
				"longer":  func() error { return os.WriteFile(file, append(bytes.Clone(content), 0), 0o600) },
				"shorter": func() error { return os.Truncate(file, int64(len(content)/2)) },
			} {
				if err := change(); err != nil {
					b.t.Fatal(err)
				}
				if len(content) > 0 || name == "longer" {
					damaged(name + " " + file)
				}
				restore(b, file, content)
			}
		}
		if err := b.Check(dir, metas[i], atOnce); err != nil {
			b.t.Errorf("after all was put back: %v", err)
		}
		stop := errors.New("stop")
		if err := b.Check(dir, metas[i], func(int) error { return stop }); !errors.Is(err, stop) || errors.Is(err, layer.ErrDamaged) {
			b.t.Errorf("a check that is ended: %v", err)
		}
		if err := os.RemoveAll(dir); err != nil {
			b.t.Fatal(err)
		}
		damaged("all is gone")
	}
}

// files lists the regular files of a layer.
func files(b *bench, dir string) (paths []string) {
	b.t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil || len(paths) < 2 {
		b.t.Fatalf("%s holds %v, %v", dir, paths, err)
	}
	return paths
}

// flip changes a bit of a file.
func flip(b *bench, file string, content []byte, at int) {
	b.t.Helper()
	changed := bytes.Clone(content)
	changed[at] ^= 0x10
	restore(b, file, changed)
}

// restore writes a file in place, so that its attributes stay.
func restore(b *bench, file string, content []byte) {
	b.t.Helper()
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		b.t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(content); err != nil {
		b.t.Fatal(err)
	}
}
