package imagestore

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/runtime/idmap"
)

// mappedTo gives the owners of a user namespace that begins at this id.
func mappedTo(t testing.TB, first uint32) *Owners {
	t.Helper()
	ns, err := idmap.Namespace([]idmap.Range{{Outside: first, Length: 65536}}, []idmap.Range{{Outside: first + 1000, Length: 65536}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	return &Owners{Namespace: ns, UID: first, GID: first + 1000}
}

// shownAs compares the owner of a file in a mount.
func shownAs(t testing.TB, root *os.File, file string, uid, gid uint32) {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Fstatat(int(root.Fd()), file, &st, 0); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	if st.Uid != uid || st.Gid != gid {
		t.Errorf("%s belongs to %d:%d, want %d:%d", file, st.Uid, st.Gid, uid, gid)
	}
}

// Two containers of one image at the same time, with different owners, and a
// third without: each sees the image's files as its own, what is copied up and
// made has the ids of the image on the disk, and none sees the others' files.
func TestOwners(t *testing.T) {
	eachFormat(t, func(t *testing.T, format string) {
		s, _, image := small(t, inFormat(format), withSpares(1))
		for id, first := range map[string]uint32{"a": 100000, "b": 300000} {
			if err := s.CreateRW(id, image.ID); err != nil {
				t.Fatal(err)
			}
			as := mappedTo(t, first)
			root, err := s.MountRWAs(id, as, "")
			if err != nil {
				t.Fatal(err)
			}
			defer root.Close()
			shownAs(t, root, ".", first+5, first+1000)
			shownAs(t, root, "a", first, first+1000)
			shownAs(t, root, "etc/passwd", first, first+1000)
			err = idmap.As(first+7, first+1008, func() error {
				at := int(root.Fd())
				made, err := unix.Openat(at, "etc/made", unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY, 0o600)
				_ = unix.Close(made)
				return errors.Join(err, unix.Fchownat(at, "a", int(first+1), int(first+1002), 0), unix.Unlinkat(at, "b", 0),
					unix.Renameat(at, "g", at, "etc/g"))
			})
			if err != nil {
				t.Fatal(err)
			}
			shownAs(t, root, "a", first+1, first+1002)
			for file, want := range map[string][2]uint32{"a": {1, 2}, "etc/made": {7, 8}, "etc/g": {0, 0}} {
				info, err := os.Stat(filepath.Join(s.path("rw", id, upperName), file))
				if err != nil {
					t.Fatal(err)
				}
				if st, ok := info.Sys().(*syscall.Stat_t); !ok || st.Uid != want[0] || st.Gid != want[1] {
					t.Errorf("%s: on the disk %d:%d, want %v", file, st.Uid, st.Gid, want)
				}
			}
			volume, err := s.MountVolumeAs(id, Volume{Image: image.ID, SubPath: "etc", Owners: as})
			if err != nil {
				t.Fatal(err)
			}
			defer volume.Close()
			shownAs(t, volume, "passwd", first, first+1000)
		}
		if err := s.CreateRW("plain", image.ID); err != nil {
			t.Fatal(err)
		}
		root, err := s.MountRW("plain")
		if err != nil {
			t.Fatal(err)
		}
		shownAs(t, root, "a", 0, 0)
		if got := inMount(t, root, nil, "b"); got != "b" {
			t.Errorf("reads %q", got)
		}
		for _, id := range s.ListRW() {
			if err := s.RemoveRW(id); err != nil {
				t.Error(err)
			}
		}
	})
}

// The mount of a spare that a container with other owners got is not left.
func TestOwnersOfASpare(t *testing.T) {
	s, _, image := small(t, withSpares(1))
	if err := s.CreateRW("first", image.ID); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return s.spares.waiting(image.ID) == 1 })
	if err := s.CreateRW("second", image.ID); err != nil {
		t.Fatal(err)
	}
	root, err := s.MountRWAs("second", mappedTo(t, 100000), "")
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	shownAs(t, root, "b", 100000, 101000)
	if _, ok := s.spares.mounted.Load("second"); ok {
		t.Error("the spare's root is still there")
	}
	waitFor(t, func() bool { return s.spares.waiting(image.ID) == 1 })
	if err := s.CreateBareRW("third", image.ID); err != nil {
		t.Fatal(err)
	}
	bare, err := s.MountRWAs("third", mappedTo(t, 300000), "")
	if err != nil {
		t.Fatal(err)
	}
	defer bare.Close()
	shownAs(t, bare, "b", 300000, 301000)
	if n := s.spares.waiting(image.ID); n != 1 {
		t.Errorf("%d spares wait", n)
	}
}

func TestTryOwners(t *testing.T) {
	s := open(t)
	if err := s.TryOwners(mappedTo(t, 100000)); err != nil {
		t.Error(err)
	}
	ns, err := os.Open("/proc/self/ns/user")
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	if err := s.TryOwners(&Owners{Namespace: ns}); err == nil {
		t.Error("the host's own user namespace was taken")
	}
	if left, err := filepath.Glob(s.path("tmp", "probe-owners*")); len(left) > 0 || err != nil {
		t.Errorf("left: %v, %v", left, err)
	}
}

// What a root with other owners costs beside one without.
func BenchmarkMountRWAs(b *testing.B) {
	s, _, image := small(b)
	as := mappedTo(b, 100000)
	for name, owners := range map[string]*Owners{"disk": nil, "mapped": as} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				if err := s.CreateRW("x", image.ID); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				root, err := s.MountRWAs("x", owners, "")
				b.StopTimer()
				if err != nil {
					b.Fatal(err)
				}
				root.Close()
				if err := s.RemoveRW("x"); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
}
