package imagestore

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/varve-cri/varve/imagestore/layer"
	"github.com/varve-cri/varve/imagestore/progress"
	"github.com/varve-cri/varve/imagestore/registry"
	"github.com/varve-cri/varve/imagestore/spool"
	"github.com/varve-cri/varve/imagestore/stream"
	"github.com/varve-cri/varve/imagestore/unpack"
)

// fetch is unpack, and unpack again when the blob was not what its digest says and
// there is another place to have it from: what was kept of it is thrown away, and
// the hosts that sent it are asked no more.
func (p *pull) fetch(ctx context.Context, i int, dir string) (*layer.Metadata, unpack.Needs, error) {
	d := p.manifest.Layers[i]
	for {
		replayed := false
		m, needs, err := p.unpack(ctx, i, dir, &replayed)
		if !errors.Is(err, stream.ErrBlob) {
			return m, needs, err
		}
		p.store.spool.Drop(d.Digest)
		if !replayed && !p.repository.Distrust(d) {
			return nil, needs, err
		}
		p.store.trash.Put(dir)
		if err := os.Mkdir(dir, 0o700); err != nil {
			return nil, needs, err
		}
	}
}

// settle decides, when layer i is made or not, what is kept of its blob: nothing
// of one that is in the store or can never be, and of none when there is no room.
func (p *pull) settle(i int, err error) {
	switch kind := kindOfUnpack(err); {
	case err == nil, kind == Digest, kind == Invalid:
		p.store.spool.Drop(p.manifest.Layers[i].Digest)
	case kind == NoSpace:
		p.store.spool.Empty()
	}
}

// sweepSpool removes what was kept of blobs and is too old by now.
func (s *Store) sweepSpool() {
	s.inBackground(func() {
		s.spool.Sweep()
		s.spoolTimer.Reset(time.Hour)
	})
}

// minKept is how much of a blob must be left for keeping it to begin.
const minKept = 4 << 20

// source gives a layer's blob: the bytes before those that an earlier pull kept,
// those, and the rest, of which it keeps what the network is slow to give.
type source struct {
	ctx        context.Context //nolint:containedctx // one transfer is one call, in the shape of a Reader
	repository *registry.Repository
	want       ocispec.Descriptor
	entry      *spool.Entry
	body       io.ReadCloser // from the network; nil while kept bytes are given
	chunk      []byte        // of the kept bytes
	at         int64
	kept       bool // bytes are being kept
	tail       bool // the kept bytes are behind
	after      time.Duration
	begun      time.Time
	waited     time.Duration
}

// open begins to fetch a blob; replayed tells whether bytes of an earlier pull are
// part of it.
func (p *pull) open(ctx context.Context, d ocispec.Descriptor, replayed *bool) (io.ReadCloser, error) {
	e := p.store.spool.Take(d.Digest, d.Size)
	if e == nil {
		return p.repository.Blob(ctx, d)
	}
	s := &source{ctx: ctx, repository: p.repository, want: d, entry: e, after: p.store.spool.After(), begun: time.Now()}
	var err error
	switch {
	case e.From() == e.To():
		s.tail = true
		s.body, err = p.repository.Blob(ctx, d)
	case e.From() > 0:
		*replayed = true
		s.body, err = p.repository.BlobRange(ctx, d, 0, e.From())
	default:
		*replayed = true
	}
	if err != nil {
		e.Close()
		return nil, err
	}
	return s, nil
}

// Read implements io.Reader.
func (s *source) Read(p []byte) (int, error) {
	for {
		if s.body != nil {
			n, err := s.network(p)
			if err != io.EOF || s.tail {
				return n, err
			}
			s.body.Close()
			s.body = nil
			if n > 0 {
				return n, nil
			}
		}
		if n, err := s.replay(p); n > 0 || err != nil {
			return n, err
		}
	}
}

// network reads what is not kept, and keeps it when it takes long to come.
func (s *source) network(p []byte) (int, error) {
	before := time.Now()
	n, err := s.body.Read(p)
	now := time.Now()
	s.waited += now.Sub(before)
	if s.tail && !s.kept && s.want.Size-s.at >= minKept {
		took := now.Sub(s.begun)
		s.kept = s.after < 0 || took >= s.after && s.waited > took/2
	}
	if s.tail && s.kept && n > 0 {
		s.entry.Keep(s.at, p[:n])
	}
	s.at += int64(n)
	return n, err
}

// replay gives kept bytes. Where they end the network goes on, and is kept too.
func (s *source) replay(p []byte) (int, error) {
	if len(s.chunk) == 0 {
		var err error
		if s.chunk, err = s.entry.Next(); err != nil {
			s.tail, s.kept = true, true
			if s.at == s.want.Size {
				return 0, io.EOF
			}
			s.body, err = s.repository.BlobRange(s.ctx, s.want, s.at, s.want.Size)
			return 0, err
		}
	}
	n := copy(p, s.chunk)
	progress.Of(s.ctx).Kept(n)
	s.chunk = s.chunk[n:]
	s.at += int64(n)
	return n, nil
}

// Close implements io.Closer. What was kept stays for the next pull.
func (s *source) Close() error {
	s.entry.Close()
	if s.body == nil {
		return nil
	}
	return s.body.Close()
}
