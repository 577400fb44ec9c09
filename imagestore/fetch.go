package imagestore

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/imagestore/fault"
	"github.com/varve-cri/varve/imagestore/index"
	"github.com/varve-cri/varve/imagestore/layer"
	"github.com/varve-cri/varve/imagestore/progress"
	"github.com/varve-cri/varve/imagestore/stream"
	"github.com/varve-cri/varve/imagestore/unpack"
)

// ensure makes the image's layer i present and gives its row. Pulls that want the
// same layer share one transfer.
func (p *pull) ensure(ctx context.Context, i int) (m *layer.Metadata, err error) {
	key := p.keys[i]
	ctx, leave := p.op.Join(ctx, i, key.String())
	defer func() { leave(err) }()
	return share(ctx, func() (*layer.Metadata, bool, error) {
		return p.store.layers.Do(ctx, key.String(), func(ctx context.Context) (*layer.Metadata, error) {
			ctx, cancel := context.WithCancelCause(ctx)
			defer cancel(nil)
			defer context.AfterFunc(p.store.quit, func() { cancel(errors.New("the image store is closing")) })()
			defer p.store.watchLoose(ctx)
			ctx, work := progress.Begin(ctx)
			m, err := p.makeLayer(ctx, i)
			p.settle(i, err)
			work.End(err)
			return m, err
		})
	})
}

// makeLayer gives layer i: the one that is there, or the same diff that another
// image brought, or a new one.
func (p *pull) makeLayer(ctx context.Context, i int) (*layer.Metadata, error) {
	s := p.store
	step := "unpack layer " + p.manifest.Layers[i].Digest.String()
	if m := s.db.Snapshot().Layers[p.keys[i]]; m != nil && m.Damaged == nil {
		progress.Of(ctx).Stage(progress.LayerPresent)
		return m, nil
	}
	release, err := s.diffs.Acquire(ctx, p.treeName(i, true))
	if err != nil {
		return nil, fault.Wrap(Canceled, step, err)
	}
	if m, err := p.adopt(i); m != nil || err != nil {
		release()
		if err == nil {
			progress.Of(ctx).Stage(progress.LayerPresent)
		}
		return m, fault.WrapOrNil(Internal, step, err)
	}
	dir, err := os.MkdirTemp(s.path("tmp"), "layer-")
	if err != nil {
		release()
		return nil, fault.Wrap(Internal, step, err)
	}
	m, needs, err := p.fetch(ctx, i, dir)
	// Only a layer that is complete by itself is of use to who waits for the diff; and
	// waiting for parents with the diff locked could be waiting in a circle.
	if err == nil && needs.None() {
		err = s.finish(ctx, dir, m)
		release()
	} else {
		release()
		if err == nil {
			err = p.inherit(ctx, i, dir, m, needs)
		}
	}
	if err != nil {
		told := fault.Wrap(kindOfUnpack(err), step, withKey(s.withRoom(err)))
		s.trash.Put(dir)
		return nil, told
	}
	return m, nil
}

// adopt makes a row for a diff whose content is there for another chain already.
func (p *pull) adopt(i int) (*layer.Metadata, error) {
	s := p.store
	s.mu.Lock()
	defer s.mu.Unlock()
	tree := p.treeName(i, true)
	for _, other := range s.db.Snapshot().Layers {
		if baseTree(other.Tree) != tree || other.Damaged != nil {
			continue
		}
		m := *other
		m.ID, m.Parent, m.History, m.Made = p.chains[i], p.parent(i), p.histories[i], s.cfg.now().UTC()
		return &m, s.db.Update(func(c *index.Change) error { return c.PutLayer(&m) })
	}
	return nil, nil
}

func (p *pull) parent(i int) digest.Digest {
	if i == 0 {
		return ""
	}
	return p.chains[i-1]
}

// treeName is the directory of layer i's content: content that is complete by
// itself is filed under its diff, for all chains; other content is its chain's own.
// Formats share no directory, and overlay's have no prefix because they were first.
func (p *pull) treeName(i int, complete bool) string {
	name := "chain-" + p.chains[i].Encoded()
	if complete {
		name = p.config.RootFS.DiffIDs[i].Encoded()
	}
	if format := p.driver.Name(); format != FormatOverlay {
		name = format + "-" + name
	}
	return name
}

