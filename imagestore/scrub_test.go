package imagestore

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/varve-cri/varve/imagestore/layer/layertest"
)

// damage is a way in which a disk loses what it was given.
var damage = map[string]func(path string, content []byte) error{
	"a bit": func(path string, content []byte) error {
		content[len(content)/2] ^= 1
		return os.WriteFile(path, content, 0o600)
	},
	"truncated": func(path string, content []byte) error { return os.Truncate(path, int64(len(content)/2)) },
	"removed":   func(path string, _ []byte) error { return os.Remove(path) },
	"no layer":  func(path string, _ []byte) error { return os.RemoveAll(filepath.Dir(path)) },
}

// spoil damages the content of the layer that holds the file f, and gives its
// directory.
func spoil(t *testing.T, s *Store, chain string, how func(path string, content []byte) error) string {
	t.Helper()
	row := s.db.Snapshot().Images[s.db.Snapshot().Names[chain]]
	dir := s.path("layers", s.db.Snapshot().Layers[row.Keys()[1]].Tree)
	biggest, size := "", int64(0)
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() && e.Name() != "sums" && e.Name() != "layer.json" && e.Name() != "layer.sum" {
			if info, err := e.Info(); err == nil && info.Size() > size {
				biggest, size = path, info.Size()
			}
		}
		return err
	})
	content, rerr := os.ReadFile(biggest)
	if err := errors.Join(err, rerr, how(biggest, content)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// twoImages pushes two images of three layers each that share the middle one, and
// gives the middle's blob.
func twoImages(t *testing.T, r *remote) digest.Digest {
	t.Helper()
	body := strings.Repeat("0123456789", 5000)
	middle := layertest.Tar(t, layertest.Dir("d", 0o755), layertest.File("d/f", body), layertest.File("d/g", "g"))
	for _, name := range []string{"one", "two"} {
		r.push(name+":v1", picture{format: "gzip", cmd: name, layers: [][]byte{tarOf(t, "a"), middle, tarOf(t, name)}})
	}
	return digest.FromBytes(squeeze(t, "gzip", middle))
}

func eachFormat(t *testing.T, test func(t *testing.T, format string)) {
	for _, format := range []string{FormatOverlay, FormatErofs} {
		t.Run(format, func(t *testing.T) { test(t, format) })
	}
}

// A damaged layer is found, and fetched again alone; containers keep what they have
// mounted, and what comes new sees the new layer.
func TestDamagedLayerIsFetchedAgain(t *testing.T) {
	eachFormat(t, func(t *testing.T, format string) {
		for name, how := range damage {
			t.Run(name, func(t *testing.T) {
				r := newRemote(t)
				blob := twoImages(t, r)
				s := open(t, func(c *Config) { c.Format = format })
				one, two := pulled(t, s, r.host()+"/one:v1"), pulled(t, s, r.host()+"/two:v1")
				whole := map[string]digest.Digest{}
				for _, image := range []Image{one, two} {
					tree, err := treeOf(s, image.ID)
					if err != nil {
						t.Fatal(err)
					}
					whole[image.ID] = tree
				}
				if err := s.CreateRW("c", one.ID); err != nil {
					t.Fatal(err)
				}
				mounted, err := s.MountRW("c")
				if err != nil {
					t.Fatal(err)
				}
				defer mounted.Close()
				blobs, was := r.count("/blobs/sha256:"), r.count("/blobs/"+blob.String())
				if err := s.CheckLayers(t.Context()); err != nil || r.count("/blobs/sha256:") != blobs {
					t.Errorf("a check of what is sound: %v", err)
				}
				old := spoil(t, s, r.host()+"/one:v1", how)
				if err := s.CheckLayers(t.Context()); err != nil || len(s.Damaged()) > 0 {
					t.Errorf("damaged %+v, %v", s.Damaged(), err)
				}
				// The config, too, is asked for again.
				if all, one := r.count("/blobs/sha256:")-blobs, r.count("/blobs/"+blob.String())-was; one != 1 || all > 2 {
					t.Errorf("%d blobs were fetched, and the damaged one %d times", all, one)
				}
				for id, want := range whole {
					if tree, err := treeOf(s, id); err != nil || tree != want {
						t.Errorf("image %s after the repair: %v", id, err)
					}
				}
				if b, err := os.ReadFile(fmt.Sprintf("/proc/self/fd/%d/a", mounted.Fd())); err != nil || string(b) != "a" {
					t.Errorf("the container's own mount: %q, %v", b, err)
				}
				mounted.Close()
				s = reopen(t, s)
				if _, err := os.Lstat(old); name != "no layer" && err != nil {
					t.Errorf("the container's layer went: %v", err)
				}
				clean(t, s)
				if err := s.RemoveRW("c"); err != nil {
					t.Fatal(err)
				}
				waitFor(t, func() bool { return len(s.db.Snapshot().Retired) == 0 })
				clean(t, s)
				if _, err := os.Lstat(old); err == nil {
					t.Error("the damaged directory stays")
				}
				if err := errors.Join(s.Remove(t.Context(), one.ID), s.Remove(t.Context(), two.ID)); err != nil {
					t.Error(err)
				}
				waitFor(t, func() bool { return len(s.db.Snapshot().Layers) == 0 })
				clean(t, s)
			})
		}
	})
}

// Where the registry cannot be asked, the damage is told by name, also after a
// restart, and the next pull mends it instead of saying that all is here.
func TestDamageIsToldUntilThePull(t *testing.T) {
	eachFormat(t, func(t *testing.T, format string) {
		r := newRemote(t)
		twoImages(t, r)
		var told []string
		listen := func(c *Config) { c.Format, c.Report = format, func(m string) { told = append(told, m) } }
		s := open(t, listen)
		ref := r.host() + "/one:v1"
		image := pulled(t, s, ref)
		spoil(t, s, ref, damage["a bit"])
		r.breaks(func(w http.ResponseWriter, q *http.Request) bool {
			if name, _, _ := q.BasicAuth(); name == "me" {
				return false
			}
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
			return true
		})
		if err := s.CheckLayers(t.Context()); err != nil {
			t.Error(err)
		}
		root := s.cfg.Root
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, listen, func(c *Config) { c.Root = root })
		all := s.Damaged()
		if len(all) != 1 || strings.Join(all[0].Images, " ") != ref || all[0].Layer.Chain.String() != image.Layers[1] || all[0].Found.IsZero() {
			t.Fatalf("damaged: %+v", all)
		}
		if now, err := s.Get(ref); err != nil || !strings.Contains(now.Damaged, image.Layers[1]) {
			t.Errorf("%q, %v", now.Damaged, err)
		}
		text := strings.Join(told, "\n")
		for _, want := range []string{ref, image.Layers[1], "is damaged", "not fetched again", "credential"} {
			if !strings.Contains(text, want) {
				t.Errorf("the report lacks %q:\n%s", want, text)
			}
		}
		if _, err := s.Pull(t.Context(), ref, PullOptions{}); kind(err) != Unauthorized {
			t.Errorf("a pull without credentials: %v", err)
		}
		if _, err := s.Pull(t.Context(), ref, PullOptions{Auth: &Auth{Username: "me", Password: "secret"}}); err != nil {
			t.Fatal(err)
		}
		if now, err := s.Get(ref); err != nil || now.Damaged != "" || len(s.Damaged()) > 0 {
			t.Errorf("after the pull: %q, %v", now.Damaged, err)
		}
		waitFor(t, func() bool { return len(s.db.Snapshot().Retired) == 0 })
		clean(t, s)
		if err := s.CheckLayers(t.Context()); err != nil || len(s.Damaged()) > 0 {
			t.Errorf("%+v, %v", s.Damaged(), err)
		}
	})
}

