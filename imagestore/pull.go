package imagestore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/varve-cri/varve/imagestore/fault"
	"github.com/varve-cri/varve/imagestore/index"
	"github.com/varve-cri/varve/imagestore/layer"
	"github.com/varve-cri/varve/imagestore/manifest"
	"github.com/varve-cri/varve/imagestore/progress"
	"github.com/varve-cri/varve/imagestore/reference"
	"github.com/varve-cri/varve/imagestore/registry"
)

// pull is one Pull on its way. What it learns is set once and then only read.
type pull struct {
	store      *Store
	ref        reference.Reference
	platform   ocispec.Platform
	format     string // that the caller wants for a new image
	repository *registry.Repository
	op         *progress.Pull

	top       digest.Digest // of what the reference names: a manifest or an index
	body      []byte        // of the manifest
	manifest  *ocispec.Manifest
	digest    digest.Digest // of the manifest
	rawConfig []byte
	config    ocispec.Image
	chains    []digest.Digest
	driver    layer.Driver // of the format that the image gets, or has
	keys      []layer.Key  // of the layers, lowest first
	histories []*ocispec.History
	total     *total
}

// Pull brings the image that ref names; the error is a *PullError. An image that
// is here already costs one question to the registry.
func (s *Store) Pull(ctx context.Context, ref string, opt PullOptions) (Image, error) {
	op := opt.Operation
	if op == nil {
		op = s.Begin(ref, opt.Platform)
	}
	image, err := s.pull(op.Context(ctx), op, ref, opt)
	if err == nil {
		op.End(image.ID, nil)
		return image, nil
	}
	told := *fault.Wrap(Internal, "store image", err)
	told.Ref, told.Err = ref, s.withRoom(told.Err)
	if ctx.Err() != nil {
		told.Kind, told.Err = Canceled, context.Cause(ctx)
	}
	op.End("", &told)
	return Image{}, &told
}

func (s *Store) pull(ctx context.Context, op *progress.Pull, ref string, opt PullOptions) (Image, error) {
	parsed, err := reference.Parse(ref)
	if err != nil {
		return Image{}, fault.New(Invalid, "read reference", err)
	}
	p := &pull{store: s, ref: parsed, platform: s.cfg.Platform, format: opt.Format, op: op}
	if opt.Platform != nil {
		p.platform = *opt.Platform
	}
	if p.repository, err = s.sources.Load().client.Repository(parsed, opt.Auth); err != nil {
		return Image{}, fault.Wrap(Invalid, "find registry", err)
	}
	if opt.Platform == nil {
		if image, ok, err := p.unchanged(ctx); ok || err != nil {
			return image, err
		}
	}
	for _, step := range []func(context.Context) error{p.fetchManifest, p.fetchConfig} {
		if err := step(ctx); err != nil {
			return Image{}, err
		}
	}
	// From here on nothing that the image needs may be collected.
	s.hold(p.keys)
	defer s.release(p.keys)
	if err := p.fetchLayers(ctx); err != nil {
		return Image{}, err
	}
	op.Stage(progress.Joining)
	joined, err := p.join(ctx)
	if err != nil {
		return Image{}, fault.Wrap(kindOfUnpack(err), "join layers", err)
	}
	op.Stage(progress.Commit)
	return p.commit(joined)
}

// unchanged asks whether a name that is known still leads to the same image.
func (p *pull) unchanged(ctx context.Context) (Image, bool, error) {
	v := p.store.now()
	if _, ok := v.byID[v.of.Names[p.ref.String()]]; !ok {
		return Image{}, false, nil
	}
	d, err := p.repository.Resolve(ctx, p.ref.Target())
	if err != nil {
		if fault.KindOf(err) == Invalid {
			return Image{}, false, nil // the registry has no HEAD: GET will tell
		}
		return Image{}, false, err
	}
	// Another image may have been removed or pulled meanwhile, so look again.
	v = p.store.now()
	id := v.of.Names[p.ref.AtDigest(d)]
	i, ok := v.byID[id]
	if d == "" || !ok || v.of.Names[p.ref.String()] != id || v.images[i].Damaged != "" {
		return Image{}, false, nil
	}
	p.op.Unchanged()
	return v.images[i], true, nil
}

