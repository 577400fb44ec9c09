package stream

import (
	"context"
	"io"

	"github.com/opencontainers/go-digest"
)

// Layer is what is known of a layer's blob before it is read.
type Layer struct {
	Blob  digest.Digest
	Size  int64 // of the blob
	Diff  digest.Digest
	Limit int64 // of the uncompressed bytes
}

// Pass is one layer's way from blob to tar, in stages on their own goroutines:
// verify the blob | inflate | digest the diff | whoever reads the Pass. From the
// inflating on the same chunk is handed from stage to stage.
type Pass struct {
	blob, plain *Ahead
	inflate     io.Closer
	n           int64
}

// NewPass begins to read blob. To interrupt it, make blob's Read fail and end ctx,
// then Close.
func NewPass(ctx context.Context, blob io.Reader, l Layer) (*Pass, error) {
	packed := NewVerifier(blob, "blob "+l.Blob.String(), l.Blob, l.Size)
	packed.miss = ErrBlob
	p := &Pass{blob: NewAhead(packed, packedBytes, nil)}
	z, err := Inflate(ctx, p.blob)
	if err != nil {
		_ = p.blob.Close()
		return nil, err
	}
	p.inflate = z
	diff := NewVerifier(nil, "uncompressed layer "+l.Diff.String(), l.Diff, -1)
	p.plain = NewAhead(Limit(z, "layer "+l.Diff.String(), l.Limit), plainBytes, diff.see)
	return p, nil
}

// Read gives the uncompressed layer; io.EOF means that the diff id is right.
func (p *Pass) Read(b []byte) (int, error) {
	n, err := p.plain.Read(b)
	p.n += int64(n)
	return n, err
}

// Next is Read that hands the bytes over instead of copying them: they are the
// caller's until it asks for more.
func (p *Pass) Next() ([]byte, error) {
	b, err := p.plain.Next()
	p.n += int64(len(b))
	return b, err
}

// Finish reads what the tar reader left, so that both digests are of all bytes,
// and gives the number of uncompressed bytes.
func (p *Pass) Finish() (int64, error) {
	for {
		if _, err := p.Next(); err == io.EOF {
			break
		} else if err != nil {
			return 0, err
		}
	}
	// Bytes after the compressed stream's end are part of the blob too.
	if _, err := io.Copy(io.Discard, onlyReader{p.blob}); err != nil {
		return 0, err
	}
	return p.n, nil
}

// Blame tells, after content that could not be read, whether the blob's own bytes
// are to blame: it reads the rest of the blob and gives its mismatch, or nil.
func (p *Pass) Blame() error {
	_ = p.plain.Close()
	_, err := io.Copy(io.Discard, onlyReader{p.blob})
	return err
}

// Close ends the stages, last one first, and returns when all have ended.
func (p *Pass) Close() error {
	// A stage waits for a Read of the stage before it: stop them all, then wait.
	for _, a := range []*Ahead{p.blob, p.plain} {
		a.once.Do(func() { close(a.stop) })
	}
	_ = p.plain.Close()
	err := p.blob.Close()
	if z := p.inflate.Close(); err == nil {
		err = z
	}
	return err
}

type onlyReader struct{ io.Reader }
