package imagestore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/imagestore/registry"
)

// The process that works on a store until it is killed. It tells what it is about
// to do, and what came of it, on descriptor 3.

const raceVariable = "VARVE_RACE_WORKER" // the file with the raceSetup

func TestMain(m *testing.M) {
	if file := os.Getenv(raceVariable); file != "" {
		if err := raceWork(file); err != nil {
			fmt.Fprintln(os.Stderr, "worker:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// raceSetup is what the worker has to know.
type raceSetup struct {
	Root, Format string
	Images       []raceImage
	Moving       string // a tag that leads now to the first image, now to the second
	Seed         uint64
	KillAtStep   int64 // of the store's steps; 0 leaves it to the parent
}

// raceImage is one image as the registry has it.
type raceImage struct {
	ID      string
	Names   []string          // tags, in several repositories
	Digests map[string]string // of each tag
	Files   map[string]string // paths and what is in them; "" is not there
}

// line is what the worker says: an operation begins, or ends.
type line struct {
	Op   int
	Ends bool    `json:",omitempty"`
	Done bool    `json:",omitempty"`
	May  []claim `json:",omitempty"`
	Saw  []claim `json:",omitempty"`
	Fail string  `json:",omitempty"` // what must never be
}

// raceConfig is the store's configuration, in the worker and in its parent.
func raceConfig(setup *raceSetup) Config {
	return Config{
		Root: setup.Root, Format: setup.Format, LooseLayers: 100 * time.Millisecond, ParallelLayers: 4, Spares: 2,
		Network: registry.Limits{Attempts: 2, Backoff: time.Millisecond, StallWindow: 50 * time.Millisecond, StallBytes: 1, Header: 5 * time.Second},
	}
}

// refs are all names of an image, its id first.
func (i *raceImage) refs() []string {
	all := append([]string{i.ID}, i.Names...)
	for _, n := range i.Names {
		if d := i.Digests[n]; !slices.Contains(all, d) {
			all = append(all, d)
		}
	}
	return all
}

// read compares the image's files with a mount of it.
func (i *raceImage) read(root *os.File) error {
	for path, want := range i.Files {
		got, err := os.ReadFile(fmt.Sprintf("/proc/self/fd/%d/%s", root.Fd(), path))
		if want == "" && errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil || string(got) != want {
			return fmt.Errorf("image %s: %s holds %.20q (%d bytes, want %.20q): %w", i.ID, path, got, len(got), want, err)
		}
	}
	return nil
}

func claims(keys []string, is bool) (all []claim) {
	for _, k := range keys {
		all = append(all, claim{k, is})
	}
	return all
}

// racer does operations and tells of them.
type racer struct {
	setup *raceSetup
	store *Store
	ops   atomic.Int64

	mu   sync.Mutex
	out  *json.Encoder
	live []string // containers that are there and that no worker removes now
}

func raceWork(file string) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	r := &racer{setup: &raceSetup{}, out: json.NewEncoder(os.NewFile(3, "log"))}
	if err := json.Unmarshal(b, r.setup); err != nil {
		return err
	}
	cfg := raceConfig(r.setup)
	cfg.Report = func(m string) { r.fail("the store reports: %s", m) }
	var steps atomic.Int64
	cfg.hook = func(string) {
		if steps.Add(1) == r.setup.KillAtStep {
			_ = unix.Kill(os.Getpid(), unix.SIGKILL)
		}
	}
	if r.store, err = Open(cfg); err != nil {
		return err
	}
	r.live = r.store.ListRW()
	for worker := range 8 {
		go func() {
			rnd := rand.New(rand.NewPCG(r.setup.Seed, uint64(worker)))
			for {
				r.step(rnd)
			}
		}()
	}
	time.Sleep(time.Minute) // it is killed long before
	return errors.New("nobody killed it")
}

func (r *racer) say(l line) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_ = r.out.Encode(l)
}

func (r *racer) fail(format string, args ...any) { r.say(line{Fail: fmt.Sprintf(format, args...)}) }

// do tells of one operation; fn gives whether it had its effect, and what it saw.
func (r *racer) do(may []claim, fn func() (bool, []claim)) {
	op := int(r.ops.Add(1))
	r.say(line{Op: op, May: may})
	done, saw := fn()
	r.say(line{Op: op, Ends: true, Done: done, Saw: saw})
}

func (r *racer) step(rnd *rand.Rand) {
	i := &r.setup.Images[rnd.IntN(len(r.setup.Images))]
	refs := i.refs()
	ref := refs[rnd.IntN(len(refs))]
	switch n := rnd.IntN(100); {
	case n < 25:
		r.pull(rnd, i.Names[rnd.IntN(len(i.Names))])
	case n < 28:
		r.pull(rnd, r.setup.Moving)
	case n < 38:
		r.remove(ref)
	case n < 39:
		r.remove(r.setup.Moving)
	case n < 50:
		r.get(ref)
	case n < 55:
		r.list()
	case n < 65:
		r.mountImage(i, ref)
	case n < 80:
		r.create(rnd, i)
	case n < 95:
		r.end(rnd)
	default:
		if _, _, err := r.store.Users(i.ID); err != nil && !errors.Is(err, ErrNotFound) {
			r.fail("users: %v", err)
		}
		if _, err := r.store.Usage(); err != nil {
			r.fail("usage: %v", err)
		}
		// At no moment is there anything that belongs to nothing.
		if orphans, err := r.store.Orphans(); err != nil || len(orphans) > 0 {
			r.fail("orphans %v, %v", orphans, err)
		}
	}
}

// pull pulls a tag, sometimes with too little patience.
func (r *racer) pull(rnd *rand.Rand, name string) {
	var may []claim
	for _, i := range r.candidates(name) {
		may = append(may, claims([]string{i.ID, i.Digests[i.Names[0]]}, true)...)
		if name != r.setup.Moving {
			may = append(may, claim{i.Digests[name], true})
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	if rnd.IntN(4) == 0 {
		ctx, cancel = context.WithTimeout(ctx, time.Duration(rnd.IntN(60))*time.Millisecond)
	}
	defer cancel()
	r.do(append(may, claim{name, true}), func() (bool, []claim) {
		image, err := r.store.Pull(ctx, name, PullOptions{})
		if err != nil {
			if k := kind(err); k == Internal || k == Invalid || k == NoSpace {
				r.fail("%v (%s)", err, k)
			}
			return false, nil
		}
		return true, claims([]string{name, image.ID}, true)
	})
}

// candidates are the images that a tag may lead to.
func (r *racer) candidates(ref string) (all []*raceImage) {
	if ref == r.setup.Moving {
		return []*raceImage{&r.setup.Images[0], &r.setup.Images[1]}
	}
	for i := range r.setup.Images {
		if image := &r.setup.Images[i]; slices.Contains(image.refs(), ref) {
			all = append(all, image)
		}
	}
	return all
}

// remove takes an image away by one name: all its names go, if it has that one.
func (r *racer) remove(ref string) {
	may := []claim{{r.setup.Moving, false}}
	saw := []claim{{ref, false}}
	for _, i := range r.candidates(ref) {
		may = append(may, claims(i.refs(), false)...)
		if i.ID == ref {
			saw = claims(i.refs(), false)
		}
	}
	r.do(may, func() (bool, []claim) {
		if err := r.store.Remove(context.Background(), ref); err != nil {
			r.fail("remove %s: %v", ref, err)
		}
		return true, saw
	})
}

func (r *racer) get(ref string) {
	r.do(nil, func() (bool, []claim) {
		image, err := r.store.Get(ref)
		if err != nil {
			if !errors.Is(err, ErrNotFound) {
				r.fail("get %s: %v", ref, err)
			}
			return true, []claim{{ref, false}}
		}
		return true, []claim{{ref, true}, {image.ID, true}}
	})
}

func (r *racer) list() {
	r.do(nil, func() (bool, []claim) { return true, sawList(r.setup, r.store.List()) })
}

// sawList is what a list says of everything that there can be.
func sawList(setup *raceSetup, list []Image) (saw []claim) {
	there := map[string]bool{}
	for _, image := range list {
		there[image.ID] = true
		for _, n := range slices.Concat(image.Tags, image.Digests) {
			there[n] = true
		}
	}
	for _, i := range setup.Images {
		for _, ref := range i.refs() {
			saw = append(saw, claim{ref, there[ref]})
		}
	}
	return append(saw, claim{setup.Moving, there[setup.Moving]})
}

// mountImage reads an image under a lease of this process.
func (r *racer) mountImage(i *raceImage, ref string) {
	r.do(nil, func() (bool, []claim) {
		_, release, err := r.store.Lease(ref)
		if err != nil {
			return true, []claim{{ref, false}}
		}
		defer release()
		// The image may be removed by now, so that no name finds it; what is leased is
		// mounted by its id.
		id, done, err := r.store.use(i.ID)
		if err != nil {
			r.fail("a leased image is gone: %v", err)
			return true, nil
		}
		defer done()
		root, err := r.store.mountReadOnly(id, nil, "")
		if err != nil {
			r.fail("mount of a leased image: %v", err)
			return true, nil
		}
		defer root.Close()
		if err := i.read(root); err != nil {
			r.fail("leased: %v", err)
		}
		return true, []claim{{ref, true}, {i.ID, true}}
	})
}

// create makes a container, now and then with a volume. Its name says what it is.
func (r *racer) create(rnd *rand.Rand, i *raceImage) {
	n := slices.IndexFunc(r.setup.Images, func(o raceImage) bool { return o.ID == i.ID })
	id := fmt.Sprintf("c%d-%d-%d", n, r.setup.Seed, r.ops.Load())
	id += fmt.Sprintf("-%x", rnd.Uint64())
	saw := []claim{{id, true}, {i.ID, true}}
	var volumes []string
	if rnd.IntN(3) == 0 {
		v := rnd.IntN(len(r.setup.Images))
		id = fmt.Sprintf("v%d-%s", v, id)
		volumes = []string{r.setup.Images[v].ID}
		saw = []claim{{id, true}, {i.ID, true}, {volumes[0], true}}
	}
	var made bool
	r.do([]claim{{id, true}}, func() (bool, []claim) {
		err := r.store.CreateRW(id, i.ID, volumes...)
		switch {
		case err == nil:
			made = true
			return true, saw
		case !errors.Is(err, ErrNotFound):
			r.fail("create: %v", err)
		case len(volumes) == 0:
			return false, []claim{{i.ID, false}}
		}
		return false, nil
	})
	if made {
		if err := readContainer(r.setup, r.store, id); err != nil {
			r.fail("%v", err)
		}
		r.mu.Lock()
		r.live = append(r.live, id)
		r.mu.Unlock()
	}
}

// readContainer reads a container's root and its volume. The root cannot be mounted
// twice at a time.
func readContainer(setup *raceSetup, s *Store, id string) error {
	var n, v int
	name := id
	if strings.HasPrefix(id, "v") {
		if _, err := fmt.Sscanf(id, "v%d-", &v); err != nil {
			return err
		}
		_, name, _ = strings.Cut(id, "-")
		root, err := s.MountVolume(id, setup.Images[v].ID, "")
		if err != nil {
			return fmt.Errorf("volume of %s: %w", id, err)
		}
		err = setup.Images[v].read(root)
		root.Close()
		if err != nil {
			return fmt.Errorf("volume of %s: %w", id, err)
		}
	}
	if _, err := fmt.Sscanf(name, "c%d-", &n); err != nil {
		return err
	}
	root, err := s.MountRW(id)
	if err != nil {
		return fmt.Errorf("container %s: %w", id, err)
	}
	defer root.Close()
	if err := setup.Images[n].read(root); err != nil {
		return fmt.Errorf("container %s: %w", id, err)
	}
	return os.WriteFile(filepath.Join(fmt.Sprintf("/proc/self/fd/%d", root.Fd()), "written"), []byte(id), 0o600)
}

// end removes a container after a last look at it.
func (r *racer) end(rnd *rand.Rand) {
	r.mu.Lock()
	if len(r.live) == 0 {
		r.mu.Unlock()
		return
	}
	at := rnd.IntN(len(r.live))
	id := r.live[at]
	r.live = slices.Delete(r.live, at, at+1)
	r.mu.Unlock()
	if err := readContainer(r.setup, r.store, id); err != nil {
		r.fail("%v", err)
	}
	r.do([]claim{{id, false}}, func() (bool, []claim) {
		if err := r.store.RemoveRW(id); err != nil {
			r.fail("remove %s: %v", id, err)
		}
		return true, []claim{{id, false}}
	})
}
