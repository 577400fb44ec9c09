package erofs

import "hash/maphash"

// entry is one name in one directory. The entries of a directory are a list.
type entry struct {
	dir, next uint32
	inode     uint32 // 0 when the name is gone
	name      uint32
	length    uint8
}

// names finds entries by directory and name: one table for the whole tree, with
// open addressing, because a map for each directory costs several times as much.
// A name that goes keeps its entry, to be used again.
type names struct {
	seed  maphash.Seed
	table []uint32 // entry + 1
	list  slab[entry]
	text  text
}

func newNames() names {
	return names{seed: maphash.MakeSeed(), table: make([]uint32, 64)}
}

func (n *names) hash(dir uint32, name string) uint64 {
	return maphash.String(n.seed, name) ^ uint64(dir)*0x9E3779B97F4A7C15
}

// slot gives the place in the table of a name, or the free one where it belongs.
func (n *names) slot(dir uint32, name string) *uint32 {
	mask := uint64(len(n.table) - 1)
	for i := n.hash(dir, name) & mask; ; i = (i + 1) & mask {
		at := &n.table[i]
		if *at == 0 {
			return at
		}
		e := n.list.at(*at - 1)
		if e.dir == dir && int(e.length) == len(name) && string(n.text.at(e.name, uint32(e.length))) == name {
			return at
		}
	}
}

func (n *names) find(dir uint32, name string) *entry {
	if at := *n.slot(dir, name); at != 0 {
		return n.list.at(at - 1)
	}
	return nil
}

// add makes the entry of a name that find does not have.
func (n *names) add(e entry, name string) uint32 {
	if uint64(n.list.n)*4 >= uint64(len(n.table))*3 {
		n.grow()
	}
	e.name, e.length = n.text.add(name), uint8(len(name))
	at := n.list.add(e)
	*n.slot(e.dir, name) = at + 1
	return at
}

func (n *names) grow() {
	n.table = make([]uint32, 2*len(n.table))
	mask := uint64(len(n.table) - 1)
	for id := range n.list.n {
		e := n.list.at(id)
		h := maphash.Bytes(n.seed, n.text.at(e.name, uint32(e.length))) ^ uint64(e.dir)*0x9E3779B97F4A7C15
		i := h & mask
		for n.table[i] != 0 {
			i = (i + 1) & mask
		}
		n.table[i] = id + 1
	}
}
