package imagestore

import (
	"errors"
	"os"
	"testing"

	"github.com/opencontainers/go-digest"
)

// A container leases its volumes' images with its own: they stay when they are
// removed, also over a restart, and go with the container.
func TestVolumeLease(t *testing.T) {
	s, r, image := small(t)
	r.push("data:v1", picture{layers: [][]byte{tarOf(t, "d/x")}, format: "gzip"})
	data := pulled(t, s, r.host()+"/data:v1")
	for range 2 {
		if err := s.CreateRW("c", image.ID, data.Tags[0], image.ID); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.CreateRW("c", image.ID); !errors.Is(err, ErrInUse) {
		t.Errorf("the same container without its volumes: %v", err)
	}
	if err := s.CreateRW("none", image.ID, r.host()+"/data:v2"); !errors.Is(err, ErrNotFound) || len(s.uses) != 2 {
		t.Errorf("a volume that is not there: %v, leases %v", err, s.uses)
	}
	if err := errors.Join(s.Remove(t.Context(), data.ID), s.Remove(t.Context(), image.ID)); err != nil {
		t.Fatal(err)
	}
	s = reopen(t, s)
	if left := s.List(); len(left) > 0 {
		t.Errorf("removed images are listed: %v", left)
	}
	f, err := s.MountVolume("c", data.ID, "")
	if got := inMount(t, f, err, "d/x"); got != "d/x" {
		t.Errorf("the volume reads %q", got)
	}
	f, err = s.MountVolume("c", image.ID, "")
	if got := inMount(t, f, err, "b"); got != "b" {
		t.Errorf("the container's image as its volume reads %q", got)
	}
	if of, err := s.ImageOf("c"); err != nil || of.ID != image.ID || of.Config.OS != "linux" || len(of.Tags) > 0 {
		t.Errorf("image of the container: %+v, %v", of, err)
	}
	if passwd, _, err := s.Users(image.ID); err != nil || len(passwd) == 0 {
		t.Errorf("users of a removed image: %q, %v", passwd, err)
	}
	if _, err := s.MountVolume("c", digest.FromString("x").String(), ""); !errors.Is(err, ErrNotFound) {
		t.Errorf("an image that the container does not lease: %v", err)
	}
	if _, err := s.MountVolume("d", data.ID, ""); !errors.Is(err, ErrNotFound) {
		t.Errorf("a container that is not there: %v", err)
	}
	if err := s.RemoveRW("c"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return len(s.db.Snapshot().Layers) == 0 && len(s.db.Snapshot().Images) == 0 })
	clean(t, s)
}

// A lease that lost its link is no lease; the container is dropped by name.
func TestVolumeLeaseIsChecked(t *testing.T) {
	s, _, image := small(t)
	if err := errors.Join(s.CreateRW("c", image.ID, image.ID), s.Close()); err != nil {
		t.Fatal(err)
	}
	link := s.path("rw", "c", "volume-0")
	if err := errors.Join(os.Remove(link), os.Symlink("../../etc", link)); err != nil {
		t.Fatal(err)
	}
	s = open(t, func(c *Config) { c.Root = s.cfg.Root })
	if left := s.ListRW(); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}

// A lease that only this process has: the layers go when it ends, not before.
func TestLease(t *testing.T) {
	s, _, image := small(t)
	got, release, err := s.Lease(image.Tags[0])
	if err != nil || got.ID != image.ID {
		t.Fatal(got.ID, err)
	}
	if err := s.Remove(t.Context(), image.ID); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Lease(image.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("lease of a removed image: %v", err)
	}
	s.background.Wait()
	if len(s.db.Snapshot().Layers) != 2 {
		t.Error("the layers went under the lease")
	}
	release()
	release()
	waitFor(t, func() bool { return len(s.db.Snapshot().Layers) == 0 })
	if _, _, err := s.Users(image.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("users of an image that is gone: %v", err)
	}
	clean(t, s)
}

// What the registry says under two manifests is one image; nothing of either is left
// when it goes. And while it goes the usage never rises again.
func TestTwoManifests(t *testing.T) {
	r := newRemote(t)
	s := open(t)
	layers := [][]byte{tarOf(t, "a"), tarOf(t, "b")}
	r.push("one:v1", picture{layers: layers, format: "gzip"})
	r.push("two:v1", picture{layers: layers, format: "zstd"})
	one, two := pulled(t, s, r.host()+"/one:v1"), pulled(t, s, r.host()+"/two:v1")
	if one.ID != two.ID || len(two.Tags) != 2 || len(two.Digests) != 2 {
		t.Errorf("%+v and %+v", one, two)
	}
	manifest := s.db.Snapshot().Images[digest.Digest(one.ID)].Manifest
	first := digest.Digest(one.Digests[0][len(r.host()+"/one@"):])
	if b, err := s.db.Content(first); b != nil || err != nil || manifest == first {
		t.Errorf("the first manifest is kept: %d bytes, %v", len(b), err)
	}
	if err := s.Remove(t.Context(), one.Tags[0]); err != nil || len(s.List()) > 0 {
		t.Errorf("left %+v, %v", s.List(), err)
	}
	for range 100 {
		if u, err := s.Usage(); err != nil || u.Bytes > 0 || u.Inodes > 0 {
			t.Fatalf("usage after the removal: %+v, %v", u, err)
		}
	}
	waitFor(t, func() bool { return len(s.db.Snapshot().Images) == 0 })
	for _, d := range []digest.Digest{manifest, digest.Digest(one.ID)} {
		if b, err := s.db.Content(d); b != nil || err != nil {
			t.Errorf("content of %s is left: %d bytes, %v", d, len(b), err)
		}
	}
	clean(t, s)
}
