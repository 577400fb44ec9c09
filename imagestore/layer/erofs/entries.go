package erofs

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/imagestore/erofs"
	"github.com/varve-cri/varve/imagestore/unpack"
	"github.com/varve-cri/varve/imagestore/unpack/entry"
)

// link is a hard link whose target was not there when its entry came.
type link struct{ name, target string } // real path, clean path

// entries makes a layer's tree from its archive's entries, with the meaning that
// unpack gives them.
type entries struct {
	tree    *erofs.Tree
	paths   *paths
	limits  unpack.Limits
	count   int64
	written int64
	result  unpack.Result
	links   []link
	waiting int64 // bytes of links

	header  *tar.Header // at hand
	content io.Reader   // of the entry at hand
	offset  int64       // of the content in the layer's file
	spill   func() (*spill, error)
}

func newEntries(limits unpack.Limits, spill func() (*spill, error)) *entries {
	e := &entries{limits: limits, spill: spill}
	e.tree = erofs.NewTree(erofs.Bounds{Inodes: min(limits.Entries, maxInodes) + 1, Text: maxText})
	e.tree.Mark(erofs.Root, erofs.Implicit)
	e.paths = &paths{tree: e.tree, plain: e.plain, made: func() { e.counted(0) }}
	return e
}

// plain gives the attributes of a directory that the archive does not describe. It
// is as old as what it is made for, so that the same archive always makes the same
// layer.
func (e *entries) plain() erofs.Attributes {
	a := attributes(e.header)
	return erofs.Attributes{Mode: 0o755, Seconds: a.Seconds, Nanos: a.Nanos}
}

// attributes gives a header's own.
func attributes(h *tar.Header) erofs.Attributes {
	t := entry.Time(h.ModTime)
	return erofs.Attributes{Mode: uint16(entry.Mode(h)), UID: uint32(h.Uid), GID: uint32(h.Gid), Seconds: t.Sec, Nanos: uint32(t.Nsec)}
}

// makers has one function for each type of entry.
var makers = map[byte]func(*entries, place, *tar.Header) error{
	tar.TypeReg:       (*entries).file,
	tar.TypeGNUSparse: (*entries).file,
	tar.TypeCont:      (*entries).file,
	tar.TypeDir:       (*entries).directory,
	tar.TypeSymlink:   (*entries).symlink,
	tar.TypeLink:      (*entries).link,
	tar.TypeChar:      (*entries).device,
	tar.TypeBlock:     (*entries).device,
	tar.TypeFifo:      (*entries).device,
}

// add takes one entry, whose content begins at offset in the layer's file.
func (e *entries) add(h *tar.Header, content io.Reader, offset int64) error {
	if e.count++; e.count > e.limits.Entries {
		return e.limits.TooManyEntries()
	}
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	maker, ok := makers[h.Typeflag]
	if !ok {
		return fmt.Errorf("entry type %q is unknown", h.Typeflag)
	}
	name, err := entry.Clean(h.Name)
	if err != nil {
		return err
	}
	if err := entry.CheckOwner(h); err != nil {
		return err
	}
	e.header, e.content, e.offset = h, content, offset
	if name == "" {
		return e.root(h)
	}
	up, base := entry.Split(name)
	if ignored, err := entry.Beneath(up); ignored || err != nil {
		return err
	}
	dir, real, err := e.paths.parent(up)
	if err != nil {
		return err
	}
	if hides, _, _ := entry.Hides(base); hides != entry.Nothing {
		maker = (*entries).whiteout
	}
	return maker(e, place{dir, real, base}, h)
}

// counted adds one inode and its bytes, in blocks, to the result.
func (e *entries) counted(bytes int64) {
	const block = 4096
	e.result.Inodes++
	e.result.Bytes += uint64((bytes+block-1)/block) * block
}

// root takes the attributes of the layer's root.
func (e *entries) root(h *tar.Header) error {
	if h.Typeflag != tar.TypeDir {
		return errors.New("the root of a layer must be a directory")
	}
	e.result.Root = &unpack.Attributes{Mode: entry.Mode(h), UID: h.Uid, GID: h.Gid}
	return e.describe(erofs.Root, h)
}

