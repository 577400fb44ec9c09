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

// add copies size bytes of content, and gives the block where they begin.
func (s *spill) add(content io.Reader, size int64) (block uint32, err error) {
	at := s.size
	if (at+size)/erofs.BlockSize >= 1<<32-1 {
		return 0, fmt.Errorf("sparse files of %d bytes: %w", at+size, unix.EFBIG)
	}
	for done := int64(0); done < size; {
		want := s.buf[:min(size-done, int64(len(s.buf)))]
		if _, err := io.ReadFull(content, want); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return 0, fmt.Errorf("%d bytes of %d: %w", done, size, err)
		}
		for p := 0; p < len(want); p += spillPiece {
			piece := want[p:min(p+spillPiece, len(want))]
			if isZero(piece) {
				continue
			}
			if _, err := s.f.WriteAt(piece, at+done+int64(p)); err != nil {
				return 0, err
			}
		}
		done += int64(len(want))
	}
	s.size = (at + size + erofs.BlockSize - 1) / erofs.BlockSize * erofs.BlockSize
	return uint32(at / erofs.BlockSize), nil
}

var zeros [spillPiece]byte

func isZero(piece []byte) bool { return bytes.Equal(piece, zeros[:len(piece)]) }

// settle copies the spill to its place in the layer's file, holes as holes, and
// moves its files there.
func (s *spill) settle(t *erofs.Tree, to *os.File, at int64) error {
	for _, id := range s.files {
		t.SetBlock(id, t.Extent(id).Block+uint32(at/erofs.BlockSize))
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