// unpack streams layer i into dir; replayed is told of bytes that an earlier pull left.
func (p *pull) unpack(ctx context.Context, i int, dir string, replayed *bool) (*layer.Metadata, unpack.Needs, error) {
	s, d := p.store, p.manifest.Layers[i]
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		return nil, unpack.Needs{}, context.Cause(ctx)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.at("fetch layer")
	work := progress.Of(ctx)
	body, err := p.open(ctx, d, replayed)
	if err != nil {
		return nil, unpack.Needs{}, err
	}
	pass, err := stream.NewPass(ctx, work.Fetching(body), stream.Layer{Blob: d.Digest, Size: d.Size, Diff: p.config.RootFS.DiffIDs[i], Limit: s.cfg.MaxLayerBytes})
	if err != nil {
		body.Close()
		return nil, unpack.Needs{}, err
	}
	defer func() {
		// The cancel wakes the stage that waits for the network, so that Close can end it.
		cancel()
		_ = pass.Close()
		_ = body.Close()
	}()
	result, err := p.driver.Write(ctx, dir, p.total.counting(i, work.Unpacking(pass)), unpack.Limits{Bytes: s.cfg.MaxLayerBytes, Entries: s.cfg.MaxLayerEntries})
	if err != nil {
		return nil, unpack.Needs{}, blame(pass, err)
	}
	size, err := pass.Finish()
	if err != nil {
		return nil, unpack.Needs{}, blame(pass, err)
	}
	work.Unpacked(size)
	m := &layer.Metadata{
		ID: p.chains[i], Parent: p.parent(i), Diff: p.config.RootFS.DiffIDs[i], Format: p.driver.Name(),
		Blob: d.Digest, BlobSize: d.Size, MediaType: d.MediaType, TarSize: size,
		Bytes: result.Bytes, Inodes: result.Inodes, Root: result.Root,
		History: p.histories[i], Made: s.cfg.now().UTC(),
	}
	m.Tree = freshTree(s.db.Snapshot(), p.treeName(i, result.Needs.None()))
	return m, result.Needs, nil
}

// blame prefers, for content that could not be read, the news that the blob's
// bytes are not what their digest says.
func blame(pass *stream.Pass, err error) error {
	if kindOfUnpack(err) != Invalid || errors.Is(err, stream.ErrTooLarge) {
		return err
	}
	if mismatch := pass.Blame(); errors.Is(mismatch, stream.ErrMismatch) {
		return mismatch
	}
	return err
}

// inherit completes a layer that needs something from below, for which those
// layers must be there first.
func (p *pull) inherit(ctx context.Context, i int, dir string, m *layer.Metadata, needs unpack.Needs) error {
	var lower []string
	for j := i - 1; j >= 0; j-- {
		below, err := p.ensure(ctx, j)
		if err != nil {
			return err
		}
		lower = append(lower, p.store.path("layers", below.Tree))
	}
	more, err := p.driver.Inherit(ctx, dir, needs, lower)
	if err != nil {
		return err
	}
	m.Bytes += more.Bytes
	m.Inodes += more.Inodes
	return p.store.finish(ctx, dir, m)
}

// finish writes the metadata and commits, unless all callers have gone.
func (s *Store) finish(ctx context.Context, dir string, m *layer.Metadata) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	progress.Of(ctx).Stage(progress.LayerSyncing)
	weigh(dir, m)
	if err := m.Save(dir); err != nil {
		return fmt.Errorf("write metadata: %w", err)
	}
	return s.commit(dir, m)
}

// kindOfUnpack sorts what went wrong between the blob and the disk.
func kindOfUnpack(err error) Kind {
	known, entry := (*fault.Error)(nil), (*unpack.EntryError)(nil)
	errno := unix.Errno(0)
	switch {
	case errors.As(err, &known):
		return known.Kind
	case errors.Is(err, stream.ErrMismatch):
		return Digest
	case errors.Is(err, stream.ErrTooLarge), errors.Is(err, tar.ErrHeader), errors.Is(err, io.ErrUnexpectedEOF):
		return Invalid
	case errors.As(err, &errno):
		switch errno {
		case unix.ENOENT, unix.ENOTDIR, unix.ELOOP, unix.ENAMETOOLONG, unix.EINVAL:
			return Invalid
		case unix.ENOSPC, unix.EDQUOT:
			return NoSpace
		}
		return Internal
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return Canceled
	case errors.As(err, &entry):
		return Invalid
	}
	return Invalid
}