// describe gives a directory or file its header's attributes.
func (e *entries) describe(id erofs.ID, h *tar.Header) error {
	e.tree.Unmark(id, erofs.Implicit)
	e.tree.SetAttributes(id, attributes(h))
	return entry.Xattrs(h, func(name, value string) error { return e.setXattr(id, name, value) })
}

// directory makes a directory or gives an existing one new attributes. A whiteout
// becomes an opaque directory.
func (e *entries) directory(at place, h *tar.Header) (err error) {
	id := e.tree.Lookup(at.dir, at.base)
	switch {
	case id == 0:
		id, err = e.tree.Mkdir(at.dir, at.base, attributes(h))
		e.counted(4096)
	case e.tree.Is(id, erofs.TypeDirectory):
	case e.tree.IsWhiteout(id):
		id, err = e.paths.opaqueDir(at.dir, at.base)
	default:
		id, err = e.tree.Mkdir(at.dir, at.base, attributes(h))
	}
	if err != nil {
		return err
	}
	return e.describe(id, h)
}

// file makes a regular file whose data is the archive's own, where it can be.
func (e *entries) file(at place, h *tar.Header) error {
	if h.Size < 0 || h.Size > e.limits.Bytes-e.written {
		return e.limits.TooManyBytes()
	}
	e.written += h.Size
	id, err := e.regular(at, h)
	if err != nil {
		return err
	}
	e.counted(h.Size)
	return e.describe(id, h)
}

// regular makes a regular file with its data.
func (e *entries) regular(at place, h *tar.Header) (erofs.ID, error) {
	data := erofs.Extent{Size: h.Size}
	switch {
	case h.Size == 0:
	case entry.Sparse(h):
		return e.sparse(at, h)
	default:
		block := e.offset / erofs.BlockSize
		if block > 1<<32-1<<20 || e.offset%erofs.BlockSize != 0 {
			return 0, fmt.Errorf("content at %d: %w", e.offset, unix.EFBIG)
		}
		data.Block = uint32(block)
	}
	return e.tree.File(at.dir, at.base, attributes(h), data)
}

// sparse makes a file whose body is not its content as it stands.
func (e *entries) sparse(at place, h *tar.Header) (erofs.ID, error) {
	s, err := e.spill()
	if err != nil {
		return 0, err
	}
	chunks, err := s.add(e.content, h.Size)
	if err != nil {
		return 0, err
	}
	id, err := e.tree.Sparse(at.dir, at.base, attributes(h), h.Size, chunks)
	s.files = append(s.files, id)
	return id, err
}

// symlink makes a symbolic link. Its target is text: it is resolved by whoever
// follows it, in the container.
func (e *entries) symlink(at place, h *tar.Header) error {
	for i := range len(h.Linkname) {
		if h.Linkname[i] == 0 {
			return unix.EINVAL
		}
	}
	_, err := e.tree.Symlink(at.dir, at.base, attributes(h), h.Linkname)
	e.counted(0)
	return err
}

// device makes a device node or a fifo.
func (e *entries) device(at place, h *tar.Header) error {
	kind, number, err := entry.Device(h)
	if err != nil {
		return err
	}
	a := attributes(h)
	a.Mode |= uint16(kind)
	_, err = e.tree.Node(at.dir, at.base, a, uint32(number))
	e.counted(0)
	return err
}

// whiteout hides a lower layer's file, or all that a lower layer has in this
// directory. What this layer itself holds under the name stays visible.
func (e *entries) whiteout(at place, _ *tar.Header) error {
	hides, name, err := entry.Hides(at.base)
	switch {
	case err != nil:
		return err
	case hides == entry.Content:
		e.tree.Mark(at.dir, erofs.Opaque)
		return nil
	case hides == entry.Ignored:
		return nil
	}
	switch id := e.tree.Lookup(at.dir, name); {
	case id == 0:
		_, err := e.tree.Node(at.dir, name, erofs.Attributes{Mode: erofs.TypeCharacter}, 0)
		e.result.Inodes++
		return err
	case e.tree.Is(id, erofs.TypeDirectory):
		e.tree.Mark(id, erofs.Opaque)
	}
	return nil
}
