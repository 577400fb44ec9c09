package imagestore

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/imagestore/layer/layertest"
)

// small gives a store with one pulled image.
func small(t testing.TB, change ...func(*Config)) (*Store, *remote, Image) {
	t.Helper()
	r := newRemote(t)
	root := layertest.Dir("./", 0o751)
	root.Uid = 5
	r.push("app:v1", picture{format: "gzip", layers: [][]byte{
		layertest.Tar(t, root, layertest.File("a", "a"), layertest.Dir("etc", 0o755), layertest.File("etc/passwd", "root:x:0:0::/:"), tar.Header{Name: "etc/group", Typeflag: tar.TypeSymlink, Linkname: "/g"}, layertest.File("g", "root:x:0:")),
		layertest.Tar(t, layertest.File("b", "b")),
	}})
	s := open(t, change...)
	return s, r, pulled(t, s, r.host()+"/app:v1")
}

func TestReadWriteLayer(t *testing.T) {
	s, _, image := small(t)
	for range 2 {
		if err := s.CreateRW("c1", image.ID); err != nil {
			t.Fatal(err)
		}
	}
	f, err := s.MountRW("c1")
	if err != nil {
		t.Fatal(err)
	}
	root := fmt.Sprintf("/proc/self/fd/%d/", f.Fd())
	if err := os.WriteFile(root+"new", make([]byte, 10000), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Link(root+"new", root+"new2"), os.Symlink("/", root+"l"), os.MkdirAll(root+"d/d", 0o755)); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(root + "a"); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(root, &st); err != nil || st.Mode&0o7777 != 0o751 || st.Uid != 5 {
		t.Errorf("root of the container: %o of %d, %v", st.Mode, st.Uid, err)
	}
	bytes, inodes, err := s.UsageRW("c1")
	if err != nil || bytes < 10000 || bytes > 100000 || inodes != 5 {
		t.Errorf("usage: %d bytes, %d inodes, %v", bytes, inodes, err)
	}
	f.Close()
	f, err = s.MountImage(image.ID)
	if got := inMount(t, f, err, "a"); got != "a" {
		t.Errorf("the image changed: %q", got)
	}
	f, err = s.MountImage(image.ID)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Fstat(int(f.Fd()), &st); err != nil || st.Mode&0o7777 != 0o751 || st.Uid != 5 {
		t.Errorf("root of the image: %o of %d, %v", st.Mode, st.Uid, err)
	}
	f.Close()
	if got := s.ListRW(); len(got) != 1 || got[0] != "c1" {
		t.Errorf("ListRW: %v", got)
	}
	for range 2 {
		if err := s.RemoveRW("c1"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.MountRW("c1"); !errors.Is(err, ErrNotFound) {
		t.Errorf("mount of a removed layer: %v", err)
	}
	if left, _ := os.ReadDir(s.path("rw")); len(left) != 0 {
		t.Errorf("left %v", left)
	}
	clean(t, s)
}

func TestCreateRWRefuses(t *testing.T) {
	s, r, image := small(t)
	for _, id := range []string{"", "..", "a/b", ".hidden", strings.Repeat("x", 129), "a\x00"} {
		if err := s.CreateRW(id, image.ID); err == nil {
			t.Errorf("id %q was taken", id)
		}
		if err := s.RemoveRW(id); err != nil {
			t.Errorf("RemoveRW(%q): %v", id, err)
		}
	}
	if err := s.CreateRW("c", "sha256:"+strings.Repeat("0", 64)); !errors.Is(err, ErrNotFound) {
		t.Errorf("unknown image: %v", err)
	}
	r.push("other:v1", picture{layers: [][]byte{tarOf(t, "x")}})
	other := pulled(t, s, r.host()+"/other:v1")
	if err := errors.Join(s.CreateRW("c", image.ID), os.WriteFile(s.path("rw", "d"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := s.CreateRW("c", other.ID); !errors.Is(err, ErrInUse) {
		t.Errorf("another image's id: %v", err)
	}
	if err := s.CreateRW("d", other.ID); err == nil {
		t.Error("a directory that cannot be made gave no error")
	}
	if got := s.ListRW(); len(got) != 1 {
		t.Errorf("the failed layer kept its lease: %v", got)
	}
}

func TestRemove(t *testing.T) {
	s, r, image := small(t)
	r.push("again:v2", picture{layers: [][]byte{tarOf(t, "x")}, format: "gzip"})
	second := pulled(t, s, r.host()+"/again:v2")
	if err := s.CreateRW("c", image.ID); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(t.Context(), r.host()+"/app:v1"); err != nil {
		t.Fatal(err)
	}
	before, _ := s.Usage()
	for _, ref := range append(append(image.Tags, image.Digests...), image.ID) {
		if _, err := s.Get(ref); !errors.Is(err, ErrNotFound) {
			t.Errorf("Get(%q) after the removal: %v", ref, err)
		}
		if err := s.Remove(t.Context(), ref); err != nil {
			t.Errorf("second Remove(%q): %v", ref, err)
		}
	}
	if list := s.List(); len(list) != 1 || list[0].ID != second.ID || before.Bytes > second.Size {
		t.Errorf("left %+v, usage %+v", list, before)
	}
	if err := s.CreateRW("late", image.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("a container on a removed image: %v", err)
	}
	// The container goes on with its image, also over a restart.
	s = reopen(t, s)
	f, err := s.MountRW("c")
	if got := inMount(t, f, err, "b"); got != "b" {
		t.Errorf("the container lost its image: %q", got)
	}
	if err := s.RemoveRW("c"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return len(s.db.Snapshot().Layers) == 1 && len(s.db.Snapshot().Images) == 1 })
	clean(t, s)
	// All names of an id go with any of them (CRI 0.36).
	r.push("other:v9", picture{layers: [][]byte{tarOf(t, "x")}, format: "gzip"})
	same := pulled(t, s, r.host()+"/other:v9")
	if same.ID != second.ID || len(same.Tags) != 2 {
		t.Errorf("one image with two names: %+v", same)
	}
	if err := s.Remove(t.Context(), r.host()+"/other:v9"); err != nil || len(s.List()) != 0 {
		t.Errorf("left %+v, %v", s.List(), err)
	}
	waitFor(t, func() bool { return len(s.db.Snapshot().Layers) == 0 })
	clean(t, s)
}

// An image that is pulled again while it waits for its last container lives on.
func TestPullBringsRemovedImageBack(t *testing.T) {
	s, r, image := small(t)
	if err := errors.Join(s.CreateRW("c", image.ID), s.Remove(t.Context(), image.ID)); err != nil {
		t.Fatal(err)
	}
	blobs := r.count("/blobs/")
	back := pulled(t, s, r.host()+"/app:v1")
	if r.count("/blobs/") != blobs+1 { // the config
		t.Errorf("%d blobs were fetched again", r.count("/blobs/")-blobs)
	}
	if err := errors.Join(s.RemoveRW("c"), s.CreateRW("d", back.ID)); err != nil {
		t.Fatal(err)
	}
	s.background.Wait()
	if _, err := s.Get(image.ID); err != nil {
		t.Error(err)
	}
	clean(t, s)
}

func reopen(t testing.TB, s *Store) *Store {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return open(t, func(c *Config) { c.Root = s.cfg.Root })
}

func TestUsers(t *testing.T) {
	s, r, image := small(t)
	for range 2 {
		passwd, group, err := s.Users(image.ID)
		if err != nil || string(passwd) != "root:x:0:0::/:" || string(group) != "root:x:0:" {
			t.Errorf("%q %q %v", passwd, group, err)
		}
	}
	secret := filepath.Join(t.TempDir(), "passwd")
	if err := os.WriteFile(secret, []byte("host"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		entry tar.Header
		bad   bool
	}{
		"none":     {layertest.File("x", "x"), false},
		"link-out": {tar.Header{Name: "etc/passwd", Typeflag: tar.TypeSymlink, Linkname: secret}, false},
		"fifo":     {tar.Header{Name: "etc/passwd", Typeflag: tar.TypeFifo}, true},
		"huge":     {layertest.File("etc/passwd", string(bytes.Repeat([]byte("x"), maxAccountBytes+1))), true},
		"proc":     {tar.Header{Name: "etc/passwd", Typeflag: tar.TypeSymlink, Linkname: "/proc/self/status"}, false},
	} {
		r.push("users:"+name, picture{layers: [][]byte{layertest.Tar(t, c.entry)}, format: "gzip"})
		image := pulled(t, s, r.host()+"/users:"+name)
		passwd, group, err := s.Users(image.ID)
		if (err != nil) != c.bad || len(passwd) > 0 || len(group) > 0 {
			t.Errorf("%s: %.20q %q %v", name, passwd, group, err)
		}
	}
}
