package erofs

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/imagestore/erofs"
)

const (
	capability    = "security.capability"
	accessACL     = "system.posix_acl_access"
	defaultACL    = "system.posix_acl_default"
	permissions   = 0o777
	capRevision2  = 0x02000000
	capRevision3  = 0x03000000
	capEffective  = 1
	capSize2      = 20
	capSize3      = 24
	aclVersion    = 2
	aclHeader     = 4
	aclEntry      = 8
	undefinedID   = 1<<32 - 1
	aclUserObject = 0x01
	aclUser       = 0x02
	aclGroupOwner = 0x04
	aclGroup      = 0x08
	aclMask       = 0x10
	aclOther      = 0x20
)

// setXattr does what setxattr(2) does on a file system that is written to: the
// kernel checks capabilities and access lists there, and an access list changes the
// mode. Nobody checks them again when they are read.
func (e *entries) setXattr(id erofs.ID, name, value string) error {
	switch name {
	case capability:
		if !validCapability(value) {
			return unix.EINVAL
		}
	case accessACL, defaultACL:
		return e.setACL(id, name, value)
	}
	return e.tree.SetXattr(id, name, value)
}

// validCapability is the kernel's validheader (security/commoncap.c).
func validCapability(value string) bool {
	if len(value) < 4 {
		return false
	}
	magic := binary.LittleEndian.Uint32([]byte(value)) &^ capEffective
	switch len(value) {
	case capSize2:
		return magic == capRevision2
	case capSize3:
		root := binary.LittleEndian.Uint32([]byte(value[capSize2:]))
		return magic == capRevision3 && root != undefinedID
	}
	return false
}

func (e *entries) setACL(id erofs.ID, name, value string) error {
	list, err := parseACL([]byte(value))
	if err != nil {
		return err
	}
	if len(list) == 0 {
		e.tree.RemoveXattr(id, name)
		return nil
	}
	if name == defaultACL && !e.tree.Is(id, erofs.TypeDirectory) {
		return unix.EACCES
	}
	mode, more, ok := validACL(list)
	if !ok {
		return unix.EINVAL
	}
	if name == accessACL {
		a := e.tree.Attributes(id)
		a.Mode = a.Mode&^permissions | mode
		e.tree.SetAttributes(id, a)
		if !more { // the mode says it all
			e.tree.RemoveXattr(id, name)
			return nil
		}
	}
	return e.tree.SetXattr(id, name, string(encodeACL(list)))
}

// acl is one entry of an access list.
type acl struct {
	tag, perm uint16
	id        uint32
}

// parseACL reads the form in which setxattr(2) takes a list.
func parseACL(b []byte) (list []acl, err error) {
	switch {
	case len(b) == 0:
		return nil, nil
	case len(b) < aclHeader:
		return nil, unix.EINVAL
	case binary.LittleEndian.Uint32(b) != aclVersion:
		return nil, unix.ENOTSUP
	case (len(b)-aclHeader)%aclEntry != 0:
		return nil, unix.EINVAL
	}
	for b = b[aclHeader:]; len(b) > 0; b = b[aclEntry:] {
		a := acl{binary.LittleEndian.Uint16(b), binary.LittleEndian.Uint16(b[2:]), binary.LittleEndian.Uint32(b[4:])}
		if a.tag != aclUser && a.tag != aclGroup {
			a.id = undefinedID
		}
		list = append(list, a)
	}
	return list, nil
}

func encodeACL(list []acl) []byte {
	b := binary.LittleEndian.AppendUint32(nil, aclVersion)
	for _, a := range list {
		b = binary.LittleEndian.AppendUint16(b, a.tag)
		b = binary.LittleEndian.AppendUint16(b, a.perm)
		b = binary.LittleEndian.AppendUint32(b, a.id)
	}
	return b
}

// validACL is the kernel's posix_acl_valid and posix_acl_equiv_mode: the entries
// must be in order, and a list that names users or groups needs a mask. more tells
// that the list says more than a mode can.
func validACL(list []acl) (mode uint16, more, ok bool) {
	// next are the tags that may follow.
	next, named := uint16(aclUserObject), false
	for _, a := range list {
		if a.perm&^7 != 0 || a.tag&next == 0 || a.tag&(a.tag-1) != 0 {
			return 0, false, false
		}
		switch a.tag {
		case aclUserObject:
			mode |= a.perm << 6
			next = aclUser | aclGroupOwner
		case aclUser, aclGroup:
			if a.id == undefinedID {
				return 0, false, false
			}
			named = true
		case aclGroupOwner:
			mode |= a.perm << 3
			next = aclGroup | aclMask | aclOther
		case aclMask:
			more = true
			mode = mode&^0o070 | a.perm<<3
			next = aclOther
		case aclOther:
			if named && !more {
				return 0, false, false
			}
			mode |= a.perm
			next = 0
		}
	}
	return mode, more, next == 0
}
