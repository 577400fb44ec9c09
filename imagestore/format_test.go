package imagestore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/varve-cri/varve/imagestore/index"
	"github.com/varve-cri/varve/imagestore/layer"
	"github.com/varve-cri/varve/imagestore/layer/layertest"
)

// testFormat is the format of the stores that tests open; "" is the default one.
var testFormat = os.Getenv("VARVE_TEST_FORMAT")

func inFormat(format string) func(*Config) { return func(c *Config) { c.Format = format } }

// The tests in which the layers' format makes a difference pass in the format that
// is not the default, too. With VARVE_TEST_FORMAT all tests are in that format.
func TestInTheOtherFormat(t *testing.T) {
	was := testFormat
	defer func() { testFormat = was }()
	testFormat = FormatOverlay
	if open(t).Format().Name == open(t, inFormat(was)).Format().Name {
		testFormat = FormatErofs
	}
	for name, test := range map[string]func(*testing.T){
		"pull formats": TestPullFormats, "shared layers": TestPullSharesLayers, "inherit": TestPullInherits, "bad images": TestBadImages, "strange layers": TestStrangeLayers,
		"open repairs": TestOpenRepairs, "everything at once": TestEverythingAtOnce,
		"read-write layer": TestReadWriteLayer, "remove": TestRemove, "back again": TestPullBringsRemovedImageBack, "users": TestUsers,
		"volumes": TestVolumeLease, "spares": TestSpares, "base": TestBase,
	} {
		t.Run(name, test)
	}
}

// Images keep their format when the default changes, in both directions, and share
// no layer with those of the other.
func TestFormatsSideBySide(t *testing.T) {
	r := newRemote(t)
	base := tarOf(t, "base")
	r.push("old:v1", picture{layers: [][]byte{base, tarOf(t, "old")}})
	r.push("new:v1", picture{layers: [][]byte{base, tarOf(t, "new")}})
	s := open(t, inFormat(FormatOverlay))
	root := s.cfg.Root
	old := pulled(t, s, r.host()+"/old:v1")
	if err := errors.Join(s.CreateRW("c", old.ID), s.Close()); err != nil {
		t.Fatal(err)
	}
	again := func(format string) *Store {
		t.Helper()
		return open(t, inFormat(format), func(c *Config) { c.Root = root })
	}
	s = again(FormatErofs)
	young := pulled(t, s, r.host()+"/new:v1")
	r.push("old:v2", picture{layers: [][]byte{base, tarOf(t, "old")}})
	if same := pulled(t, s, r.host()+"/old:v2"); same.ID != old.ID || formatOfRow(s, old) != FormatOverlay || formatOfRow(s, young) != FormatErofs {
		t.Errorf("formats %q and %q", formatOfRow(s, old), formatOfRow(s, young))
	}
	if trees, _ := os.ReadDir(s.path("layers")); len(trees) != 4 || len(s.db.Snapshot().Layers) != 4 {
		t.Errorf("%d directories of layers, %d rows, want 4", len(trees), len(s.db.Snapshot().Layers))
	}
	for _, format := range []string{FormatOverlay, FormatErofs} {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = again(format)
		f, err := s.MountRW("c")
		if got := inMount(t, f, err, "old"); got != "old" {
			t.Errorf("%s: the container reads %q", format, got)
		}
		for _, image := range []Image{old, young} {
			f, err := s.MountImage(image.ID)
			if got := inMount(t, f, err, "base"); got != "base" {
				t.Errorf("%s: image %s reads %q", format, image.Tags, got)
			}
		}
		clean(t, s)
	}
	if err := errors.Join(s.RemoveRW("c"), s.Remove(t.Context(), old.ID)); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return len(s.db.Snapshot().Layers) == 2 })
	f, err := s.MountImage(young.ID)
	if got := inMount(t, f, err, "base"); got != "base" {
		t.Errorf("after the other's removal: %q", got)
	}
	if err := s.Remove(t.Context(), young.ID); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return len(s.db.Snapshot().Layers) == 0 })
	clean(t, s)
	if left, _ := os.ReadDir(s.path("stacks")); len(left) != 0 {
		t.Errorf("stacks holds %v", left)
	}
}

