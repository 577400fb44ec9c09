package imagestore

import (
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-cri/varve/imagestore/layer/layertest"
)

// measured tells whether all layers have been weighed.
func measured(s *Store) bool {
	for _, l := range s.Layers() {
		if !l.Measured {
			return false
		}
	}
	return true
}

// What images take is what the file system says, also after a restart, and it drops
// in the moment of the removal.
func TestUsageIsReal(t *testing.T) {
	for _, format := range raceFormats {
		t.Run(format, func(t *testing.T) {
			r := newRemote(t)
			base := layertest.Tar(t, layertest.Dir("./", 0o755), layertest.File("big", strings.Repeat("x", 300_000)), layertest.File("small", "x"))
			many := layertest.Tar(t, layertest.Dir("d", 0o755))
			for i := range 100 {
				many = append(many[:len(many)-1024], layertest.Tar(t, layertest.File(fmt.Sprint("d/", i), "x"))...)
			}
			r.push("one:v1", picture{format: "gzip", layers: [][]byte{base, many}})
			r.push("two:v1", picture{format: "gzip", layers: [][]byte{base, tarOf(t, "y")}})
			s := open(t, func(c *Config) { c.Format = format })
			one, two := pulled(t, s, r.host()+"/one:v1"), pulled(t, s, r.host()+"/two:v1")
			check := func(s *Store) {
				t.Helper()
				waitFor(t, func() bool { return measured(s) })
				clean(t, s) // rows go before what they name
				var disk usage
				for _, dir := range []string{"layers", "stacks"} {
					u, err := usageOf(s.path(dir), math.MaxUint64)
					if err != nil {
						t.Fatal(err)
					}
					disk.bytes, disk.inodes = disk.bytes+u.bytes, disk.inodes+u.inodes
				}
				// Stacks and a layer's own metadata are counted by their length.
				u, err := s.Usage()
				if err != nil || u.Inodes != disk.inodes || math.Abs(float64(u.Bytes)-float64(disk.bytes)) > 0.05*float64(disk.bytes)+4096*8 {
					t.Errorf("usage %+v, on the disk %+v, %v", u, disk, err)
				}
			}
			check(s)
			one, _ = s.Get(one.ID)
			two, _ = s.Get(two.ID)
			if one.Shared < 300_000 || one.Shared != two.Shared || one.Unique() == 0 || one.Unique() >= one.Size {
				t.Errorf("shared %d of %d and %d of %d", one.Shared, one.Size, two.Shared, two.Size)
			}
			layers := s.LayersOf(&one)
			if len(layers) != 2 || len(layers[0].Images) != 2 || len(layers[1].Images) != 1 || layers[0].ID.String() != one.Layers[0] {
				t.Errorf("layers %+v", layers)
			}
			s = reopen(t, s)
			check(s)
			before, _ := s.Usage()
			if err := s.Remove(t.Context(), one.ID); err != nil {
				t.Fatal(err)
			}
			after, _ := s.Usage()
			if freed := before.Bytes - after.Bytes; freed > one.Unique() || freed+8192 < one.Unique() {
				t.Errorf("%d bytes were freed at once, unique were %d", freed, one.Unique())
			}
			waitFor(t, func() bool { return len(s.db.Snapshot().Images) == 1 })
			if left, err := s.Get(two.ID); err != nil || left.Shared != 0 || left.Unique() != left.Size {
				t.Errorf("the other image: %+v, %v", left, err)
			}
			check(s)
		})
	}
}

// Containers are weighed in the background, and weigh nothing when they are gone.
func TestContainersUsage(t *testing.T) {
	s, _, image := small(t)
	if u := s.ContainersUsage(); u.Bytes != 0 || u.Inodes != 0 || u.Mountpoint != s.cfg.Root {
		t.Errorf("without containers: %+v", u)
	}
	if err := errors.Join(s.CreateRW("a", image.ID), s.CreateRW("b", image.ID)); err != nil {
		t.Fatal(err)
	}
	f, err := s.MountRW("a")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(fmt.Sprintf("/proc/self/fd/%d/new", f.Fd()), make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	f.Close()
	waitFor(t, func() bool { u := s.ContainersUsage(); return u.Bytes >= 1<<20 && u.Inodes == 1 })
	if err := s.RemoveRW("a"); err != nil {
		t.Fatal(err)
	}
	if u := s.ContainersUsage(); u.Bytes != 0 || u.Inodes != 0 {
		t.Errorf("after the removal: %+v", u)
	}
	s.background.Wait()
}

// Annotations are told, and not when they are made to eat memory.
func TestAnnotations(t *testing.T) {
	r := newRemote(t)
	s := open(t)
	for name, c := range map[string]struct{ value, want string }{"short": {"v", "v"}, "long": {strings.Repeat("x", 5000), ""}} {
		r.push("app:"+name, picture{cmd: name, layers: [][]byte{tarOf(t, "a")}, edit: func(m *ocispec.Manifest, _ *ocispec.Image) {
			m.Annotations = map[string]string{"org.example.key": c.value}
		}})
		image := pulled(t, s, r.host()+"/app:"+name)
		if got := image.Annotations["org.example.key"]; got != c.want {
			t.Errorf("%s: %.10q", name, got)
		}
	}
	for _, image := range reopen(t, s).List() {
		if image.Config.Config.Cmd[0] == "short" && image.Annotations["org.example.key"] != "v" {
			t.Errorf("after a restart: %v", image.Annotations)
		}
	}
}
