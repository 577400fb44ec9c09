package imagestore

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/varve-cri/varve/e2e/disk"
	"github.com/varve-cri/varve/imagestore/layer"
)

// go test ./imagestore -run TestPowerCut -powercut.time 10m -powercut.all -powercut.random 40 -powercut.seed $RANDOM
var (
	cutSeed   = flag.Uint64("powercut.seed", 1, "seed of the power cuts")
	cutRandom = flag.Int("powercut.random", 1, "random cuts between each two flushes, besides none of the writes")
	cutAll    = flag.Bool("powercut.all", false, "each format on each kind of journal")
	cutTime   = flag.Duration("powercut.time", cutSpan(), "how long one disk's cuts may be looked at")
)

// cutSpan is shorter for the race detector, which looks for something else.
func cutSpan() time.Duration {
	if underRace {
		return 20 * time.Second
	}
	return time.Minute
}

// may tells whether the image may be there, and may be missing, when the power goes
// at a position: what a call that had returned has done must have lasted.
func (p *powerCut) may(tag string, at int64) (there, missing bool) {
	missing = true
	for _, a := range p.acts {
		switch {
		case a.tag != tag || a.from >= at:
		case a.to <= at:
			there, missing = a.there, !a.there
		default:
			there, missing = there || a.there, missing || !a.there
		}
	}
	return there, missing
}

// judge opens the store on what a cut left, and tells what is wrong. Now and then
// (deep) the file system is looked at too, and the power goes again while the store
// opens.
func (p *powerCut) judge(c disk.Cut, deep bool) (err error) {
	d, err := disk.Plain(c.Image)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	root, err := d.Mount(p.data)
	if err != nil {
		return err
	}
	err = p.judgeStore(c, root)
	root.Close()
	if err == nil && deep {
		err = d.Check()
	}
	if err == nil && deep {
		err = p.judgeAgain(c)
	}
	return err
}

// judgeAgain cuts the power while the store recovers from a cut, at a few moments of
// what that writes.
func (p *powerCut) judgeAgain(c disk.Cut) (err error) {
	d, err := disk.Record(c.Image)
	if err != nil {
		return err
	}
	root, err := d.Mount(p.data)
	if err != nil {
		return errors.Join(err, d.Close())
	}
	s, err := p.open(root)
	if err == nil {
		err = s.Close()
	}
	root.Close()
	l, lerr := d.Log()
	if err = errors.Join(err, lerr, d.Close()); err != nil {
		return err
	}
	n, step := 0, l.Flushes()/3+1
	l.Cuts(*cutSeed, 0, func(again disk.Cut) bool {
		if n++; n%step == 0 {
			again.At = c.At // recovery takes nothing back, and gives nothing
			if err = p.judge(again, false); err != nil {
				err = fmt.Errorf("and again at %s: %w", again.Name, err)
			}
		}
		return err == nil
	})
	return err
}

func (p *powerCut) judgeStore(c disk.Cut, root *os.File) error {
	s, err := p.open(root)
	if err != nil {
		return err
	}
	quiescent(s)
	errs := []error{disorder(s)}
	for tag, id := range p.ids {
		there, missing := p.may(tag, c.At)
		_, err := s.Get(p.remote.host() + "/app:" + tag)
		switch {
		case err == nil && !there:
			errs = append(errs, fmt.Errorf("image %s is back after its removal", tag))
		case err != nil && !missing:
			errs = append(errs, fmt.Errorf("image %s is lost: %w", tag, err))
		case err == nil:
			errs = append(errs, p.whole(s, tag, id))
		}
	}
	for _, id := range s.ListRW() {
		f, err := s.MountRW(id)
		if err == nil {
			err = f.Close()
		}
		errs = append(errs, err, s.RemoveRW(id))
	}
	for _, tag := range []string{"four", "two"} {
		_, err := s.Pull(p.t.Context(), p.remote.host()+"/app:"+tag, PullOptions{})
		errs = append(errs, err, p.whole(s, tag, p.ids[tag]))
	}
	errs = append(errs, disorder(s), s.Close())
	return errors.Join(errs...)
}

