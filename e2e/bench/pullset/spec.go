package pullset

import "math/rand/v2"

// version names the generator's output in the cache: raise it with every change.
const version = 3

// Spec says what an image is like.
type Spec struct {
	Name    string // also its repository
	Layers  []int  // weight of each layer, lowest first
	Entries int
	Bytes   int64
	Noise   float64 // the share of bytes that do not compress
	Big     float64 // the share of bytes in big files
}

// Big is the image of twelve layers: 381 MiB of gzip.
var Big = Spec{
	Name: "bench/big", Layers: []int{20, 5, 12, 3, 8, 1, 15, 4, 10, 2, 16, 4},
	Entries: 76_900, Bytes: 1098 << 20, Noise: 0.07, Big: 0.5,
}

// Small is the image of one layer: 49 MiB of gzip.
var Small = Spec{Name: "bench/small", Layers: []int{1}, Entries: 6_660, Bytes: 121 << 20, Noise: 0.145, Big: 0.5}

// share is the part of total that layer i gets.
func (s Spec) share(total int64, i int) int64 {
	sum := 0
	for _, w := range s.Layers {
		sum += w
	}
	return total * int64(s.Layers[i]) / int64(sum)
}

// random is a generator for one purpose, the same on every machine.
func (s Spec) random(purpose uint64) *rand.Rand {
	return rand.New(rand.NewPCG(uint64(s.Bytes), purpose<<8|version))
}

// poolSize is far more than the 32 KiB that deflate looks back, so that two
// files that begin anywhere in the pool are strangers to each other.
const poolSize = 16 << 20

// pool is the bytes that all files' contents are cut from: stretches of words
// and of noise.
func (s Spec) pool() []byte {
	r := s.random(1 << 20)
	l := lines{r: r}
	for range 2000 {
		word := make([]byte, 2+r.IntN(9))
		for j := range word {
			word[j] = byte('a' + r.IntN(26))
		}
		l.words = append(l.words, append(word, ' '))
	}
	out := make([]byte, 0, poolSize+4096)
	for noise := 0; len(out) < poolSize; {
		if float64(noise) < s.Noise*float64(len(out)) {
			noise += 1024
			for range 128 {
				v := r.Uint64()
				out = append(out, byte(v), byte(v>>8), byte(v>>16), byte(v>>24), byte(v>>32), byte(v>>40), byte(v>>48), byte(v>>56))
			}
			continue
		}
		out = l.line(out)
	}
	return out[:poolSize]
}

// lines makes text that repeats itself as source files, tables and programs do.
type lines struct {
	r     *rand.Rand
	words [][]byte
}

// line appends a line to out: new words, of which few are common and many rare,
// or a stretch of what was said not long ago.
func (l *lines) line(out []byte) []byte {
	if back := 100 + l.r.IntN(12_000); back < len(out) && l.r.IntN(100) < 55 {
		from := len(out) - back
		return append(out, out[from:from+30+l.r.IntN(60)]...)
	}
	for range 4 + l.r.IntN(12) {
		f := l.r.Float64()
		out = append(out, l.words[int(f*f*f*float64(len(l.words)))]...)
	}
	return append(out, '\n')
}
