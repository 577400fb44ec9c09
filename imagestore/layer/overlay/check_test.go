package overlay

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/imagestore/layer"
	"github.com/varve-cri/varve/imagestore/layer/layertest"
	"github.com/varve-cri/varve/imagestore/unpack"
)

// What is found is named, whatever it is.
func TestCheckNames(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(tree string) error
		want  string
	}{
		"a file":      {func(tree string) error { return os.WriteFile(tree+"/d/f", []byte("g"), 0) }, "/d/f has another content"},
		"lost":        {func(tree string) error { return os.Remove(tree + "/d/f") }, "/d/f is missing"},
		"lost last":   {func(tree string) error { return os.RemoveAll(tree + "/z") }, "/z is missing"},
		"more":        {func(tree string) error { return os.WriteFile(tree+"/d/e", nil, 0o600) }, "/d/e was not there"},
		"more at end": {func(tree string) error { return os.WriteFile(tree+"/z/zz", nil, 0o600) }, "/z/zz was not there"},
		"mode":        {func(tree string) error { return os.Chmod(tree+"/d", 0o700) }, "/d has mode 40700, not 40755"},
		"owner":       {func(tree string) error { return os.Lchown(tree+"/l", 1, 2) }, "/l belongs to 1:2, not 0:0"},
		"link":        {func(tree string) error { return errors.Join(os.Remove(tree+"/l"), os.Symlink("b", tree+"/l")) }, "/l has another content"},
		"xattr":       {func(tree string) error { return unix.Setxattr(tree+"/d", opaque, []byte("y"), 0) }, "/d has other extended attributes"},
		"root":        {func(tree string) error { return os.Chmod(tree, 0o700) }, "/ has mode"},
		"no tree":     {os.RemoveAll, "no such file"},
		"no list":     {func(tree string) error { return os.Truncate(tree+"/../sums", 0) }, "the list of its checksums"},
		"half a list": {func(tree string) error { return os.Truncate(tree+"/../sums", 100) }, "the list of its checksums"},
	} {
		t.Run(name, func(t *testing.T) {
			d, dir := written(t)
			if err := c.spoil(dir + "/tree"); err != nil {
				t.Fatal(err)
			}
			err := d.Check(dir, nil, func(int) error { return nil })
			if !errors.Is(err, layer.ErrDamaged) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

const opaque = "trusted.overlay.opaque"

func written(t *testing.T) (*Driver, string) {
	t.Helper()
	d, err := New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	link := layertest.File("l", "")
	link.Typeflag, link.Linkname = '2', "a"
	archive := layertest.Tar(t, layertest.Dir("./", 0o755), layertest.Dir("d", 0o755), layertest.File("d/f", "f"), link, layertest.Dir("z", 0o755))
	dir := t.TempDir()
	if _, err := d.Write(t.Context(), dir, bytes.NewReader(archive), unpack.Limits{Bytes: 1 << 20, Entries: 100}); err != nil {
		t.Fatal(err)
	}
	return d, dir
}

// A layer of a time without checksums is not called damaged.
func TestCheckWithoutSums(t *testing.T) {
	d, dir := written(t)
	if err := os.Remove(dir + "/sums"); err != nil {
		t.Fatal(err)
	}
	if err := d.Check(dir, nil, func(int) error { return nil }); !errors.Is(err, layer.ErrNoSums) || errors.Is(err, layer.ErrDamaged) {
		t.Error(err)
	}
}

// The list may be damaged in any way: it ends, and at its good end or with an error.
func FuzzSums(f *testing.F) {
	f.Add([]byte("40755 0 0 0 0 0 0 \"\"\nend 1 0\n"))
	f.Add([]byte("100644 1 2 3 ff 0 0 \"a\"\n100644 1 2 3 ff 0 1 \"b\"\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := newSumsReader(bytes.NewReader(b))
		lines := 0
		for err := error(nil); err == nil; lines++ {
			_, err = r.next()
		}
		if most := bytes.Count(b, []byte("\n")) + 2; lines > most {
			t.Errorf("%d nodes of %d lines", lines, most)
		}
	})
}
