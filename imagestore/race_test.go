package imagestore

import (
	"archive/tar"
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/varve-cri/varve/imagestore/layer/layertest"
)

// raceFormats are the layer formats under test; "" would be the default one again.
var raceFormats = []string{FormatErofs, FormatOverlay}

// TestRace lets processes work on a store, eight operations at a time, with a
// registry that fails in between, and kills them at any moment. What was answered
// must hold: images and containers that are there are whole, those that are not
// leave nothing. VARVE_RACE is for how long (12s for all formats together), and
// VARVE_RACE_SEED repeats a run as far as scheduling lets it.
func TestRace(t *testing.T) {
	span, seed := 12*time.Second, uint64(time.Now().UnixNano())
	if testing.Short() {
		span = 4 * time.Second
	}
	var err error
	if v := os.Getenv("VARVE_RACE"); v != "" {
		if span, err = time.ParseDuration(v); err != nil {
			t.Fatal(err)
		}
	}
	if v := os.Getenv("VARVE_RACE_SEED"); v != "" {
		if seed, err = strconv.ParseUint(v, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	for _, format := range raceFormats {
		t.Run(format, func(t *testing.T) {
			t.Logf("seed %d", seed)
			r := newRace(t, format, seed)
			for begun := time.Now(); r.goesOn(time.Since(begun), span/time.Duration(len(raceFormats))) && !t.Failed(); {
				r.round()
			}
			if r.answers == 0 || r.checks == 0 {
				t.Errorf("%d operations, %d checks", r.answers, r.checks)
			}
			t.Logf("%d rounds, %d operations answered, %d cut off, %d containers and %d images checked after a kill", r.rounds, r.answers, r.cut, r.containers, r.checks)
		})
	}
}

// race is the side that kills and checks.
type race struct {
	t       *testing.T
	rnd     *rand.Rand
	remote  *remote
	setup   raceSetup
	history *history

	rounds, answers, cut, containers, checks int
}

// goesOn tells whether there is time for another round, which on a busy machine there
// is until something has been looked at.
func (r *race) goesOn(took, span time.Duration) bool {
	return took < span || (r.answers == 0 || r.checks == 0) && took < 2*time.Minute
}

func newRace(t *testing.T, format string, seed uint64) *race {
	r := &race{t: t, rnd: rand.New(rand.NewPCG(seed, 0)), remote: newRemote(t), history: newHistory()}
	r.setup = raceSetup{Root: filepath.Join(t.TempDir(), "store"), Format: format, Moving: r.remote.host() + "/app:moving"}
	for i := range 5 {
		r.setup.Images = append(r.setup.Images, r.image(i))
	}
	r.move(0)
	return r
}

// body is content that is a file's own and not the next one's.
func body(path string, i int) string {
	return strings.Repeat(fmt.Sprintf("%s of %d\n", path, i), 100)
}

func (r *race) picture(i int) (picture, map[string]string) {
	file := func(path string, i int) tar.Header { return layertest.File(path, body(path, i)) }
	middle := layertest.Tar(r.t, layertest.Dir("d", 0o755), file("d/m", i%2), layertest.File(".wh.hidden", ""), tar.Header{Name: "link", Typeflag: tar.TypeLink, Linkname: "base"})
	if i%2 == 1 { // complete by itself, so that it is shared under different parents
		middle = layertest.Tar(r.t, layertest.Dir("./", 0o755), layertest.Dir("d", 0o755), file("d/m", i%2), layertest.File(".wh.hidden", ""))
	}
	p := picture{cmd: fmt.Sprint(i), layers: [][]byte{
		layertest.Tar(r.t, layertest.Dir("./", 0o755), layertest.Dir("etc", 0o755), file("etc/passwd", i%3), file("base", i%3), file("hidden", 0)),
		middle,
		layertest.Tar(r.t, file("d/top", i), file("etc/top", i)), // needs what is below
	}}
	return p, map[string]string{"base": body("base", i%3), "hidden": "", "d/m": body("d/m", i%2), "d/top": body("d/top", i), "etc/top": body("etc/top", i)}
}

// image pushes image i to two repositories, in two compressions.
func (r *race) image(i int) raceImage {
	p, files := r.picture(i)
	image := raceImage{Files: files, Digests: map[string]string{}}
	for repo, format := range map[string]string{"app": "gzip", "other": "zstd"} {
		p.format = format
		d, id := r.remote.push(fmt.Sprintf("%s:v%d", repo, i), p)
		name := fmt.Sprintf("%s/%s:v%d", r.remote.host(), repo, i)
		image.ID = id.String()
		image.Names = append(image.Names, name)
		image.Digests[name] = fmt.Sprintf("%s/%s@%s", r.remote.host(), repo, d.Digest)
	}
	slices.Sort(image.Names)
	return image
}

// move lets the moving tag lead to one of two images.
func (r *race) move(i int) {
	p, _ := r.picture(i)
	p.format = "gzip"
	r.remote.push("app:moving", p)
}

// faults makes one request in some fail in one of the ways of registries.
func (r *race) faults() func(http.ResponseWriter, *http.Request) bool {
	var mu sync.Mutex
	rnd := rand.New(rand.NewPCG(r.rnd.Uint64(), 1))
	return func(w http.ResponseWriter, q *http.Request) bool {
		mu.Lock()
		n, wait := rnd.IntN(60), time.Duration(rnd.IntN(3))*time.Millisecond
		mu.Unlock()
		time.Sleep(wait)
		blob := q.Method == http.MethodGet && strings.Contains(q.URL.Path, "/blobs/")
		switch {
		case n == 0:
			w.WriteHeader(http.StatusServiceUnavailable)
		case n == 1:
			panic(http.ErrAbortHandler)
		case n == 2 && blob: // torn
			w.Header().Set("Content-Length", "1000")
			_, _ = w.Write([]byte{0x1f, 0x8b, 8})
			panic(http.ErrAbortHandler)
		case n == 3 && blob: // stalled
			w.Header().Set("Content-Length", "1000")
			_ = http.NewResponseController(w).Flush()
			<-q.Context().Done()
		case n == 4 && blob: // altered
			_, _ = w.Write(make([]byte, 100))
		default:
			return false
		}
		return true
	}
}

// round is one life of a worker, and what is found afterwards.
func (r *race) round() {
	r.rounds++
	r.remote.breaks(r.faults())
	r.work()
	r.remote.breaks(nil)
	if r.t.Failed() {
		return
	}
	cfg := raceConfig(&r.setup)
	cfg.Network = quick // with the patience that only the workers lack
	cfg.Report = func(m string) { r.t.Errorf("the store reports: %s", m) }
	s, err := Open(cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			r.t.Error(err)
		}
	}()
	r.look(s)
	if r.rounds%3 == 0 {
		r.empty(s)
	} else if r.rnd.IntN(2) == 0 {
		i := r.rnd.IntN(2)
		r.move(i)
		r.record([]claim{{r.setup.Moving, true}, {r.setup.Images[i].ID, true}, {r.setup.Images[i].Digests[r.setup.Images[i].Names[0]], true}}, func() []claim {
			pulled(r.t, s, r.setup.Moving)
			return sawList(&r.setup, s.List())
		})
	}
	clean(r.t, s)
	for _, w := range r.history.check() {
		r.t.Error(w)
	}
	r.history.forget()
}

// record notes an operation of this process, alone.
func (r *race) record(may []claim, fn func() []claim) {
	r.history.ask(-1, may)
	r.history.answer(-1, true, fn())
}

// work runs a worker and kills it, or lets it kill itself at one of the store's steps.
func (r *race) work() {
	r.setup.Seed, r.setup.KillAtStep = r.rnd.Uint64(), 0
	patience := time.Duration(200+r.rnd.IntN(1200)) * time.Millisecond
	if r.rnd.IntN(2) == 0 {
		r.setup.KillAtStep, patience = 1+r.rnd.Int64N(300), 5*time.Second
	}
	file := filepath.Join(r.t.TempDir(), "setup")
	if err := os.WriteFile(file, encode(r.t, r.setup), 0o600); err != nil {
		r.t.Fatal(err)
	}
	out, in, err := os.Pipe()
	if err != nil {
		r.t.Fatal(err)
	}
	var said strings.Builder
	cmd := exec.Command(os.Args[0])
	cmd.Env, cmd.ExtraFiles, cmd.Stderr = append(os.Environ(), raceVariable+"="+file), []*os.File{in}, &said
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	in.Close()
	// It lives from its first word on, because to begin may take long; now and then
	// it is killed while it begins.
	opening := 20 * time.Second
	if r.rnd.IntN(8) == 0 {
		opening, patience = time.Duration(r.rnd.IntN(300))*time.Millisecond, time.Millisecond
	}
	timer := time.AfterFunc(opening, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	r.listen(out, func() { timer.Reset(patience) })
	out.Close()
	err = cmd.Wait()
	r.cut += len(r.history.open)
	r.history.crash()
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.Exited() || said.Len() > 0 {
		r.t.Errorf("worker: %v\n%s", err, said.String())
	}
}

// listen reads what the worker says until it is dead; begun is called at its first word.
func (r *race) listen(out io.Reader, begun func()) {
	lines := bufio.NewReader(out)
	for n := 0; ; n++ {
		b, err := lines.ReadBytes('\n')
		if err != nil {
			return // the last line may be cut off, and counts as not said
		}
		if n == 0 {
			begun()
		}
		var l line
		if err := json.Unmarshal(b, &l); err != nil {
			r.t.Errorf("%q: %v", b, err)
		}
		switch {
		case l.Fail != "":
			r.t.Error(l.Fail)
		case l.Ends:
			r.answers++
			r.history.answer(l.Op, l.Done, l.Saw)
		default:
			r.history.ask(l.Op, l.May)
		}
	}
}

// look reads everything that the dead worker has left.
func (r *race) look(s *Store) {
	r.record(nil, func() []claim { return sawList(&r.setup, s.List()) })
	for _, image := range s.List() {
		i := slices.IndexFunc(r.setup.Images, func(i raceImage) bool { return i.ID == image.ID })
		root, err := s.MountImage(image.ID)
		if err != nil {
			r.t.Error(err)
			continue
		}
		if err := r.setup.Images[i].read(root); err != nil {
			r.t.Error(err)
		}
		root.Close()
		r.checks++
	}
	there := s.ListRW()
	r.record(nil, func() []claim {
		saw := claims(there, true)
		for _, id := range r.history.known() {
			if (id[0] == 'c' || id[0] == 'v') && !slices.Contains(there, id) {
				saw = append(saw, claim{id, false})
			}
		}
		return saw
	})
	for _, id := range there {
		if err := readContainer(&r.setup, s, id); err != nil {
			r.t.Error(err)
		}
		r.containers++
	}
}

// empty removes all there is; nothing must be left.
func (r *race) empty(s *Store) {
	rw := s.ListRW()
	r.record(claims(rw, false), func() []claim {
		for _, id := range rw {
			if err := s.RemoveRW(id); err != nil {
				r.t.Error(err)
			}
		}
		return claims(rw, false)
	})
	var all []string
	for i := range r.setup.Images {
		all = append(all, r.setup.Images[i].refs()...)
	}
	r.record(claims(append(all, r.setup.Moving), false), func() []claim {
		for _, image := range s.List() {
			names := slices.Concat(image.Tags, image.Digests)
			if err := s.Remove(r.t.Context(), names[r.rnd.IntN(len(names))]); err != nil {
				r.t.Error(err)
			}
		}
		return sawList(&r.setup, s.List())
	})
	waitFor(r.t, func() bool { return len(s.db.Snapshot().Images) == 0 && len(s.db.Snapshot().Layers) == 0 })
	s.mu.Lock()   // rows go before what they name, in one hold of the lock
	s.mu.Unlock() //nolint:staticcheck // only to wait
	s.trash.Wait()
	for _, dir := range []string{"layers", "rw", "tmp", "trash", "stacks"} {
		if left, err := os.ReadDir(s.path(dir)); err != nil || len(left) > 0 {
			r.t.Errorf("%s holds %v, %v", dir, left, err)
		}
	}
	if u, err := s.Usage(); err != nil || u.Bytes != 0 || u.Inodes != 0 || len(s.db.Snapshot().Names) > 0 || len(s.uses) > 0 || len(s.holds) > 0 {
		r.t.Errorf("left: %+v %v, names %v, leases %v, holds %v", u, err, s.db.Snapshot().Names, s.uses, s.holds)
	}
	for _, ref := range all {
		_, hex, _ := strings.Cut(ref, "sha256:")
		if b, err := s.db.Content(digest.NewDigestFromEncoded(digest.SHA256, hex)); hex != "" && (b != nil || err != nil) {
			r.t.Errorf("content of %s is left: %d bytes, %v", ref, len(b), err)
		}
	}
}