// fetchManifest follows the reference through indexes to the platform's manifest.
func (p *pull) fetchManifest(ctx context.Context) error {
	target, size := p.ref.Target(), int64(-1)
	for depth := 0; ; depth++ {
		m, err := p.repository.Manifest(ctx, target)
		if err != nil {
			return err
		}
		step := "read manifest " + m.Digest.String()
		if size >= 0 && int64(len(m.Body)) != size {
			return fault.New(Digest, step, fmt.Errorf("%d bytes, and the index says %d", len(m.Body), size))
		}
		if p.top == "" {
			p.top = m.Digest
		}
		doc, err := manifest.Parse(m.Body, m.Type)
		if errors.Is(err, manifest.ErrArtifact) {
			return fault.New(Artifact, step, err)
		}
		if err != nil {
			return fault.New(Invalid, step, err)
		}
		if doc.Manifest != nil {
			p.manifest, p.digest, p.body = doc.Manifest, m.Digest, m.Body
			return nil
		}
		if depth >= manifest.MaxDepth {
			return fault.New(Invalid, step, fmt.Errorf("more than %d indexes within each other", manifest.MaxDepth))
		}
		chosen, err := manifest.Choose(doc.Index, p.platform)
		if err != nil {
			return fault.New(Platform, "choose platform", err)
		}
		target, size = chosen.Digest.String(), chosen.Size
	}
}

// fetchConfig reads the config and, with it, what the layers are.
func (p *pull) fetchConfig(ctx context.Context) (err error) {
	p.op.Stage(progress.Config)
	d := p.manifest.Config
	p.rawConfig, err = share(ctx, func() ([]byte, bool, error) {
		return p.store.configs.Do(ctx, d.Digest.String(), func(ctx context.Context) ([]byte, error) {
			return p.repository.Small(ctx, d)
		})
	})
	if err != nil {
		return fault.Wrap(Unavailable, "fetch config "+d.Digest.String(), err)
	}
	step := "read config " + d.Digest.String()
	if p.config, err = manifest.ParseConfig(p.rawConfig, len(p.manifest.Layers)); err != nil {
		return fault.New(Invalid, step, err)
	}
	if err := manifest.CheckPlatform(p.config, p.platform); err != nil {
		return fault.New(Platform, step, err)
	}
	p.chains = manifest.ChainIDs(p.config.RootFS.DiffIDs)
	p.histories = manifest.Histories(p.config)
	p.driver = p.store.formatOf(d.Digest, p.format)
	p.keys = layer.Keys(p.chains, p.driver.Name())
	return nil
}

// share does shared work once more when it was another caller's that failed: that
// one's credentials or deadline say nothing of ours.
func share[T any](ctx context.Context, do func() (T, bool, error)) (T, error) {
	value, shared, err := do()
	if err != nil && shared && ctx.Err() == nil {
		value, _, err = do()
	}
	return value, err
}

// fetchLayers makes all layers present, in parallel; the first error stops the rest.
// The biggest begin, so that in the end no big one has the processors alone.
func (p *pull) fetchLayers(ctx context.Context) error {
	if err := p.checkBlobs(); err != nil {
		return err
	}
	p.op.Layers(p.blobs())
	p.total = newTotal(p.store.cfg.MaxImageBytes, len(p.chains))
	order := make([]int, len(p.chains))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Compare(p.manifest.Layers[b].Size, p.manifest.Layers[a].Size)
	})
	group, ctx := errgroup.WithContext(ctx)
	for _, i := range order {
		group.Go(func() error {
			m, err := p.ensure(ctx, i)
			if err != nil {
				return err
			}
			return p.present(i, m)
		})
	}
	return group.Wait()
}

// commit writes the image's row and names; what they replace keeps its digest's name.
func (p *pull) commit(joined uint64) (Image, error) {
	s := p.store
	id := p.manifest.Config.Digest
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at("write image")
	err := s.db.Update(func(c *index.Change) error {
		row := &index.Image{
			ID: id, Manifest: p.digest, Layers: p.chains, Pulled: s.cfg.now().UTC(), Format: p.driver.Name(), StackBytes: joined,
			Annotations: manifest.Annotations(p.manifest), Config: p.config, ConfigSize: len(p.rawConfig),
		}
		if old := c.Images[id]; old != nil {
			row.Pulled = old.Pulled
			if s.formats.drivers[old.Format] != nil && old.Format != row.Format {
				// A pull that wants another format was quicker: containers may stand on
				// what it brought.
				row.Format, row.StackBytes = old.Format, old.StackBytes
			}
			// One image may come under several manifests; the row knows the newest.
			if err := c.DeleteContent(old.Manifest); err != nil {
				return err
			}
		}
		for _, k := range row.Keys() {
			if c.Layers[k] == nil {
				return fmt.Errorf("layer %s is not in the store", k)
			}
		}
		errs := []error{c.PutContent(id, p.rawConfig), c.PutContent(p.digest, p.body), c.PutImage(row), c.PutName(p.ref.AtDigest(p.top), id)}
		if p.ref.Tag != "" {
			errs = append(errs, c.PutName(p.ref.String(), id))
		}
		return errors.Join(errs...)
	})
	if err != nil {
		return Image{}, fault.Wrap(Internal, "write image", err)
	}
	s.at("image written")
	v := s.now()
	return v.images[v.byID[id]], nil
}
