package erofs

// slab is a list that grows without moving what it holds, so that growth needs no
// second copy and pointers stay good.
type slab[T any] struct {
	pages [][]T
	n     uint32
}

const slabPage = 512

func (s *slab[T]) add(v T) uint32 {
	at := s.n % slabPage
	if at == 0 {
		s.pages = append(s.pages, make([]T, slabPage))
	}
	s.pages[s.n/slabPage][at] = v
	s.n++
	return s.n - 1
}

func (s *slab[T]) at(i uint32) *T { return &s.pages[i/slabPage][i%slabPage] }

// text holds the bytes of names and links, each in one piece.
type text struct {
	pages [][]byte
}

// textPage is more than the longest piece.
const textPage = 32 << 10

// add keeps a copy of s, which is shorter than a page, and gives its place.
func (t *text) add(s string) uint32 {
	last := len(t.pages) - 1
	if last < 0 || len(t.pages[last])+len(s) > textPage {
		t.pages = append(t.pages, make([]byte, 0, textPage))
		last++
	}
	at := len(t.pages[last])
	t.pages[last] = append(t.pages[last], s...)
	return uint32(last)*textPage + uint32(at)
}

func (t *text) at(i, n uint32) []byte {
	if n == 0 {
		return nil
	}
	return t.pages[i/textPage][i%textPage:][:n]
}
