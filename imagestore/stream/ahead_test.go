package stream

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"
)

// Bytes come once and in order, whether they are read or handed over.
func TestAheadNextAndRead(t *testing.T) {
	want := content(5*packedBytes + 13)
	a := NewAhead(iotest.HalfReader(bytes.NewReader(want)), packedBytes, nil)
	defer a.Close()
	var got []byte
	for i := 0; ; i++ {
		if i%2 == 0 {
			p := make([]byte, 1000+i)
			n, err := a.Read(p)
			got = append(got, p[:n]...)
			if err == io.EOF {
				break
			}
			continue
		}
		b, err := a.Next()
		got = append(got, b...)
		if err == io.EOF {
			break
		}
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%d bytes, want %d", len(got), len(want))
	}
	if _, err := a.Next(); err != io.EOF {
		t.Errorf("after the end: %v", err)
	}
}

// The check sees every byte before the reader does, and its word is the last.
func TestAheadCheck(t *testing.T) {
	oops := errors.New("oops")
	want := content(3*packedBytes + 1)
	var seen []byte
	a := NewAhead(bytes.NewReader(want), packedBytes, func(p []byte, err error) error {
		seen = append(seen, p...)
		if err == io.EOF {
			return oops
		}
		return err
	})
	defer a.Close()
	got, err := io.ReadAll(a)
	if !errors.Is(err, oops) || !bytes.Equal(got, want) || !bytes.Equal(seen, want) {
		t.Errorf("%v, %d bytes, %d seen, want %d", err, len(got), len(seen), len(want))
	}
}

// Chunks that went back are used again, and never by two at a time.
func TestAheadChunksAreUsedAgain(t *testing.T) {
	want := content(3 * plainBytes)
	for range 20 {
		a := NewAhead(bytes.NewReader(want), plainBytes, nil)
		b := NewAhead(bytes.NewReader(want), plainBytes, nil)
		x, err := a.Next()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.Next(); err != nil {
			t.Fatal(err)
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Next(); err != io.ErrClosedPipe {
			t.Errorf("after Close: %v", err)
		}
		c := NewAhead(bytes.NewReader(make([]byte, 4*plainBytes)), plainBytes, nil)
		if _, err := c.Next(); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(x, want[:plainBytes]) {
			t.Fatal("a chunk was given to two")
		}
		_, _ = a.Close(), c.Close()
	}
}
