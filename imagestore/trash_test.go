package imagestore

import (
	"strings"
	"testing"

	"github.com/varve-cri/varve/imagestore/layer/layertest"
)

// What is mounted when it is deleted keeps its bytes.
func TestShrinkLeavesMountsAlone(t *testing.T) {
	const size = 129 << 20 // more than is freed at once
	r := newRemote(t)
	r.push("app:v1", picture{format: "gzip", layers: [][]byte{layertest.Tar(t, layertest.File("big", strings.Repeat("z", size)))}})
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
	if got := inMount(t, f, nil, "big"); len(got) != size || got[len(got)-1] != 'z' {
		t.Errorf("%d bytes are left", len(got))
	}
}