// whole tells whether an image is what it was when it was pulled.
func (p *powerCut) whole(s *Store, tag, id string) error {
	tree, err := treeOf(s, id)
	if err == nil && tree != p.trees[id] {
		err = errors.New("it is not the tree that was pulled")
	}
	if err != nil {
		return fmt.Errorf("image %s is damaged: %w", tag, err)
	}
	return nil
}

// judgeAll judges the cuts, some of them deep, for as long as there is time and what is
// wrong is not enough, and gives how many there were and those that were wrong.
func (p *powerCut) judgeAll(span time.Duration, deep bool, enough func(wrong []error) bool) (n int, wrong []error) {
	type job struct {
		cut disk.Cut
		n   int
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	jobs := make(chan job)
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for j := range jobs {
				if err := p.judge(j.cut, deep && j.n%16 == 0); err != nil {
					mu.Lock()
					wrong = append(wrong, fmt.Errorf("%s: %w", j.cut.Name, err))
					mu.Unlock()
				}
			}
		})
	}
	end := time.Now().Add(span)
	over := func() bool { mu.Lock(); defer mu.Unlock(); return enough(wrong) || time.Now().After(end) }
	seen := 0
	p.log.Cuts(*cutSeed, *cutRandom, func(c disk.Cut) bool {
		if seen++; underRace && seen%5 != 1 {
			return true // the detector looks for races, and they are no rarer in a part of the cuts
		}
		jobs <- job{c, n}
		n++
		return !over()
	})
	close(jobs)
	all.Wait()
	return n, wrong
}

// A power cut at any moment leaves every image that a Pull has given, whole; none
// that a Remove has taken; and nothing half-made. With data=writeback ext4 does not
// order a file's bytes before the names and sizes that lead to them.
func TestPowerCut(t *testing.T) {
	cases := [][2]string{{"ordered", FormatErofs}, {"writeback", FormatOverlay}}
	if *cutAll {
		cases = append(cases, [2]string{"writeback", FormatErofs}, [2]string{"ordered", FormatOverlay})
	}
	for _, c := range cases {
		t.Run(c[0]+" "+c[1], func(t *testing.T) {
			p := newPowerCut(t, c[0], c[1])
			p.work(func(*Store) {})
			n, wrong := p.judgeAll(*cutTime, true, func(wrong []error) bool { return len(wrong) >= 5 })
			t.Logf("%d cuts between %d flushes", n, p.log.Flushes())
			for _, err := range wrong {
				t.Error(err)
			}
		})
	}
}

// unsynced is a driver that does not wait for the disk.
type unsynced struct{ layer.Driver }

func (unsynced) Sync([]string) error { return nil }

func unsync(s *Store) {
	for name, d := range s.formats.drivers {
		s.formats.drivers[name] = unsynced{d}
	}
}

// The replay finds what a store does wrong.
func TestPowerCutFindsMistakes(t *testing.T) {
	for name, c := range map[string]struct {
		format string
		mutate func(*Store)
		lies   bool // the disk: it forgets flushes
		want   string
	}{
		"directories are not synced": {FormatOverlay, unsync, false, "damaged"},
		"files are not synced":       {FormatErofs, unsync, false, "damaged"},
		"flushes are forgotten":      {FormatErofs, func(*Store) {}, true, "lost"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPowerCut(t, "ordered", c.format)
			p.work(c.mutate)
			if c.lies {
				p.log.Forget()
			}
			found := func(wrong []error) bool { return strings.Contains(fmt.Sprint(wrong), c.want) }
			n, wrong := p.judgeAll(4*time.Minute, false, found)
			if !found(wrong) {
				t.Errorf("%d cuts found %v", n, wrong)
			}
			t.Logf("after %d cuts", n)
		})
	}
}
