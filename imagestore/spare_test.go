package imagestore

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

func withSpares(n int) func(*Config) { return func(c *Config) { c.Spares = n } }

// waiting gives the number of spares of an image.
func (p *spares) waiting(image string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if set := p.images[digest.Digest(image)]; set != nil {
		return len(set.ready)
	}
	return 0
}

// A container that gets a spare has what any other has, and nothing of it is
// left in the end.
func TestSpares(t *testing.T) {
	s, _, image := small(t, withSpares(2))
	for i := range 6 {
		id := "c" + string(rune('0'+i))
		if err := s.CreateRW(id, image.ID); err != nil {
			t.Fatal(err)
		}
		waitFor(t, func() bool { return s.spares.waiting(image.ID) == 2 })
		root, err := s.MountRW(id)
		if got := inMount(t, root, err, "b"); got != "b" {
			t.Errorf("%s reads %q", id, got)
		}
		if got, err := os.Readlink(s.path("rw", id, leaseName)); got != image.ID {
			t.Errorf("%s: lease %q, %v", id, got, err)
		}
	}
	if err := s.CreateRW("never", image.ID); err != nil { // its root stays with the store
		t.Fatal(err)
	}
	for _, id := range s.ListRW() {
		if err := s.RemoveRW(id); err != nil {
			t.Error(err)
		}
	}
	if err := s.Remove(t.Context(), image.ID); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return len(s.db.Snapshot().Layers) == 0 })
	if n := s.spares.waiting(image.ID); n != 0 {
		t.Errorf("%d spares of an image that is gone", n)
	}
	// One may still be in the making.
	waitFor(t, func() bool { left, err := os.ReadDir(s.path(spareDir)); return err == nil && len(left) == 0 })
	clean(t, s)
}

// What is written in one container is not seen in the next.
func TestSparesAreFresh(t *testing.T) {
	s, _, image := small(t, withSpares(1))
	for _, id := range []string{"a", "b", "c"} {
		if err := s.CreateRW(id, image.ID); err != nil {
			t.Fatal(err)
		}
		waitFor(t, func() bool { return s.spares.waiting(image.ID) == 1 })
		root, err := s.MountRW(id)
		if got := inMount(t, root, err, "mine"); !strings.HasPrefix(got, "error") {
			t.Errorf("%s finds %q", id, got)
		}
		if err := os.WriteFile(s.path("rw", id, upperName, "mine"), []byte(id), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// A store that crashed with a spare in a container's place, and others waiting.
func TestSparesAfterACrash(t *testing.T) {
	s, _, image := small(t, withSpares(2))
	for _, id := range []string{"first", "second"} {
		if err := s.CreateRW(id, image.ID); err != nil {
			t.Fatal(err)
		}
		waitFor(t, func() bool { return s.spares.waiting(image.ID) == 2 })
	}
	// What the background still writes and removes would not be the same file twice.
	waitFor(t, func() bool { return measured(s) })
	clean(t, s)
	copied := filepath.Join(t.TempDir(), "store")
	if out, err := exec.Command("cp", "-a", s.cfg.Root, copied).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	again := open(t, func(c *Config) { c.Root = copied })
	again.trash.Wait()
	if left, err := os.ReadDir(again.path(spareDir)); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	for _, id := range []string{"first", "second"} {
		root, err := again.MountRW(id)
		if got := inMount(t, root, err, "b"); got != "b" {
			t.Errorf("%s reads %q", id, got)
		}
	}
	clean(t, again)
}

// Images that are not used any more lose their spares.
func TestSparesAge(t *testing.T) {
	s, _, image := small(t, withSpares(1))
	if err := s.CreateRW("c", image.ID); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return s.spares.waiting(image.ID) == 1 })
	s.spares.mu.Lock()
	s.spares.images[digest.Digest(image.ID)].used = time.Now().Add(-2 * spareLife)
	s.spares.mu.Unlock()
	s.spares.wake <- struct{}{}
	waitFor(t, func() bool { left, _ := os.ReadDir(s.path(spareDir)); return len(left) == 0 })
	if err := s.RemoveRW("c"); err != nil {
		t.Error(err)
	}
}

// When a store is closed nothing of it goes on, not even the end of aged spares.
func TestCloseWaitsForAgedSpares(t *testing.T) {
	s, _, image := small(t, withSpares(2))
	for round := range 10 {
		if err := s.CreateRW(fmt.Sprint("c", round), image.ID); err != nil {
			t.Fatal(err)
		}
		waitFor(t, func() bool { return s.spares.waiting(image.ID) == 2 })
		s.spares.mu.Lock()
		s.spares.images[digest.Digest(image.ID)].used = time.Now().Add(-2 * spareLife)
		s.spares.mu.Unlock()
		s.spares.wake <- struct{}{}
		waitFor(t, func() bool { return s.spares.waiting(image.ID) == 0 })
		root := s.cfg.Root
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if left, err := os.ReadDir(filepath.Join(root, spareDir)); err != nil || len(left) > 0 {
			t.Fatalf("round %d: left %v, %v", round, left, err)
		}
		s = open(t, withSpares(2), func(c *Config) { c.Root = root })
	}
}

// A spare that was being made when its image went, and came back, shows layers that
// are being deleted: nobody may get it.
func TestSpareOfAnEarlierLife(t *testing.T) {
	mounted, goOn := make(chan bool), make(chan bool)
	var once sync.Once
	s, r, image := small(t, withSpares(1), func(c *Config) {
		c.Format = FormatOverlay // whose mounts do not keep what is deleted
		c.hook = func(step string) {
			if step == "spare mounted" {
				once.Do(func() { mounted <- true; <-goOn })
			}
		}
	})
	if err := s.CreateRW("first", image.ID); err != nil {
		t.Fatal(err)
	}
	<-mounted
	if err := errors.Join(s.RemoveRW("first"), s.Remove(t.Context(), image.ID)); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return len(s.db.Snapshot().Images) == 0 })
	image = pulled(t, s, r.host()+"/app:v1")
	if err := s.CreateRW("second", image.ID); err != nil {
		t.Fatal(err)
	}
	clean(t, s)
	goOn <- true
	waitFor(t, func() bool { return s.spares.waiting(image.ID) == 1 })
	if err := s.CreateRW("third", image.ID); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"second", "third"} {
		root, err := s.MountRW(id)
		if got := inMount(t, root, err, "b"); got != "b" {
			t.Errorf("%s reads %q", id, got)
		}
	}
}
