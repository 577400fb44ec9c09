package imagestore

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/imagestore/layer/layertest"
	"github.com/varve-cri/varve/imagestore/registry"
)

// snapshots copies the store's directory at every step, as a kill there would
// leave it.
type snapshots struct {
	t    *testing.T
	root string
	mu   sync.Mutex
	dirs []string // read only when the store is closed
}

func (c *snapshots) take(step string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	to := filepath.Join(c.t.TempDir(), fmt.Sprintf("%d-%s", len(c.dirs), strings.ReplaceAll(step, " ", "-")))
	// The store goes on meanwhile: what is moved or freed under the copy's hands
	// makes cp fail, and the next copy has the state after that.
	for try := 0; ; try++ {
		out, err := exec.Command("cp", "-a", c.root, to).CombinedOutput()
		if err == nil {
			break
		}
		if try == 20 {
			c.t.Errorf("copy: %v %s", err, out)
			return
		}
		if err := os.RemoveAll(to); err != nil {
			c.t.Error(err)
			return
		}
	}
	c.dirs = append(c.dirs, to)
}

// everyStep reads the names of all steps from the code, so that a new one is not
// forgotten here.
func everyStep(t *testing.T) map[string]bool {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	steps := map[string]bool{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(f, "_test.go") {
			continue
		}
		for _, m := range regexp.MustCompile(`\.at\("([^"]+)"\)`).FindAllSubmatch(b, -1) {
			steps[string(m[1])] = true
		}
	}
	return steps
}

// A kill at any step leaves the old state or the new one, and nothing else.
func TestKillAtEachStep(t *testing.T) {
	steps := everyStep(t)
	eachFormat(t, func(t *testing.T, format string) {
		r := newRemote(t)
		big := layertest.File("d/big", strings.Repeat("0123456789", 9000))
		r.push("app:v1", picture{format: "gzip", layers: [][]byte{tarOf(t, "a"), layertest.Tar(t, layertest.File("d/b", "b"), big)}})
		r.push("app:v2", picture{format: "gzip", layers: [][]byte{tarOf(t, "a"), tarOf(t, "c")}, cmd: "2"})
		c := &snapshots{t: t, root: filepath.Join(t.TempDir(), "store")}
		s := open(t, withSpares(1), func(cfg *Config) { cfg.Root, cfg.Format, cfg.hook, cfg.ParallelLayers = c.root, format, c.take, 1 })
		one := pulled(t, s, r.host()+"/app:v1")
		two := pulled(t, s, r.host()+"/app:v2")
		trees := map[string]digest.Digest{}
		for _, image := range []Image{one, two} {
			tree, err := treeOf(s, image.ID)
			if err != nil {
				t.Fatal(err)
			}
			trees[image.ID] = tree
		}
		if err := s.CreateRW("c", one.ID); err != nil {
			t.Fatal(err)
		}
		waitFor(t, func() bool { return s.spares.waiting(one.ID) > 0 })
		spoil(t, s, r.host()+"/app:v1", damage["a bit"])
		if err := errors.Join(s.CheckLayers(t.Context()), s.Remove(t.Context(), one.ID), s.RemoveRW("c"), s.Remove(t.Context(), two.ID)); err != nil {
			t.Fatal(err)
		}
		waitFor(t, func() bool { return len(s.db.Snapshot().Layers) == 0 && len(s.db.Snapshot().Retired) == 0 })
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		for _, dir := range c.dirs {
			_, step, _ := strings.Cut(filepath.Base(dir), "-")
			delete(steps, strings.ReplaceAll(step, "-", " "))
			killed(t, r, dir, trees)
		}
	})
	if len(steps) > 0 {
		t.Errorf("no kill at %v", slices.Sorted(maps.Keys(steps)))
	}
}

