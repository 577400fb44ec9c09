package stream

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"

	"github.com/varve-cri/varve/imagestore/gunzip"
)

// maxWindow is the largest zstd window that we give memory for: what
// "zstd --long" makes.
const maxWindow = 128 << 20

var (
	gzipMagic      = []byte{0x1f, 0x8b}
	zstdMagic      = []byte{0x28, 0xb5, 0x2f, 0xfd}
	zstdSkipMagics = []byte{0x2a, 0x4d, 0x18} // after 0x50…0x5f
)

// unread are formats that other tools pack layers with and that no layer's media
// type has. A tar begins with a file's name, and no such name is likely; the
// error is better than one about a tar header.
var unread = []struct{ name, magic string }{
	{"xz", "\xfd7zXZ\x00"}, {"bzip2", "BZh91AY&SY"}, {"lz4", "\x04\x22\x4d\x18"},
}

// Inflate undoes gzip or zstd, told by the first bytes and not by the media type,
// which registries get wrong; anything else passes as it is. The digest of what
// comes out decides whether the guess was right. No program is run for it
// (CVE-2026-41567).
//
// Of zstd streams with a window over 8 MiB one is undone at a time, in the whole
// process; waiting for the others ends with ctx.
func Inflate(ctx context.Context, r io.Reader) (io.ReadCloser, error) {
	b := newSource(r)
	most, err := b.peek(10)
	if err != nil && err != io.EOF {
		return nil, err
	}
	for _, u := range unread {
		if bytes.HasPrefix(most, []byte(u.magic)) {
			return nil, fmt.Errorf("the layer is packed with %s: only gzip, zstd and plain tar are supported", u.name)
		}
	}
	head := most[:min(4, len(most))]
	switch {
	case bytes.HasPrefix(head, gzipMagic):
		return named{gunzip.NewReader(b), func() error { return nil }, "gzip"}, nil
	case bytes.Equal(head, zstdMagic), len(head) == 4 && head[0]&0xf0 == 0x50 && bytes.Equal(head[1:], zstdSkipMagics):
		// One goroutine of its own is the stage's; more would take the processors from
		// the other layers.
		w := &windows{src: b, ctx: ctx}
		z, err := zstd.NewReader(w, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, fmt.Errorf("zstd: %w", err)
		}
		return named{z, func() error { z.Close(); w.Close(); return nil }, "zstd"}, nil
	}
	return named{b, func() error { return nil }, "plain"}, nil
}

// named says in its errors which format could not be read.
type named struct {
	io.Reader
	close  func() error
	format string
}

func (n named) Read(p []byte) (int, error) {
	m, err := n.Reader.Read(p)
	if err != nil && err != io.EOF && n.format != "plain" {
		err = fmt.Errorf("%s: %w", n.format, err)
	}
	return m, err
}

func (n named) Close() error { return n.close() }
