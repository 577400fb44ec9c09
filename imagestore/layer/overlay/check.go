package overlay

import (
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/imagestore/layer"
)

// entryCost is what an entry counts as at the pace: its inode and its name.
const entryCost = 512

// Check implements layer.Driver.
func (d *Driver) Check(dir string, _ *layer.Metadata, wait layer.Wait) error {
	list, err := os.Open(filepath.Join(dir, sumsName))
	if os.IsNotExist(err) {
		if _, err := os.Lstat(dir); err == nil {
			return layer.ErrNoSums
		}
	}
	if err != nil {
		return layer.Damage(err)
	}
	defer list.Close()
	root, err := openTree(dir)
	if err != nil {
		return layer.Damage(err)
	}
	defer root.Close()
	reader, err := layer.NewRereader(wait)
	if err != nil {
		return err
	}
	defer reader.Close()
	c := &checker{list: newSumsReader(list), wait: wait, reader: reader}
	w := walker{root: int(root.Fd()), visit: c.compare, sum: c.content}
	if err := w.walk(""); err != nil {
		return layer.Damage(err)
	}
	return layer.Damage(c.end())
}

// checker compares a walk with a list.
type checker struct {
	list   *sumsReader
	wait   layer.Wait
	reader *layer.Rereader
}

func (c *checker) compare(got node) error {
	if err := c.wait(entryCost); err != nil {
		return err
	}
	want, err := c.list.next()
	switch {
	case err == io.EOF:
		return damaged(got.path, "was not there")
	case err != nil:
		return listDamaged(err)
	case want.path != got.path && before(want.path, got.path):
		return damaged(want.path, "is missing")
	case want.path != got.path:
		return damaged(got.path, "was not there")
	}
	return want.differs(got)
}

// end tells what the list has beyond the walk.
func (c *checker) end() error {
	want, err := c.list.next()
	switch {
	case err == io.EOF:
		return nil
	case err != nil:
		return listDamaged(err)
	}
	return damaged(want.path, "is missing")
}

func listDamaged(err error) error {
	return fmt.Errorf("%w: the list of its checksums: %w", layer.ErrDamaged, err)
}

func damaged(path, what string) error {
	return fmt.Errorf("%w: /%s %s", layer.ErrDamaged, path, what)
}

// before tells whether a walk comes to a before b: it visits a directory's entries
// by name, then goes into its subdirectories.
func before(a, b string) bool {
	up, down := strings.LastIndexByte(a, '/'), strings.LastIndexByte(b, '/')
	if a[:max(up, 0)] == b[:max(down, 0)] {
		return a < b
	}
	return strings.ReplaceAll(a[:max(up, 0)], "/", "\x00") < strings.ReplaceAll(b[:max(down, 0)], "/", "\x00")
}

// differs names the first thing that is not as it was written.
func (n node) differs(got node) error {
	switch {
	case got == n:
		return nil
	case got.mode != n.mode:
		return damaged(n.path, fmt.Sprintf("has mode %o, not %o", got.mode, n.mode))
	case got.uid != n.uid || got.gid != n.gid:
		return damaged(n.path, fmt.Sprintf("belongs to %d:%d, not %d:%d", got.uid, got.gid, n.uid, n.gid))
	case got.size != n.size:
		return damaged(n.path, fmt.Sprintf("has %d bytes, not %d", got.size, n.size))
	case got.xattrs != n.xattrs:
		return damaged(n.path, "has other extended attributes")
	}
	return damaged(n.path, "has another content")
}

func (c *checker) content(at place, st *unix.Stat_t) (sum uint32, err error) {
	err = c.reader.Read(at.dir, at.name, st.Size, func(b []byte) { sum = crc32.Update(sum, castagnoli, b) })
	return sum, err
}
