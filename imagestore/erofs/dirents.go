package erofs

import (
	"bytes"
)

// diskEntry is a directory's entry as it lies in the file. The name is good until
// the next block.
type diskEntry struct {
	name []byte
	nid  uint64
	kind byte
}

// entries gives a directory's entries but "." and "..". parent is the nid that ".."
// must have.
func (m *Image) entries(n *diskInode, parent uint64, yield func(diskEntry) error) error {
	c := dirCheck{dir: n.nid, parent: parent}
	for from := int64(0); from < n.size; from += BlockSize {
		b, err := m.content(n, from)
		if err != nil {
			return err
		}
		err = c.block(m.block[:copy(m.block[:], b)], yield)
		if err != nil {
			return err
		}
	}
	if c.dots != 2 {
		return damaged("directory %d: no . or ..", n.nid)
	}
	return nil
}

// dirCheck keeps what must hold from one entry to the next.
type dirCheck struct {
	dir, parent uint64
	last        [maxName]byte
	length      int
	dots        int
}

// block reads one block of entries.
func (c *dirCheck) block(b []byte, yield func(diskEntry) error) error {
	if len(b) < direntSize {
		return damaged("directory %d: a block of %d bytes", c.dir, len(b))
	}
	names := int(le.Uint16(b[8:]))
	if names < direntSize || names%direntSize != 0 || names > len(b) {
		return damaged("directory %d: names at %d", c.dir, names)
	}
	start := names
	for i := 0; i < names; i += direntSize {
		end := len(b)
		if i+direntSize < names {
			end = int(le.Uint16(b[i+direntSize+8:]))
		} else if pad := bytes.IndexByte(b[start:], 0); pad >= 0 {
			end = start + pad // the last name ends at the first zero of the padding
		}
		if end < start || end > len(b) {
			return damaged("directory %d: a name from %d to %d", c.dir, start, end)
		}
		e := diskEntry{b[start:end], le.Uint64(b[i:]), b[i+10]}
		start = end
		if err := c.entry(e, yield); err != nil {
			return err
		}
	}
	return nil
}

func (c *dirCheck) entry(e diskEntry, yield func(diskEntry) error) error {
	if len(e.name) > maxName || bytes.Compare(c.last[:c.length], e.name) >= 0 {
		return damaged("directory %d: %.300q is out of order", c.dir, e.name)
	}
	c.length = copy(c.last[:], e.name)
	want := c.dir
	switch string(e.name) {
	case "..":
		want = c.parent
	case ".":
	default:
		if err := checkName(string(e.name)); err != nil {
			return damaged("directory %d: name %.300q", c.dir, e.name)
		}
		return yield(e)
	}
	if c.dots++; e.nid != want || e.kind != entryDirectory {
		return damaged("directory %d: %s leads to %d", c.dir, e.name, e.nid)
	}
	return nil
}
