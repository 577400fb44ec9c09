package stream

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
)

func pack(t testing.TB, format string, plain []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	var w io.WriteCloser
	switch format {
	case "gzip":
		w = gzip.NewWriter(&out)
	case "zstd":
		w, _ = zstd.NewWriter(&out)
	default:
		return plain
	}
	if _, err := w.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func content(n int) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range b {
		b[i] = byte(r.IntN(17))
	}
	return b
}

func TestPass(t *testing.T) {
	before := runtime.NumGoroutine()
	plain := content(3<<20 + 17)
	for _, format := range []string{"gzip", "zstd", "plain"} {
		blob := pack(t, format, plain)
		good := Layer{Blob: digest.FromBytes(blob), Size: int64(len(blob)), Diff: digest.FromBytes(plain), Limit: 4 << 20}
		run := func(l Layer, r io.Reader) ([]byte, error) {
			p, err := NewPass(t.Context(), r, l)
			if err != nil {
				return nil, err
			}
			defer p.Close()
			got := make([]byte, 1<<20)
			if _, err := io.ReadFull(p, got); err != nil {
				return got, err
			}
			n, err := p.Finish()
			if err == nil && n != int64(len(plain)) {
				t.Errorf("%s: %d bytes, want %d", format, n, len(plain))
			}
			return got, err
		}
		if got, err := run(good, iotest.HalfReader(bytes.NewReader(blob))); err != nil || !bytes.Equal(got, plain[:1<<20]) {
			t.Errorf("%s: %v", format, err)
		}
		for name, c := range map[string]struct {
			l    Layer
			r    io.Reader
			want error
		}{
			"truncated":    {good, bytes.NewReader(blob[:len(blob)-9]), nil},
			"longer":       {good, bytes.NewReader(append(blob[:len(blob):len(blob)], 0)), ErrMismatch},
			"other bytes":  {Layer{digest.FromString("x"), good.Size, good.Diff, good.Limit}, bytes.NewReader(blob), ErrMismatch},
			"lying diff":   {Layer{good.Blob, good.Size, digest.FromString("x"), good.Limit}, bytes.NewReader(blob), ErrMismatch},
			"wrong size":   {Layer{good.Blob, good.Size - 1, good.Diff, good.Limit}, bytes.NewReader(blob), ErrMismatch},
			"bomb":         {Layer{good.Blob, good.Size, good.Diff, 2 << 20}, bytes.NewReader(blob), ErrTooLarge},
			"broken pipe":  {good, io.MultiReader(bytes.NewReader(blob[:999]), iotest.ErrReader(io.ErrClosedPipe)), io.ErrClosedPipe},
			"no bytes yet": {good, iotest.ErrReader(io.ErrClosedPipe), io.ErrClosedPipe},
		} {
			if _, err := run(c.l, c.r); err == nil || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("%s, %s: error %v, want %v", format, name, err, c.want)
			}
		}
	}
	for end := time.Now().Add(time.Minute); runtime.NumGoroutine() > before; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
	}
}

func TestCloseWhileStagesWait(t *testing.T) {
	blob := pack(t, "gzip", content(8<<20))
	r, w := io.Pipe()
	go func() { _, _ = w.Write(blob[:len(blob)/2]) }()
	p, err := NewPass(t.Context(), r, Layer{Blob: digest.FromBytes(blob), Size: int64(len(blob)), Diff: digest.FromString("x"), Limit: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	closed := make(chan struct{})
	time.AfterFunc(20*time.Millisecond, func() { _ = r.CloseWithError(io.ErrUnexpectedEOF) })
	go func() { _ = p.Close(); close(closed) }()
	select {
	case <-closed:
	case <-time.After(time.Minute):
		t.Fatal("Close hangs")
	}
}

func FuzzInflate(f *testing.F) {
	f.Add(pack(f, "gzip", []byte("some bytes")))
	f.Add(pack(f, "zstd", []byte("some bytes")))
	f.Add([]byte(strings.Repeat("plain", 9)))
	f.Fuzz(func(t *testing.T, b []byte) {
		z, err := Inflate(t.Context(), bytes.NewReader(b))
		if err != nil {
			return
		}
		defer z.Close()
		_, _ = io.Copy(io.Discard, Limit(z, "fuzz", 16<<20))
	})
}
