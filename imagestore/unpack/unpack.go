package unpack

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/imagestore/unpack/entry"
)

// Result is what a layer turned out to be.
type Result struct {
	Bytes  uint64      // on disk, about
	Inodes uint64      // made
	Root   *Attributes // of the root, when the archive has an entry for it
	Needs  Needs       // from the layers below
	Sums   []Sum       // of the files' contents, in the order in which they were made
	Xattrs bool        // some file may have extended attributes
}

// Sum is the checksum of a file's content. The inode tells whose: of several with
// the same one the last counts, because the file of an earlier one is gone.
type Sum struct {
	Inode  uint64
	CRC32C uint32
}

// castagnoli is the polynomial that processors have an instruction for.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// EntryError is an entry that could not be unpacked.
type EntryError struct {
	Name string // as the archive spells it
	Err  error
}

// Error names the entry and the cause.
func (e *EntryError) Error() string { return fmt.Sprintf("entry %.300q: %v", e.Name, e.Err) }

// Unwrap gives the cause.
func (e *EntryError) Unwrap() error { return e.Err }

// Tree unpacks archive into the empty directory root. After an error the tree is
// good for nothing but removal.
func Tree(ctx context.Context, root *os.File, archive io.Reader, limits Limits) (Result, error) {
	u := newUnpacker(int(root.Fd()), limits)
	defer u.dirs.close()
	tr := tar.NewReader(archive)
	for {
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return Result{}, fmt.Errorf("tar after %d entries: %w", u.entries, err)
		}
		if err := ctx.Err(); err != nil {
			return Result{}, context.Cause(ctx)
		}
		if err := u.entry(h, tr); err != nil {
			return Result{}, &EntryError{h.Name, err}
		}
	}
	return u.finish()
}

// unpacker is the state of one layer's unpacking.
type unpacker struct {
	dirs    *dirs
	limits  Limits
	entries int64
	written int64
	kept    int64 // bytes of names
	result  Result
	copy    []byte
	content io.Reader // of the entry at hand

	// dirTimes are set last, because each new entry changes its directory's time;
	// keyed by real path, as is implicit.
	dirTimes map[string][]unix.Timespec
	implicit map[string]struct{}
	links    []Link
}

func newUnpacker(root int, limits Limits) *unpacker {
	u := &unpacker{
		limits:   limits,
		copy:     make([]byte, 64<<10),
		dirTimes: map[string][]unix.Timespec{},
		implicit: map[string]struct{}{},
	}
	u.dirs = newDirs(root, func(real string) error {
		u.implicit[real] = struct{}{}
		u.count(0)
		// An inode as well, and one entry can ask for two thousand.
		return errors.Join(u.oneMore(), u.keep(real))
	})
	return u
}

// oneMore counts an entry, or a directory that none describes.
func (u *unpacker) oneMore() error {
	if u.entries++; u.entries > u.limits.Entries {
		return u.limits.TooManyEntries()
	}
	return nil
}

// maxKept bounds the names that are kept in memory until the archive ends: a
// million directories with paths of 4 KiB compress to a few megabytes.
const maxKept = 128 << 20

// keep counts a name that is kept.
func (u *unpacker) keep(name string) error {
	const perName = 64 // of a map or a list, about
	if u.kept += int64(len(name)) + perName; u.kept > maxKept {
		return fmt.Errorf("names of directories and links of more than %d bytes: %w", maxKept, ErrLimit)
	}
	return nil
}

// place is where an entry goes: its open parent, that one's real path, and the
// last component.
type place struct {
	dir    int
	parent string
	base   string
}

func (p place) real() string {
	if p.parent == "" {
		return p.base
	}
	return p.parent + "/" + p.base
}

// makers has one function for each type of entry.
var makers = map[byte]func(*unpacker, place, *tar.Header) error{
	tar.TypeReg:       (*unpacker).file,
	tar.TypeGNUSparse: (*unpacker).file,
	tar.TypeCont:      (*unpacker).file,
	tar.TypeDir:       (*unpacker).directory,
	tar.TypeSymlink:   (*unpacker).symlink,
	tar.TypeLink:      (*unpacker).link,
	tar.TypeChar:      (*unpacker).device,
	tar.TypeBlock:     (*unpacker).device,
	tar.TypeFifo:      (*unpacker).device,
}

func (u *unpacker) entry(h *tar.Header, content io.Reader) error {
	if err := u.oneMore(); err != nil {
		return err
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
	u.result.Xattrs = u.result.Xattrs || len(h.PAXRecords) > 0
	if err := entry.CheckOwner(h); err != nil {
		return err
	}
	if name == "" {
		return u.root(h)
	}
	up, base := entry.Split(name)
	if ignored, err := entry.Beneath(up); ignored || err != nil {
		return err
	}
	fd, real, err := u.dirs.parent(up)
	if err != nil {
		return err
	}
	if hides, _, _ := entry.Hides(base); hides != entry.Nothing {
		maker = (*unpacker).whiteout
	}
	u.content = content
	return maker(u, place{fd, real, base}, h)
}

// count adds one inode and its bytes, in blocks, to the result.
func (u *unpacker) count(bytes int64) {
	const block = 4096
	u.result.Inodes++
	u.result.Bytes += uint64((bytes+block-1)/block) * block
}

// sum keeps the checksum of an open file's content.
func (u *unpacker) sum(fd int, crc uint32) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	u.result.Sums = append(u.result.Sums, Sum{st.Ino, crc})
	return nil
}

// finish sets the directories' times and tells what is still needed from below.
func (u *unpacker) finish() (Result, error) {
	if err := u.lateLinks(); err != nil {
		return Result{}, err
	}
	for real, times := range u.dirTimes {
		fd, err := u.dirs.get(real)
		if err == nil {
			err = setTimes(fd, ".", times)
		}
		if err != nil {
			return Result{}, &EntryError{real, err}
		}
	}
	u.result.Needs = u.needs()
	return u.result, nil
}