// A pull may ask for a format: for a new image alone, also when two that want
// different ones are under way at once.
func TestPullInAFormat(t *testing.T) {
	r := newRemote(t)
	s := open(t)
	other := FormatOverlay
	if s.Format().Name == other {
		other = FormatErofs
	}
	if err := s.CheckFormat(other); err != nil {
		t.Skipf("this node has one format: %v", err)
	}
	if err := s.CheckFormat("tape"); err == nil {
		t.Error("a format that is not known is accepted")
	}
	pull := func(name, format string) Image {
		image, err := s.Pull(t.Context(), r.host()+"/"+name, PullOptions{Format: format})
		if err != nil {
			t.Error(err)
		}
		return image
	}
	r.push("app:v1", picture{layers: [][]byte{tarOf(t, "app")}})
	image := pull("app:v1", other)
	if got := formatOfRow(s, image); got != other {
		t.Errorf("the image is of %s, want %s", got, other)
	}
	if again := pull("app:v1", ""); formatOfRow(s, again) != other {
		t.Errorf("pulled again it is of %s", formatOfRow(s, again))
	}
	for round := range 10 {
		name := fmt.Sprintf("race%d:v1", round)
		r.push(name, picture{layers: [][]byte{tarOf(t, name)}})
		var both sync.WaitGroup
		for _, format := range []string{FormatOverlay, FormatErofs} {
			both.Go(func() {
				image := pull(name, format)
				if err := s.CreateRW(fmt.Sprint(format, round), image.ID); err != nil {
					t.Error(err)
				}
			})
		}
		both.Wait()
		for _, format := range []string{FormatOverlay, FormatErofs} {
			f, err := s.MountRW(fmt.Sprint(format, round))
			if got := inMount(t, f, err, name); got != name {
				t.Errorf("read %q", got)
			}
		}
	}
}

func formatOfRow(s *Store, image Image) string {
	return s.db.Snapshot().Images[digest.Digest(image.ID)].Format
}

// Images with the same layers share a stack, which goes with the last of them.
func TestStacksAreShared(t *testing.T) {
	r := newRemote(t)
	layers := [][]byte{tarOf(t, "a"), tarOf(t, "b")}
	r.push("one:v1", picture{layers: layers, cmd: "1"})
	r.push("two:v1", picture{layers: layers, cmd: "2"})
	r.push("none:v1", picture{})
	s := open(t, inFormat(FormatErofs))
	one, two := pulled(t, s, r.host()+"/one:v1"), pulled(t, s, r.host()+"/two:v1")
	stacks := func() int { left, _ := os.ReadDir(s.path("stacks")); return len(left) }
	if one.ID == two.ID || stacks() != 1 {
		t.Errorf("%d stacks", stacks())
	}
	if err := s.Remove(t.Context(), one.ID); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return len(s.db.Snapshot().Images) == 1 })
	f, err := s.MountImage(two.ID)
	if got := inMount(t, f, err, "b"); got != "b" || stacks() != 1 {
		t.Errorf("%q, %d stacks", got, stacks())
	}
	if err := s.Remove(t.Context(), two.ID); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return stacks() == 0 })
	f, err = s.MountImage(pulled(t, s, r.host()+"/none:v1").ID)
	if got := inMount(t, f, err, "a"); !strings.Contains(got, "no such file") {
		t.Errorf("an image without layers holds %q", got)
	}
}

