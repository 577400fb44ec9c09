package stream

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"testing/iotest"
	"time"

	"github.com/klauspost/compress/zstd"
)

// frame packs b with options; streamed frames do not know their size and have a window.
func frame(t testing.TB, b []byte, streamed bool, o ...zstd.EOption) []byte {
	t.Helper()
	var out bytes.Buffer
	z, err := zstd.NewWriter(&out, o...)
	if err != nil {
		t.Fatal(err)
	}
	if !streamed {
		return z.EncodeAll(b, nil)
	}
	for half := range 2 { // in two writes, so that the size is not known ahead
		_, _ = z.Write(b[half*len(b)/2 : (half+1)*len(b)/2])
		_ = z.Flush()
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// frames is a stream of all kinds of frames, and what is in it.
func frames(t testing.TB, window int) (packed, plain []byte) {
	t.Helper()
	same, mixed := make([]byte, 300<<10), content(300<<10)
	for _, f := range [][]byte{
		frame(t, mixed, true, zstd.WithEncoderCRC(true)),
		frame(t, mixed[:1000], false, zstd.WithEncoderCRC(false), zstd.WithSingleSegment(true)),
		frame(t, same, true, zstd.WithEncoderCRC(false)), // repeated bytes
		append([]byte{0x53, 0x2a, 0x4d, 0x18, 5, 0, 0, 0}, "skip!"...),
		frame(t, nil, true, zstd.WithZeroFrames(true)),
		frame(t, mixed, true, zstd.WithWindowSize(window)),
	} {
		packed = append(packed, f...)
	}
	for _, p := range [][]byte{mixed, mixed[:1000], same, mixed} {
		plain = append(plain, p...)
	}
	return packed, plain
}

func TestFramesAreFollowedToTheEnd(t *testing.T) {
	packed, plain := frames(t, 16<<20)
	for name, r := range map[string]io.Reader{
		"whole": bytes.NewReader(packed), "in pieces": iotest.OneByteReader(bytes.NewReader(packed)),
	} {
		w := &windows{src: newSource(r), ctx: t.Context()}
		z, err := zstd.NewReader(w)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(z)
		if err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%s: %d bytes of %d, %v", name, len(got), len(plain), err)
		}
		if w.pass != 0 || w.inFrame || !w.big {
			t.Errorf("%s: the last frame's end and window were not seen: %+v", name, w)
		}
		z.Close()
		w.Close()
	}
}

func TestOneBigWindowAtATime(t *testing.T) {
	packed, plain := frames(t, 64<<20)
	small, smallPlain := frames(t, 1<<20)
	open := func(ctx context.Context, b []byte) io.ReadCloser {
		z, err := Inflate(ctx, bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		return z
	}
	first := open(t.Context(), packed)
	if got, err := io.ReadAll(first); err != nil || !bytes.Equal(got, plain) {
		t.Fatalf("the first: %v", err)
	}
	other := open(t.Context(), small)
	if got, err := io.ReadAll(other); err != nil || !bytes.Equal(got, smallPlain) {
		t.Errorf("one with small windows beside it: %v", err)
	}
	_ = other.Close()

	gone := errors.New("nobody waits for it")
	ctx, cancel := context.WithCancelCause(t.Context())
	ended := make(chan error, 2)
	for _, z := range []io.ReadCloser{open(ctx, packed), open(t.Context(), packed)} {
		go func() {
			_, err := io.ReadAll(z)
			_ = z.Close()
			ended <- err
		}()
	}
	time.Sleep(50 * time.Millisecond) // enough for both to be at their last frame, or the test passes for nothing
	if len(ended) != 0 {
		t.Errorf("two big windows at a time: %v", <-ended)
	}
	cancel(gone)
	if err := <-ended; !errors.Is(err, gone) {
		t.Errorf("the one whose context ended: %v", err)
	}
	_ = first.Close()
	if err := <-ended; err != nil {
		t.Errorf("the one that waited: %v", err)
	}
}

// Whatever comes is passed on as it is.
func FuzzWindows(f *testing.F) {
	packed, _ := frames(f, 1<<20)
	f.Add(packed)
	f.Add(packed[:len(packed)/2])
	f.Add([]byte{0x28, 0xb5, 0x2f, 0xfd})
	f.Add([]byte{0x50, 0x2a, 0x4d, 0x18, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		w := &windows{src: newSource(bytes.NewReader(b)), ctx: t.Context()}
		defer w.Close()
		got, err := io.ReadAll(w)
		if err != nil || !bytes.Equal(got, b) {
			t.Fatalf("%d bytes of %d, %v", len(got), len(b), err)
		}
	})
}
