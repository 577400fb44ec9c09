package overlay

import (
	"bufio"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/imagestore/unpack"
)

// sumsName is the file beside a layer's tree that lists what the tree holds, in the
// order of a walk, one line each:
//
//	mode uid gid size sum xattrs shared "rest of the path"
//
// mode is octal and the sums are hexadecimal; the path begins with so many bytes of
// the path before. The last line is "end", the number of lines and their CRC-32C.
const sumsName = "sums"

// writeSums lists a tree that was just made; the contents' checksums were taken
// while they were written.
func writeSums(dir string, made unpack.Result) error {
	root, err := openTree(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	f, err := os.OpenFile(filepath.Join(dir, sumsName), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	byInode := make(map[uint64]uint32, len(made.Sums))
	for _, s := range made.Sums {
		byInode[s.Inode] = s.CRC32C
	}
	out := &sumsWriter{out: bufio.NewWriterSize(f, 64<<10), crc: crc32.New(castagnoli)}
	w := walker{root: int(root.Fd()), visit: out.add, plain: !made.Xattrs, sum: func(at place, st *unix.Stat_t) (uint32, error) {
		sum, ok := byInode[st.Ino]
		if !ok {
			return 0, fmt.Errorf("no checksum of inode %d was kept", st.Ino)
		}
		return sum, nil
	}}
	if err := w.walk(""); err != nil {
		return fmt.Errorf("list the layer: %w", err)
	}
	if err := out.end(); err != nil {
		return err
	}
	return f.Close()
}

type sumsWriter struct {
	out  *bufio.Writer
	crc  hash.Hash32
	last string
	n    int
	line []byte
}

func (w *sumsWriter) add(n node) error {
	shared := 0
	for shared < len(n.path) && shared < len(w.last) && n.path[shared] == w.last[shared] {
		shared++
	}
	b := strconv.AppendUint(w.line[:0], uint64(n.mode), 8)
	b = strconv.AppendUint(append(b, ' '), uint64(n.uid), 10)
	b = strconv.AppendUint(append(b, ' '), uint64(n.gid), 10)
	b = strconv.AppendInt(append(b, ' '), n.size, 10)
	b = strconv.AppendUint(append(b, ' '), uint64(n.sum), 16)
	b = strconv.AppendUint(append(b, ' '), uint64(n.xattrs), 16)
	b = strconv.AppendInt(append(b, ' '), int64(shared), 10)
	b = strconv.AppendQuote(append(b, ' '), n.path[shared:])
	b = append(b, '\n')
	w.line, w.last = b, n.path
	w.n++
	_, _ = w.crc.Write(b)
	_, err := w.out.Write(b)
	return err
}

func (w *sumsWriter) end() error {
	if _, err := fmt.Fprintf(w.out, "end %d %x\n", w.n, w.crc.Sum32()); err != nil {
		return err
	}
	return w.out.Flush()
}

// sumsReader gives the nodes of a list back.
type sumsReader struct {
	in   *bufio.Reader
	crc  hash.Hash32
	last string
	n    int
}

func newSumsReader(r io.Reader) *sumsReader {
	return &sumsReader{in: bufio.NewReaderSize(r, 64<<10), crc: crc32.New(castagnoli)}
}

// next gives the next node; io.EOF says that the list was whole.
func (r *sumsReader) next() (n node, err error) {
	line, err := r.in.ReadString('\n')
	if err != nil {
		return n, fmt.Errorf("line %d: %w", r.n+1, io.ErrUnexpectedEOF)
	}
	if rest, ok := strings.CutPrefix(line, "end "); ok {
		if want := fmt.Sprintf("%d %x\n", r.n, r.crc.Sum32()); rest != want {
			return n, fmt.Errorf("its end says %q, not %q", rest, want)
		}
		if _, err := r.in.ReadByte(); err != io.EOF {
			return n, errors.New("something follows its end")
		}
		return n, io.EOF
	}
	r.n++
	_, _ = r.crc.Write([]byte(line))
	fields := strings.SplitN(strings.TrimSuffix(line, "\n"), " ", 8)
	if len(fields) != 8 {
		return n, fmt.Errorf("line %d has %d fields", r.n, len(fields))
	}
	var numbers [7]uint64
	for i, base := range [7]int{8, 10, 10, 10, 16, 16, 10} {
		if numbers[i], err = strconv.ParseUint(fields[i], base, 63); err != nil {
			return n, fmt.Errorf("line %d: %w", r.n, err)
		}
	}
	rest, err := strconv.Unquote(fields[7])
	if err != nil || numbers[6] > uint64(len(r.last)) {
		return n, fmt.Errorf("line %d: no path", r.n)
	}
	r.last = r.last[:numbers[6]] + rest
	return node{
		path: r.last, mode: uint32(numbers[0]), uid: uint32(numbers[1]), gid: uint32(numbers[2]),
		size: int64(numbers[3]), sum: uint32(numbers[4]), xattrs: uint32(numbers[5]),
	}, nil
}