// A stack that is lost or damaged is made again by the mount that needs it.
func TestStacksAreMadeAgain(t *testing.T) {
	r := newRemote(t)
	r.push("app:v1", picture{layers: [][]byte{tarOf(t, "a"), layertest.Tar(t, layertest.File("d/b", "b"))}})
	s := open(t, inFormat(FormatErofs))
	root, image := s.cfg.Root, pulled(t, s, r.host()+"/app:v1")
	if err := s.CreateRW("c", image.ID); err != nil {
		t.Fatal(err)
	}
	for name, damage := range map[string]func(dir string) error{
		"lost":     os.RemoveAll,
		"emptied":  func(dir string) error { return errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o700)) },
		"no sum":   func(dir string) error { return os.Remove(filepath.Join(dir, "stack.json")) },
		"cut":      func(dir string) error { return os.Truncate(filepath.Join(dir, "stack.erofs"), 4096) },
		"no bytes": func(dir string) error { return os.Truncate(filepath.Join(dir, "stack.erofs"), 0) },
	} {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		stacks, err := os.ReadDir(filepath.Join(root, "stacks"))
		if err != nil || len(stacks) != 1 {
			t.Fatalf("%s: %v, %v", name, stacks, err)
		}
		if err := damage(filepath.Join(root, "stacks", stacks[0].Name())); err != nil {
			t.Fatal(err)
		}
		var told []string
		s = open(t, inFormat(FormatErofs), func(c *Config) { c.Root = root; c.Report = func(m string) { told = append(told, m) } })
		f, err := s.MountRW("c")
		if got := inMount(t, f, err, "d/b"); got != "b" {
			t.Errorf("%s: the container reads %q", name, got)
		}
		if text := strings.Join(told, "\n"); !strings.Contains(text, "is made again") {
			t.Errorf("%s: reported %q", name, text)
		}
		clean(t, s)
	}
}

// An image whose format cannot be mounted here is as if it were not there, until it
// is pulled again or the kernel has the format again.
func TestFormatThatIsGone(t *testing.T) {
	r := newRemote(t)
	r.push("app:v1", picture{layers: [][]byte{tarOf(t, "a")}})
	s := open(t, inFormat(FormatErofs))
	root, image := s.cfg.Root, pulled(t, s, r.host()+"/app:v1")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	var told []string
	s = open(t, inFormat(FormatOverlay), func(c *Config) { c.Root = root; c.Report = func(m string) { told = append(told, m) } })
	delete(s.formats.drivers, FormatErofs)
	s.view.Store(nil)
	if s.tellUnusable(); len(told) != 1 || !strings.Contains(told[0], image.ID) {
		t.Errorf("told %q", told)
	}
	if _, err := s.Get(image.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("an image that cannot be mounted: %v", err)
	}
	if err := s.CreateRW("c", image.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("a container of it: %v", err)
	}
	if again := pulled(t, s, r.host()+"/app:v1"); again.ID != image.ID || formatOfRow(s, again) != FormatOverlay {
		t.Errorf("pulled again as %q", formatOfRow(s, again))
	}
	f, err := s.MountImage(image.ID)
	if got := inMount(t, f, err, "a"); got != "a" {
		t.Errorf("a holds %q", got)
	}
	waitFor(t, func() bool { return len(s.db.Snapshot().Layers) == 1 })
}

func TestFormatIsChosen(t *testing.T) {
	if f := open(t, inFormat("")).Format(); f.Name != FormatErofs && f.Name != FormatOverlay || !strings.HasPrefix(f.Reason, "auto: ") {
		t.Errorf("%+v", f)
	}
	for _, name := range []string{FormatErofs, FormatOverlay} {
		if f := open(t, inFormat(name)).Format(); f != (Format{name, "configured"}) {
			t.Errorf("%+v", f)
		}
	}
	if _, err := Open(Config{Root: t.TempDir(), Format: "zip"}); err == nil || !strings.Contains(err.Error(), `"zip"`) {
		t.Errorf("%v", err)
	}
}

// A store of before there were formats: rows that say none, and their directories.
func TestStoreWithoutFormats(t *testing.T) {
	r := newRemote(t)
	r.push("app:v1", picture{layers: [][]byte{tarOf(t, "a")}})
	s := open(t, inFormat(FormatOverlay))
	root, image := s.cfg.Root, pulled(t, s, r.host()+"/app:v1")
	err := s.db.Update(func(c *index.Change) error {
		row := *c.Images[digest.Digest(image.ID)]
		row.Format = ""
		return c.PutImage(&row)
	})
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	s = open(t, inFormat(""), func(c *Config) { c.Root = root })
	if formatOfRow(s, image) != layer.FormatOverlay {
		t.Errorf("the row is of %q", formatOfRow(s, image))
	}
	f, err := s.MountImage(image.ID)
	if got := inMount(t, f, err, "a"); got != "a" {
		t.Errorf("a holds %q", got)
	}
	clean(t, s)
}
