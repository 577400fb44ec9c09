package index

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	bolt "go.etcd.io/bbolt"

	"github.com/varve-cri/varve/imagestore/layer"
)

func opened(t *testing.T, path string) (*Index, *[]string) {
	t.Helper()
	var told []string
	x, err := Open(path, func(m string) { told = append(told, m) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = x.Close() })
	return x, &told
}

var (
	imageID = digest.FromString("image")
	layerID = layer.Key{Chain: digest.FromString("layer"), Format: "erofs"}
)

func fillIn(c *Change) error {
	return errors.Join(
		c.PutContent(imageID, []byte(`{"architecture":"amd64","config":{"User":"me"}}`)),
		c.PutImage(&Image{ID: imageID, Layers: []digest.Digest{layerID.Chain}, Format: layerID.Format}),
		c.PutLayer(&layer.Metadata{ID: layerID.Chain, Format: layerID.Format, Tree: "x"}),
		c.PutName("h/a:b", imageID),
	)
}

func TestRowsComeBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	x, _ := opened(t, path)
	before := x.Snapshot()
	if err := x.Update(fillIn); err != nil {
		t.Fatal(err)
	}
	if len(before.Images)+len(before.Names)+len(before.Layers) != 0 {
		t.Error("a snapshot changed")
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	x, told := opened(t, path)
	s := x.Snapshot()
	if s.Images[imageID] == nil || s.Images[imageID].Config.Config.User != "me" || s.Names["h/a:b"] != imageID || s.Layers[layerID].Tree != "x" || len(*told) != 0 {
		t.Errorf("%+v, told %v", s, *told)
	}
	err := x.Update(func(c *Change) error {
		return errors.Join(c.DeleteImage(imageID), c.DeleteImage(imageID), c.DeleteName("h/a:b"), c.DeleteLayer(layerID))
	})
	if b, _ := x.Content(imageID); err != nil || b != nil || len(x.Snapshot().Images) != 0 {
		t.Errorf("%v, content %q", err, b)
	}
}

func TestErrorUndoesAll(t *testing.T) {
	x, _ := opened(t, filepath.Join(t.TempDir(), "db"))
	oops := errors.New("oops")
	err := x.Update(func(c *Change) error { return errors.Join(fillIn(c), oops) })
	if !errors.Is(err, oops) || len(x.Snapshot().Images) != 0 {
		t.Errorf("%v, %+v", err, x.Snapshot())
	}
	if b, _ := x.Content(imageID); b != nil {
		t.Error("content stayed")
	}
}

// One bad row never keeps the store from opening.
func TestBadRows(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	x, _ := opened(t, path)
	err := errors.Join(x.Update(fillIn), x.db.Update(func(tx *bolt.Tx) error {
		return errors.Join(
			tx.Bucket(imagesBucket).Put([]byte("sha256:bad"), []byte("{")),
			tx.Bucket(layersBucket).Put([]byte("sha256:bad"), []byte("null")),
			tx.Bucket(namesBucket).Put([]byte("h/x:y"), []byte("sha256:none")),
		)
	}), x.Close())
	if err != nil {
		t.Fatal(err)
	}
	x, told := opened(t, path)
	if s := x.Snapshot(); len(s.Images) != 1 || len(s.Layers) != 1 || len(s.Names) != 1 {
		t.Errorf("%+v", s)
	}
	if len(*told) != 3 || !strings.Contains(strings.Join(*told, " "), "h/x:y") {
		t.Errorf("told %q", *told)
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	if _, told = opened(t, path); len(*told) != 0 {
		t.Errorf("told again: %q", *told)
	}
}

func TestTwoStores(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	opened(t, path)
	if x, err := Open(path, nil); err == nil {
		_ = x.Close()
		t.Error("a second store opened the same database")
	}
}

// Rows from before there were formats are overlay's, and formats share no row.
func TestRowsSayTheirFormat(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	x, _ := opened(t, path)
	chain := layerID.Chain
	err := errors.Join(x.Update(fillIn), x.db.Update(func(tx *bolt.Tx) error {
		return errors.Join(
			tx.Bucket(imagesBucket).Put([]byte(imageID), []byte(`{"id":"`+imageID.String()+`","layers":["`+chain.String()+`"]}`)),
			tx.Bucket(layersBucket).Put([]byte(chain), []byte(`{"id":"`+chain.String()+`","tree":"old"}`)),
		)
	}), x.Close())
	if err != nil {
		t.Fatal(err)
	}
	x, told := opened(t, path)
	old := x.Snapshot().Images[imageID].Keys()[0]
	if s := x.Snapshot(); len(s.Layers) != 2 || s.Layers[old] == nil || s.Layers[old].Tree != "old" || s.Layers[layerID].Tree != "x" || len(*told) != 0 {
		t.Errorf("%+v, told %v", s, *told)
	}
	if err := x.Update(func(c *Change) error { return c.DeleteLayer(old) }); err != nil || len(x.Snapshot().Layers) != 1 {
		t.Errorf("%v, %+v", err, x.Snapshot())
	}
}