// killed opens the copy of a store and checks that all is well.
func killed(t *testing.T, r *remote, dir string, trees map[string]digest.Digest) {
	t.Helper()
	again := open(t, func(cfg *Config) { cfg.Root = dir })
	quiescent(again)
	clean(t, again)
	for _, image := range again.List() {
		f, err := again.MountImage(image.ID)
		if got := inMount(t, f, err, "a"); got != "a" {
			t.Errorf("%s: a holds %q", filepath.Base(dir), got)
		}
	}
	for _, id := range again.ListRW() {
		f, err := again.MountRW(id)
		if got := inMount(t, f, err, "d/b"); got != "b" {
			t.Errorf("%s: container %s reads %q", filepath.Base(dir), id, got)
		}
	}
	// The copy may hold the damage of which the store did not know yet.
	if err := again.CheckLayers(t.Context()); err != nil {
		t.Error(err)
	}
	for _, tag := range []string{"v1", "v2"} {
		image := pulled(t, again, r.host()+"/app:"+tag)
		if tree, err := treeOf(again, image.ID); err != nil || tree != trees[image.ID] {
			t.Errorf("%s: %s is another tree: %v", filepath.Base(dir), tag, err)
		}
	}
	if left := again.Damaged(); len(left) > 0 {
		t.Errorf("%s: %+v", filepath.Base(dir), left)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}

// What a crash, a repair or a careless hand may leave, and what Open makes of it.
func TestOpenRepairs(t *testing.T) {
	s, r, image := small(t)
	r.push("other:v1", picture{format: "gzip", layers: [][]byte{tarOf(t, "kept")}})
	other := pulled(t, s, r.host()+"/other:v1")
	if err := errors.Join(s.CreateRW("good", other.ID), s.CreateRW("bad", other.ID), s.Close()); err != nil {
		t.Fatal(err)
	}
	lost := s.db.Snapshot().Images[s.db.Snapshot().Names[image.Tags[0]]].Keys()[1]
	err := errors.Join(
		os.RemoveAll(s.path("layers", s.db.Snapshot().Layers[lost].Tree)),
		os.MkdirAll(s.path("layers", "stray", "tree"), 0o700),
		os.MkdirAll(s.path("tmp", "layer-1", "tree"), 0o700),
		os.MkdirAll(s.path("trash", "x", "y"), 0o700),
		os.MkdirAll(s.path("rw", ".new-x", "upper"), 0o700),
		os.Remove(s.path("rw", "bad", "image")),
	)
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	s = open(t, func(c *Config) { c.Root = s.cfg.Root; c.Report = func(m string) { told = append(told, m) } })
	if list := s.List(); len(list) != 1 || list[0].ID != other.ID {
		t.Errorf("images %+v", list)
	}
	if got := s.ListRW(); !slices.Equal(got, []string{"good"}) {
		t.Errorf("read-write layers %v", got)
	}
	text := strings.Join(told, "\n")
	for _, want := range []string{image.Tags[0], lost.String(), "bad is dropped"} {
		if !strings.Contains(text, want) {
			t.Errorf("the report lacks %q:\n%s", want, text)
		}
	}
	clean(t, s)
	pulled(t, s, r.host()+"/app:v1")
}

// A full disk: a clear error, nothing left, images removable, and the store works
// again when there is room.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("varve-test", dir, "tmpfs", 0, "size=8m"); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	r := newRemote(t)
	r.push("small:v1", picture{format: "gzip", layers: [][]byte{tarOf(t, "a")}})
	r.push("big:v1", picture{format: "gzip", layers: [][]byte{tarOf(t, "b"), layertest.Tar(t, layertest.File("f", strings.Repeat("x", 9<<20)))}})
	// No EROFS from a tmpfs's files; and one layer at a time, so that it is the big one
	// that finds the disk full.
	s := open(t, inFormat(""), func(c *Config) { c.Root, c.ParallelLayers = dir+"/store", 1 })
	defer s.Close()
	image := pulled(t, s, r.host()+"/small:v1")
	_, err := s.Pull(t.Context(), r.host()+"/big:v1", PullOptions{})
	if kind(err) != NoSpace || !strings.Contains(err.Error(), `entry "f"`) || !strings.Contains(err.Error(), "unpack layer") {
		t.Errorf("%v", err)
	}
	settled(t, s)
	if n := layersOf(s); n != 1 {
		t.Errorf("%d layers", n)
	}
	clean(t, s)
	fill(t, dir+"/filler")
	if err := s.Remove(t.Context(), image.ID); err != nil || len(s.List()) != 0 {
		t.Errorf("remove on a full disk: %v", err)
	}
	if err := os.Remove(dir + "/filler"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return len(s.db.Snapshot().Layers) == 0 })
	clean(t, s)
	pulled(t, s, r.host()+"/small:v1")
}

