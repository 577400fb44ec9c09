package gunzip

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	fast "github.com/klauspost/compress/gzip"
)

// pieces hands bytes over in pieces of a size.
type pieces struct {
	b    []byte
	size int
}

func (p *pieces) Next() ([]byte, error) {
	if len(p.b) == 0 {
		return nil, io.EOF
	}
	n := min(p.size, len(p.b))
	// A copy, so that who keeps a piece too long is found out.
	piece := bytes.Clone(p.b[:n])
	p.b = p.b[n:]
	return piece, nil
}

func packed(t testing.TB, level int, plain []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, level)
	if err == nil {
		_, err = w.Write(plain)
	}
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// readAll reads with buffers of a size.
func readAll(r io.Reader, size int) (all []byte, err error) {
	buf := make([]byte, size)
	for {
		n, err := r.Read(buf)
		all = append(all, buf[:n]...)
		for i := range buf { // what a reader left behind must not be needed
			buf[i] = 0xaa
		}
		if err != nil {
			if err == io.EOF {
				err = nil
			}
			return all, err
		}
	}
}

// samples are of all kinds: what compresses well, badly, with near and far matches,
// and with codes of all lengths.
func samples() map[string][]byte {
	r := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 300<<10)
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	var words, skewed bytes.Buffer
	for words.Len() < 700<<10 {
		fmt.Fprintf(&words, "%x %s\n", r.IntN(5000), strings.Repeat("ab", r.IntN(20)))
	}
	for range 400 << 10 {
		skewed.WriteByte(byte(r.ExpFloat64() * 9))
	}
	far := append(append(bytes.Clone(noise[:32<<10]), noise[:32<<10]...), noise[100:40<<10]...)
	return map[string][]byte{
		"empty": nil, "one": {'x'}, "noise": noise, "words": words.Bytes(), "skewed": skewed.Bytes(), "far": far,
		"zeros": make([]byte, 1<<20), "pairs": bytes.Repeat([]byte("ab"), 100<<10), "sevens": bytes.Repeat([]byte("abcdefg"), 100<<10),
		"mixed": append(append(bytes.Clone(noise[:70<<10]), make([]byte, 70<<10)...), words.Bytes()...),
	}
}

func TestRead(t *testing.T) {
	for name, plain := range samples() {
		for _, level := range []int{gzip.HuffmanOnly, gzip.NoCompression, 1, 6, 9} {
			z := packed(t, level, plain)
			for _, c := range []struct{ piece, buf int }{{1 << 20, 1 << 20}, {64 << 10, 100_003}, {1000, 4099}, {17, 1 << 20}, {1 << 20, 300}} {
				got, err := readAll(NewReader(&pieces{z, c.piece}), c.buf)
				if err != nil || !bytes.Equal(got, plain) {
					t.Errorf("%s, level %d, pieces of %d, buffers of %d: %d bytes of %d, %v", name, level, c.piece, c.buf, len(got), len(plain), err)
				}
			}
		}
	}
}

func TestMembersAndHeaders(t *testing.T) {
	var b bytes.Buffer
	for i := range 3 {
		w := gzip.NewWriter(&b)
		w.Name, w.Comment, w.Extra = "name", "comment", []byte("extra")
		fmt.Fprintf(w, "member %d ", i)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	got, err := readAll(NewReader(&pieces{b.Bytes(), 7}), 5)
	if err != nil || string(got) != "member 0 member 1 member 2 " {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := readAll(NewReader(&pieces{append(b.Bytes(), 0, 0), 7}), 5); err == nil {
		t.Error("bytes behind the last member are no error")
	}
}

// Every cut and every wrong bit ends as with compress/gzip.
func TestDamage(t *testing.T) {
	plain := samples()["words"][:900]
	z := packed(t, 6, plain)
	for n := range len(z) {
		if _, err := readAll(NewReader(&pieces{z[:n], 100}), 1<<16); !errors.Is(err, io.ErrUnexpectedEOF) && n > 0 {
			t.Errorf("cut at %d: %v", n, err)
		}
	}
	for bit := range len(z) * 8 {
		bad := bytes.Clone(z)
		bad[bit/8] ^= 1 << (bit % 8)
		same(t, bad, 1<<16)
	}
}

// same compares with compress/gzip: what is read, and whether it is sound.
func same(t *testing.T, z []byte, size int) {
	t.Helper()
	const most = 1 << 20
	var want []byte
	std, wantErr := gzip.NewReader(bytes.NewReader(z))
	if wantErr == nil {
		want, wantErr = io.ReadAll(io.LimitReader(std, most))
	}
	got, err := readAll(io.LimitReader(NewReader(&pieces{z, 64}), most), size)
	if (err == nil) != (wantErr == nil) || err == nil && !bytes.Equal(got, want) {
		t.Errorf("%x: %d bytes, %v; compress/gzip has %d, %v", z[:min(len(z), 100)], len(got), err, len(want), wantErr)
	}
}

func TestSourceFails(t *testing.T) {
	z := packed(t, 6, samples()["words"])
	oops := errors.New("oops")
	_, err := readAll(NewReader(failing{&pieces{z[:len(z)/2], 1000}, oops}), 1<<16)
	if !errors.Is(err, oops) {
		t.Errorf("%v", err)
	}
}

type failing struct {
	*pieces
	err error
}

func (f failing) Next() ([]byte, error) {
	b, err := f.pieces.Next()
	if err == io.EOF {
		err = f.err
	}
	return b, err
}

func FuzzRead(f *testing.F) {
	for _, level := range []int{gzip.HuffmanOnly, 0, 1, 9} {
		f.Add(packed(f, level, []byte(strings.Repeat("some bytes and ", 99))), 100)
	}
	f.Fuzz(func(t *testing.T, z []byte, size int) {
		same(t, z, 1+size&0xffff)
		// The checksums keep most inputs out, so the bits are tried without them too.
		head := []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0}
		same(t, append(head, z...), 1+size&0xffff)
	})
}

func BenchmarkRead(b *testing.B) {
	plain := bytes.Repeat(samples()["mixed"], 8)
	z := packed(b, 6, plain)
	buf := make([]byte, 1<<20)
	for name, open := range map[string]func() io.Reader{
		"gunzip": func() io.Reader { return NewReader(&pieces{z, 128 << 10}) },
		"general": func() io.Reader {
			r, err := fast.NewReader(bytes.NewReader(z))
			if err != nil {
				b.Fatal(err)
			}
			return r
		},
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(plain)))
			for b.Loop() {
				r := open()
				var err error
				for err == nil {
					_, err = r.Read(buf)
				}
				if err != io.EOF {
					b.Fatal(err)
				}
			}
		})
	}
}
