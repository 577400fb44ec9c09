package imagestore

import (
	"archive/tar"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/varve-cri/varve/imagestore/layer/layertest"
)

// Sub paths are resolved inside the image, whatever its links say, in both ways to
// a mount of a part.
func TestSubPaths(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "outside")
	if err := errors.Join(os.Mkdir(outside, 0o755), os.WriteFile(outside+"/file", []byte("host"), 0o644)); err != nil {
		t.Fatal(err)
	}
	link := func(name, to string) tar.Header {
		return tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: to}
	}
	r := newRemote(t)
	r.push("app:v1", picture{format: "gzip", layers: [][]byte{
		layertest.Tar(t, layertest.Dir("./", 0o755), layertest.Dir("d", 0o755), layertest.Dir("d/e", 0o755), layertest.File("d/e/file", "deep"), layertest.File("file", "top")),
		layertest.Tar(t, layertest.File("d/e/upper", "upper"), link("abs", "/d"), link("up", "../../../../d/e"), link("out", outside), link("climb", strings.Repeat("../", 20)+outside[1:]),
			link("self", "/proc/self/root"), link("loop", "loop"), link("tofile", "d/e/file"), tar.Header{Name: "fifo", Typeflag: tar.TypeFifo}),
	}})
	s := open(t)
	image := pulled(t, s, r.host()+"/app:v1")
	if err := s.CreateRW("c", image.ID); err != nil {
		t.Fatal(err)
	}
	ways := map[string]func(root *os.File, path string) (*os.File, error){"detached": subMount, "attached": subMountAttached}
	for name, way := range ways {
		for sub, want := range map[string]string{"d": "e/file=deep", "d/e": "upper=upper", "/d/e": "file=deep", "abs/e": "file=deep", "up": "upper=upper", ".": "file=top", "../../d": "e/file=deep"} {
			path, body, _ := strings.Cut(want, "=")
			root, err := s.MountImage(image.ID)
			if err != nil {
				t.Fatal(err)
			}
			f, err := way(root, sub)
			root.Close()
			if got := inMount(t, f, err, path); got != body {
				t.Errorf("%s: %s of %s holds %q", name, path, sub, got)
			}
		}
	}
	for _, sub := range []string{"none", "d/none", "file/x", "out", "out/file", "climb", "climb/file", "self/etc", "loop", "fifo", strings.Repeat("x", 300)} {
		if f, err := s.MountVolume("c", image.ID, sub); !errors.Is(err, ErrSubPath) {
			t.Errorf("%.20s: %v, %v", sub, f, err)
		}
	}
	for _, sub := range []string{"file", "tofile"} {
		f, err := s.MountVolume("c", image.ID, sub)
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
		if err != nil || string(b) == "" {
			t.Errorf("a file as a mount: %q, %v", b, err)
		}
		if w, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), os.O_WRONLY, 0); err == nil {
			w.Close()
			t.Error("an image's file can be written")
		}
		f.Close()
	}
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || strings.Contains(string(table), s.cfg.Root) {
		t.Errorf("the mount table knows it: %v", err)
	}
}
