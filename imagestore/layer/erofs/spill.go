package erofs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/imagestore/erofs"
)

// spillPiece is what is looked at for zeros: a block of most file systems.
const spillPiece = 4096

// spill gathers the content of files whose body in the archive is not their
// content as it stands, until it is known where the archive ends. It is a file
// without a name, with holes.
type spill struct {
	f     *os.File
	size  int64
	files []erofs.ID // whose data is here, with blocks counted from the spill's start
	buf   []byte
}

func newSpill(dir string) (*spill, error) {
	f, err := os.CreateTemp(dir, "spill")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, err
	}
	return &spill{f: f, buf: make([]byte, 16*spillPiece)}, nil
}

func (s *spill) close() {
	if s != nil {
		s.f.Close()
	}
}

// mostChunks bounds the map of one file: the bigger the file, the bigger its chunks.
const mostChunks = 4096

// add takes size bytes of content, and gives where they are. Chunks of zeros take
// no place.
func (s *spill) add(content io.Reader, size int64) (erofs.Chunks, error) {
	c := erofs.Chunks{Bits: 3} // spillPiece
	for size>>c.Bits/erofs.BlockSize >= mostChunks {
		c.Bits++
	}
	for done := int64(0); done < size; {
		chunk := min(size-done, erofs.BlockSize<<c.Bits)
		block, err := s.chunk(content, chunk)
		if err != nil {
			return c, fmt.Errorf("%d bytes after %d: %w", size, done, err)
		}
		c.Blocks = append(c.Blocks, block)
		done += chunk
	}
	return c, nil
}

// chunk takes one chunk, and gives its block.
func (s *spill) chunk(content io.Reader, size int64) (uint32, error) {
	if s.size+size > erofs.BlockSize<<31 {
		return 0, unix.EFBIG
	}
	empty := true
	for done := int64(0); done < size; {
		part := s.buf[:min(size-done, int64(len(s.buf)))]
		if _, err := io.ReadFull(content, part); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return 0, err
		}
		for p := 0; p < len(part); p += spillPiece {
			piece := part[p:min(p+spillPiece, len(part))]
			if isZero(piece) {
				continue
			}
			empty = false
			if _, err := s.f.WriteAt(piece, s.size+done+int64(p)); err != nil {
				return 0, err
			}
		}
		done += int64(len(part))
	}
	if empty {
		return erofs.Hole, nil
	}
	block := uint32(s.size / erofs.BlockSize)
	s.size = roundUp(s.size+size, erofs.BlockSize)
	return block, nil
}

var zeros [spillPiece]byte

func isZero(piece []byte) bool { return bytes.Equal(piece, zeros[:len(piece)]) }

// settle copies the spill to its place in the layer's file, holes as holes, and
// moves its files there.
func (s *spill) settle(t *erofs.Tree, to *os.File, at int64) error {
	for _, id := range s.files {
		t.Shift(id, uint32(at/erofs.BlockSize))
	}
	for from := int64(0); from < s.size; {
		start, err := s.f.Seek(from, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return nil // a hole to the end
		}
		if err != nil {
			return err
		}
		end, err := s.f.Seek(start, unix.SEEK_HOLE)
		if err != nil {
			return err
		}
		if _, err := s.f.Seek(start, io.SeekStart); err != nil {
			return err
		}
		if _, err := io.Copy(io.NewOffsetWriter(to, at+start), io.LimitReader(s.f, end-start)); err != nil {
			return err
		}
		from = end
	}
	return nil
}
