package stream

import (
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
// verify the blob | inflate | digest the diff | whoever reads the Pass.
type Pass struct {
	blob, plain, diff *Ahead
	inflate           io.Closer
	counted           counter
}

// NewPass begins to read blob. To interrupt it, make blob's Read fail, then Close.
func NewPass(blob io.Reader, l Layer) (*Pass, error) {
	p := &Pass{blob: NewAhead(NewVerifier(blob, "blob "+l.Blob.String(), l.Blob, l.Size))}
	z, err := Inflate(p.blob)
	if err != nil {
		_ = p.blob.Close()
		return nil, err
	}
	p.inflate = z
	p.plain = NewAhead(Limit(z, "layer "+l.Diff.String(), l.Limit))
	p.diff = NewAhead(NewVerifier(p.plain, "uncompressed layer "+l.Diff.String(), l.Diff, -1))
	p.counted.r = p.diff
	return p, nil
}

// Read gives the uncompressed layer; io.EOF means that the diff id is right.
func (p *Pass) Read(b []byte) (int, error) { return p.counted.Read(b) }

// Finish reads what the tar reader left, so that both digests are of all bytes,
// and gives the number of uncompressed bytes.
func (p *Pass) Finish() (int64, error) {
	if _, err := io.Copy(io.Discard, onlyReader{&p.counted}); err != nil {
		return 0, err
	}
	// Bytes after the compressed stream's end are part of the blob too.
	if _, err := io.Copy(io.Discard, onlyReader{p.blob}); err != nil {
		return 0, err
	}
	return p.counted.n, nil
}

// Blame tells, after content that could not be read, whether the blob's own bytes
// are to blame: it reads the rest of the blob and gives its mismatch, or nil.
func (p *Pass) Blame() error {
	_ = p.diff.Close()
	_ = p.plain.Close()
	_, err := io.Copy(io.Discard, onlyReader{p.blob})
	return err
}

// Close ends the stages, last one first, and returns when all have ended.
func (p *Pass) Close() error {
	// A stage waits for a Read of the stage before it: stop them all, then wait.
	for _, a := range []*Ahead{p.blob, p.plain, p.diff} {
		a.once.Do(func() { close(a.stop) })
	}
	_ = p.diff.Close()
	_ = p.plain.Close()
	err := p.blob.Close()
	if z := p.inflate.Close(); err == nil {
		err = z
	}
	return err
}

type onlyReader struct{ io.Reader }

type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}