func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
}

// Pulls, removals, containers and readers at once: what a reader finds works, and
// in the end nothing is left over.
func TestEverythingAtOnce(t *testing.T) {
	r := newRemote(t)
	const images = 5
	base := tarOf(t, "base")
	for i := range images {
		r.push(fmt.Sprintf("app:v%d", i), picture{format: "gzip", layers: [][]byte{base, tarOf(t, fmt.Sprint("f", i%3)), layertest.Tar(t, layertest.File("d/x", fmt.Sprint(i)))}})
	}
	s := open(t, func(c *Config) { c.Registries = registry.Mirror(r.URL) })
	begun, span := time.Now(), 3*time.Second
	if testing.Short() {
		span = time.Second
	}
	var wg sync.WaitGroup
	var serial, containers atomic.Int64
	goesOn := func() bool {
		took := time.Since(begun)
		return took < span || containers.Load() == 0 && took < time.Minute
	}
	for worker := range 6 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(worker), 7))
			for goesOn() {
				ref := fmt.Sprintf("h.example/app:v%d", rnd.IntN(images))
				switch rnd.IntN(4) {
				case 0:
					if err := s.Remove(t.Context(), ref); err != nil {
						t.Error(err)
					}
				case 1:
					for _, image := range s.List() {
						if _, err := s.Get(image.ID); err != nil && !errors.Is(err, ErrNotFound) {
							t.Error(err)
						}
					}
				default:
					image, err := s.Pull(t.Context(), ref, PullOptions{})
					if err != nil {
						t.Error(err)
						continue
					}
					if useImage(t, s, image, fmt.Sprint("c", serial.Add(1))) {
						containers.Add(1)
					}
				}
			}
		})
	}
	wg.Wait()
	if containers.Load() == 0 {
		t.Error("no container was made")
	}
	for _, image := range s.List() {
		if err := s.Remove(t.Context(), image.ID); err != nil {
			t.Error(err)
		}
	}
	waitFor(t, func() bool { return len(s.db.Snapshot().Images) == 0 && len(s.db.Snapshot().Layers) == 0 })
	clean(t, s)
	if len(s.ListRW()) != 0 || len(s.uses) != 0 || len(s.holds) != 0 {
		t.Errorf("left: %v %v %v", s.ListRW(), s.uses, s.holds)
	}
}

// useImage makes a container, reads through it and removes it; false when the
// image went before the lease was taken.
func useImage(t *testing.T, s *Store, image Image, id string) bool {
	err := s.CreateRW(id, image.ID)
	if errors.Is(err, ErrNotFound) {
		return false
	}
	if err != nil {
		t.Error(err)
		return false
	}
	f, err := s.MountRW(id)
	if err != nil {
		t.Error(err)
	} else {
		for _, p := range []string{"base", "d/x"} {
			if _, err := os.ReadFile(fmt.Sprintf("/proc/self/fd/%d/%s", f.Fd(), p)); err != nil {
				t.Errorf("container %s: %v", id, err)
			}
		}
		f.Close()
	}
	if err := s.RemoveRW(id); err != nil {
		t.Error(err)
	}
	return true
}
