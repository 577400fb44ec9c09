package imagestore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/varve-cri/varve/imagestore/layer"
	"github.com/varve-cri/varve/imagestore/scrub"
)

// openScrub begins the background check when it is configured.
func (s *Store) openScrub() {
	s.scrub = scrub.New(s.cfg.Root, scrub.Work{
		Check: s.CheckLayers,
		Repair: func(ctx context.Context) bool {
			s.repairAll(ctx)
			return len(s.Damaged()) > 0
		},
		Report: s.cfg.Report,
		Now:    s.cfg.now,
	})
	if s.cfg.CheckRate > 0 {
		s.scrub.Start(s.quit)
	}
}

// CheckLayers reads all layers again, the newest first, at the configured rate, and
// fetches those that are damaged again where a registry has them. The error tells of
// layers that could not be checked; the damaged ones are told by Damaged.
func (s *Store) CheckLayers(ctx context.Context) error {
	s.checking.Lock()
	defer s.checking.Unlock()
	rows := map[string]*layer.Metadata{} // one of each directory
	for _, l := range s.db.Snapshot().Layers {
		if s.formats.drivers[l.Format] != nil {
			rows[l.Tree] = l
		}
	}
	newest := make([]*layer.Metadata, 0, len(rows))
	for _, l := range rows {
		newest = append(newest, l)
	}
	slices.SortFunc(newest, func(a, b *layer.Metadata) int { return cmp.Or(b.Made.Compare(a.Made), strings.Compare(a.Tree, b.Tree)) })
	pace := scrub.NewPacer(ctx, s.cfg.CheckRate)
	var errs []error
	for _, l := range newest {
		if err := s.checkLayer(l, pace.Wait); err != nil {
			errs = append(errs, fmt.Errorf("layer %s: %w", l.Key(), err))
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	s.repairAll(ctx)
	return errors.Join(errs...)
}

// checkLayer checks one layer and notes what it finds.
func (s *Store) checkLayer(l *layer.Metadata, wait layer.Wait) error {
	key := l.Key()
	// A layer that is removed meanwhile must not look like a damaged one.
	s.hold([]layer.Key{key})
	defer s.release([]layer.Key{key})
	if now := s.db.Snapshot().Layers[key]; now == nil || now.Tree != l.Tree {
		return nil
	}
	err := s.formats.drivers[l.Format].Check(s.path("layers", l.Tree), l, wait)
	now := s.db.Snapshot().Layers[key]
	switch {
	case now == nil || now.Tree != l.Tree || errors.Is(err, layer.ErrNoSums):
		return nil // replaced meanwhile, or of an older store
	case errors.Is(err, layer.ErrDamaged):
		if now.Damaged == nil {
			s.cfg.Report(fmt.Sprintf("layer %s of %s is damaged: %v", key, strings.Join(namesOf(s.db.Snapshot(), key), ", "), err))
		}
		return s.setDamaged(l.Tree, &layer.Damaged{Problem: err.Error(), Found: s.cfg.now().UTC()})
	case err == nil && now.Damaged != nil:
		// The disk has thought better of it.
		return s.setDamaged(l.Tree, nil)
	}
	return err
}

// repairAll tries to fetch all damaged layers again.
func (s *Store) repairAll(ctx context.Context) {
	for _, d := range s.Damaged() {
		if ctx.Err() != nil {
			return
		}
		told := "fetched again"
		if err := s.repair(ctx, d.Layer); err != nil {
			told = "not fetched again: " + err.Error()
		}
		s.cfg.Report(fmt.Sprintf("damaged layer %s of %s: %s", d.Layer, strings.Join(d.Images, ", "), told))
	}
}

// errNameless is for layers whose images nobody can ask a registry for.
var errNameless = errors.New("no image with a name has it")

// repair pulls, by its digest, an image that has the layer; of it only what is
// damaged is transferred. The credentials that the image came with are not kept, so
// this may fail where the kubelet's next pull does not.
func (s *Store) repair(ctx context.Context, key layer.Key) error {
	err := errNameless
	for _, image := range s.List() {
		row := s.db.Snapshot().Images[digest.Digest(image.ID)]
		if row == nil || !slices.Contains(row.Keys(), key) {
			continue
		}
		for _, name := range image.Digests {
			if _, err = s.Pull(ctx, name, PullOptions{Platform: &row.Config.Platform}); err == nil {
				return nil
			}
		}
	}
	return err
}
