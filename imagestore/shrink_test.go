package imagestore

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/varve-cri/varve/imagestore/layer/layertest"
)

// Big files are made small before they go, but not under the eyes of who has them.
func TestShrink(t *testing.T) {
	dir := t.TempDir()
	for name, size := range map[string]int64{"big": 5*shrinkStep + 7, "open": 3 * shrinkStep, "small": 100} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(filepath.Join(dir, name), size); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Open(filepath.Join(dir, "open"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	shrink(dir)
	shrink(filepath.Join(dir, "big"))
	shrink(filepath.Join(dir, "none"))
	for name, most := range map[string]int64{"big": shrinkStep, "small": 100, "open": 3 * shrinkStep} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Size() > most || name != "big" && info.Size() != most {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
}

// What is mounted when it is deleted keeps its bytes.
func TestShrinkLeavesMountsAlone(t *testing.T) {
	r := newRemote(t)
	r.push("app:v1", picture{format: "gzip", layers: [][]byte{layertest.Tar(t, layertest.File("big", strings.Repeat("z", shrinkFrom+1<<20)))}})
	s := open(t, inFormat(FormatErofs))
	image := pulled(t, s, r.host()+"/app:v1")
	f, err := s.MountImage(image.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := s.Remove(t.Context(), image.ID); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return len(s.db.Snapshot().Layers) == 0 })
	clean(t, s)
	if got := inMount(t, f, nil, "big"); len(got) != shrinkFrom+1<<20 || got[len(got)-1] != 'z' {
		t.Errorf("%d bytes are left", len(got))
	}
}
