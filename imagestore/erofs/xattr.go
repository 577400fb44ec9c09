package erofs

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// The names by which Marks are kept in a layer's file. Archives cannot set trusted
// attributes, so nobody else says these.
const (
	opaqueXattr   = "trusted.overlay.opaque"
	implicitXattr = "trusted.varve.implicit"
	linkedXattr   = "trusted.varve.link"
)

// Bounds of attributes: the format's, which are a little below the kernel's
// XATTR_SIZE_MAX and well above what ext4 holds.
const (
	maxXattrName  = 255
	maxXattrValue = 1<<16 - 1
	maxXattrBody  = 1<<16 - 16 // all entries of one inode: what listxattr can give is bounded likewise
	xattrHeader   = 12
	xattrEntry    = 4
)

// prefix is the start of a name that the format writes as a number.
type prefix struct {
	name  string
	index byte
}

var prefixes = []prefix{
	{"user.", 1}, {"system.posix_acl_access", 2}, {"system.posix_acl_default", 3}, {"trusted.", 4}, {"security.", 6},
}

// xattr is one attribute with the number of its prefix.
type xattr struct {
	index byte
	name  string // without the prefix
	value string
}

func (x xattr) less(y xattr) int {
	if x.index != y.index {
		return int(x.index) - int(y.index)
	}
	return strings.Compare(x.name, y.name)
}

// full gives the whole name, or "" when the prefix is unknown.
func (x xattr) full() string {
	for _, p := range prefixes {
		if p.index == x.index {
			return p.name + x.name
		}
	}
	return ""
}

// newXattr checks an attribute as setxattr(2) does.
func newXattr(name, value string) (xattr, error) {
	switch {
	case len(name) > maxXattrName:
		return xattr{}, unix.ERANGE
	case len(value) > maxXattrValue:
		return xattr{}, unix.E2BIG
	}
	for _, p := range prefixes {
		rest, ok := strings.CutPrefix(name, p.name)
		if !ok {
			continue
		}
		if (rest == "") != (p.index == 2 || p.index == 3) || strings.IndexByte(rest, 0) >= 0 {
			return xattr{}, unix.EINVAL
		}
		return xattr{p.index, rest, value}, nil
	}
	return xattr{}, unix.ENOTSUP
}

// xattrSets holds each different set of attributes once: many inodes have the
// same. Set 0 is the empty one. A set is its entries as they are on disk, sorted.
type xattrSets struct {
	sets  []string
	known map[string]uint32
}

func (s *xattrSets) init() {
	s.sets = []string{""}
	s.known = map[string]uint32{"": 0}
}

// Xattr is an extended attribute with its whole name.
type Xattr struct{ Name, Value string }

// Xattrs gives an inode's attributes, without what says its Marks.
func (t *Tree) Xattrs(id ID) (all []Xattr) {
	for _, x := range decodeXattrs(t.xattrs.sets[t.at(id).xattrs]) {
		all = append(all, Xattr{x.full(), x.value})
	}
	return all
}

// SetXattr gives an inode an attribute. Its errors are those of setxattr(2).
func (t *Tree) SetXattr(id ID, name, value string) error {
	x, err := newXattr(name, value)
	if err != nil {
		return err
	}
	n := t.at(id)
	all := decodeXattrs(t.xattrs.sets[n.xattrs])
	all = slices.DeleteFunc(all, func(y xattr) bool { return x.less(y) == 0 })
	return t.setXattrs(id, append(all, x))
}

// RemoveXattr takes an attribute from an inode, if it has it.
func (t *Tree) RemoveXattr(id ID, name string) {
	n := t.at(id)
	all := decodeXattrs(t.xattrs.sets[n.xattrs])
	rest := slices.DeleteFunc(all, func(y xattr) bool { return y.full() == name })
	_ = t.setXattrs(id, rest) // fewer attributes always fit
}

func (t *Tree) setXattrs(id ID, all []xattr) error {
	slices.SortFunc(all, xattr.less)
	set, err := t.intern(encodeXattrs(all))
	if err == nil {
		t.at(id).xattrs = set
	}
	return err
}

// intern gives the number of a set.
func (t *Tree) intern(body []byte) (uint32, error) {
	if len(body) > maxXattrBody {
		return 0, unix.ENOSPC
	}
	if set, ok := t.xattrs.known[string(body)]; ok {
		return set, nil
	}
	if err := t.take(len(body)); err != nil {
		return 0, err
	}
	set := uint32(len(t.xattrs.sets))
	s := string(body)
	t.xattrs.sets = append(t.xattrs.sets, s)
	t.xattrs.known[s] = set
	return set, nil
}

func encodeXattrs(all []xattr) []byte {
	var b []byte
	for _, x := range all {
		b = append(b, byte(len(x.name)), x.index)
		b = le.AppendUint16(b, uint16(len(x.value)))
		b = append(append(b, x.name...), x.value...)
		b = append(b, make([]byte, -len(b)&3)...)
	}
	return b
}

// decodeXattrs reads a set of this package's own.
func decodeXattrs(body string) []xattr {
	all, err := parseXattrs([]byte(body))
	if err != nil {
		panic(fmt.Sprintf("erofs: an attribute set of this tree: %v", err))
	}
	return all
}

// parseXattrs reads the entries of an inode's attributes.
func parseXattrs(body []byte) (all []xattr, err error) {
	for len(body) > 0 {
		if len(body) < xattrEntry {
			return nil, damaged("an attribute is cut off")
		}
		name, value := int(body[0]), int(le.Uint16(body[2:]))
		end := xattrEntry + name + value
		padded := (end + 3) &^ 3
		if padded > len(body) {
			return nil, damaged("an attribute is cut off")
		}
		x := xattr{body[1], string(body[xattrEntry : xattrEntry+name]), string(body[xattrEntry+name : end])}
		if x.full() == "" || bytes.IndexByte([]byte(x.name), 0) >= 0 {
			return nil, damaged("attribute %d:%q", x.index, x.name)
		}
		all = append(all, x)
		body = body[padded:]
	}
	return all, nil
}

// xattrBody gives the attributes of an inode as they follow it on disk, or nothing.
func (t *Tree) xattrBody(n *inode) []byte {
	body := []byte(t.xattrs.sets[n.xattrs])
	if n.marks&^scattered != 0 {
		all := decodeXattrs(t.xattrs.sets[n.xattrs])
		add := func(m Marks, name, value string) {
			if n.marks&m == 0 {
				return
			}
			x, err := newXattr(name, value)
			if err != nil {
				panic(fmt.Sprintf("erofs: mark %s: %v", name, err))
			}
			all = append(all, x)
		}
		add(Opaque, opaqueXattr, "y")
		add(Implicit, implicitXattr, "y")
		if n.marks&Linked != 0 {
			add(Linked, linkedXattr, string(t.linkText(n)))
		}
		slices.SortFunc(all, xattr.less)
		body = encodeXattrs(all)
	}
	if len(body) == 0 {
		return nil
	}
	return append(make([]byte, xattrHeader, xattrHeader+len(body)), body...)
}

func (t *Tree) linkText(n *inode) []byte { return t.names.text.at(n.a, uint32(n.size)) }