// A container that comes while a layer is being replaced may have the old one
// mounted, so that one waits for it too.
func TestRetiredWaitsForWhoCame(t *testing.T) {
	r := newRemote(t)
	twoImages(t, r)
	var s *Store
	var one Image
	armed := false
	s = open(t, func(c *Config) {
		c.Format = FormatOverlay
		c.hook = func(step string) {
			if armed && step == "rows written" {
				armed = false
				if err := s.CreateRW("late", one.ID); err != nil {
					t.Error(err)
				}
			}
		}
	})
	one = pulled(t, s, r.host()+"/one:v1")
	if err := s.CreateRW("early", one.ID); err != nil {
		t.Fatal(err)
	}
	old := spoil(t, s, r.host()+"/one:v1", damage["a bit"])
	armed = true
	if err := s.CheckLayers(t.Context()); err != nil || len(s.Damaged()) > 0 || armed {
		t.Fatalf("%+v, %v", s.Damaged(), err)
	}
	for _, id := range []string{"early", "late"} {
		s.freeRetired()
		if _, err := os.Lstat(old); err != nil {
			t.Errorf("gone before %s: %v", id, err)
		}
		if err := s.RemoveRW(id); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, func() bool { return len(s.db.Snapshot().Retired) == 0 })
	clean(t, s)
}

// What is removed while it is being checked is not damaged, and a check ends with its
// context.
func TestCheckBesideRemovals(t *testing.T) {
	eachFormat(t, func(t *testing.T, format string) {
		r := newRemote(t)
		twoImages(t, r)
		s := open(t, func(c *Config) {
			c.Format, c.CheckRate = format, 400_000
			c.Report = func(m string) { t.Errorf("told: %s", m) }
		})
		one := pulled(t, s, r.host()+"/one:v1")
		checked := make(chan error, 1)
		check := func() { checked <- s.CheckLayers(t.Context()) }
		ended := func(err error) {
			if err != nil || len(s.Damaged()) > 0 {
				t.Errorf("%+v, %v", s.Damaged(), err)
			}
		}
		go check()
		waitFor(t, func() bool {
			select {
			case err := <-checked: // before it was seen
				ended(err)
				go check()
			default:
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			return len(s.holds) > 0
		})
		if err := s.Remove(t.Context(), one.ID); err != nil {
			t.Error(err)
		}
		ended(<-checked)
		waitFor(t, func() bool { return len(s.db.Snapshot().Layers) == 0 })
		clean(t, s)
	})
}
