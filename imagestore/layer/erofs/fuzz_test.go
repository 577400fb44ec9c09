package erofs

import (
	"bytes"
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/imagestore/layer"
	"github.com/varve-cri/varve/imagestore/layer/layertest"
	"github.com/varve-cri/varve/imagestore/layer/overlay"
	"github.com/varve-cri/varve/imagestore/unpack"
)

// FuzzAsOverlay: whatever the archive, both formats take it or both refuse it, and
// of what they take they show the same. Each is the other's model.
func FuzzAsOverlay(f *testing.F) {
	for _, c := range layertest.Corpus(f) {
		if len(c.Layers) == 1 && len(c.Layers[0]) < 24<<10 {
			f.Add(c.Layers[0])
		}
	}
	limits := unpack.Limits{Bytes: 1 << 20, Entries: 200}
	f.Fuzz(func(t *testing.T, b []byte) {
		top, dir := t.TempDir(), t.TempDir()
		d, err := overlay.New(top)
		if err != nil {
			t.Fatal(err)
		}
		stack := layer.Stack{Root: top + "/root", Layers: []string{top + "/layer"}}
		for _, made := range []string{stack.Root, stack.Layers[0]} {
			if err := os.Mkdir(made, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		r, plain := d.Write(t.Context(), stack.Layers[0], bytes.NewReader(b), limits)
		if plain == nil && !r.Needs.None() {
			_, plain = d.Inherit(t.Context(), stack.Layers[0], r.Needs, nil)
		}
		_, file := writeLayer(t.Context(), dir, bytes.NewReader(b), limits)
		if file == nil {
			file = writeStack(t.Context(), dir, []string{dir})
		}
		if errors.Is(plain, unix.ENOSPC) || errors.Is(plain, unix.E2BIG) {
			return // attributes that are too large for ext4
		}
		if (plain == nil) != (file == nil) {
			t.Fatalf("overlay: %v, erofs: %v", plain, file)
		}
		if plain != nil {
			return
		}
		m, err := d.Mount(stack)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		got := seen(t, mounted(t, dir+"/stack.erofs", dir+"/layer.erofs"))
		want := seen(t, fdPath(int(m.Fd())))
		for path, l := range got {
			if l.mtime.Sec < -1<<31 || l.mtime.Sec >= ext4Ends {
				l.mtime = want[path].mtime // as near as ext4 comes to it
				got[path] = l
			}
		}
		asOverlay(t, got, want)
	})
}

// ext4Ends is the last second that ext4 can say, in the year 2446.
const ext4Ends = 15032385535
