package layertest

import (
	"archive/tar"
	"encoding/hex"
	"strings"
	"time"
)

// File capabilities as the kernel writes them (struct vfs_cap_data, version 2 and
// 3; the latter says of whose user namespace the root is), and an access list of
// user::rw-, user:1000:r--, group::r--, mask::r--, other::---.
const (
	cap2 = "0100000200040000000000000000000000000000"
	cap3 = "010000030004000000000000000000000000000000e80300"
	acl  = "0200000001000600ffffffff02000400e803000004000400ffffffff10000400ffffffff20000000ffffffff"
)

func unhex(s string) string {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err) // a constant above
	}
	return string(b)
}

func (m maker) attributes() []Hostile {
	x := func(h tar.Header, pairs ...string) tar.Header {
		var records []string
		for i := 0; i < len(pairs); i += 2 {
			records = append(records, "SCHILY.xattr."+pairs[i], pairs[i+1])
		}
		return with(h, records...)
	}
	mode := func(h tar.Header, mode int64, uid int) tar.Header {
		h.Mode, h.Uid = mode, uid
		return h
	}
	return []Hostile{
		m.taken("setuid, setgid and sticky bits are kept", map[string]string{"u": "mode=4711 own=5:0", "g": "mode=2755", "t": "dir mode=1777", "all": "mode=7777 own=9:0", "none": "mode=0", "s": "dir mode=2775"},
			mode(File("u", "x"), 0o4711, 5), mode(File("g", "x"), 0o2755, 0), Dir("t", 0o1777), mode(File("all", "x"), 0o7777, 9), mode(File("none", "x"), 1<<20, 0), Dir("s", 0o2775)),
		m.taken("file capabilities are kept, also of another owner", map[string]string{"v2": "own=7:0 xattr:security.capability=" + cap2, "v3": "xattr:security.capability=" + cap3},
			mode(x(File("v2", "x"), "security.capability", unhex(cap2)), 0o755, 7), x(File("v3", "x"), "security.capability", unhex(cap3))),
		m.taken("access lists are kept", map[string]string{"f": "xattr:system.posix_acl_access=" + acl, "d": "dir xattr:system.posix_acl_default=" + acl},
			mode(x(File("f", "x"), "system.posix_acl_access", unhex(acl)), 0o640, 0), x(Dir("d", 0o755), "system.posix_acl_default", unhex(acl))),
		m.taken("a program's attributes are kept", map[string]string{"f": "xattr:user.k=76", "d": "xattr:user.empty= xattr:user.bytes=00ff0a", "e": "xattr:user.a=" + strings.Repeat("61", 2000)},
			x(File("f", "x"), "user.k", "v"), x(Dir("d", 0o755), "user.bytes", "\x00\xff\n"), x(File("e", "x"), "user.a", strings.Repeat("a", 2000))),
		m.taken("what the node decides is left out", map[string]string{"f": "xattr:security.selinux= xattr:security.ima= xattr:trusted.x= xattr:security.apparmor= xattr:user.k=76"},
			x(File("f", "x"), "security.selinux", "system_u:object_r:shadow_t:s0", "security.ima", "\x03x", "security.evm", "\x02x", "trusted.x", "y", "security.apparmor", "x", "system.nfs4_acl", "x", "user.k", "v", "nonsense", "x", "", "x")),
		m.refused("capabilities that are none", "security.capability", x(File("f", "x"), "security.capability", "\x01")),
		m.refused("capabilities of an unknown version", "security.capability", x(File("f", "x"), "security.capability", unhex("01000009"+cap2[8:]))),
		m.refused("an access list that is none", "posix_acl_access", x(File("f", "x"), "system.posix_acl_access", "\x02\x00\x00\x00nonsense")),
		m.taken("another system's access list is left out", map[string]string{"f": "xattr:system.posix_acl_access="}, x(File("f", "x"), "system.posix_acl_access", "nonsense")),
		m.refused("a default list of a file", "posix_acl_default", x(File("f", "x"), "system.posix_acl_default", unhex(acl))),
		m.refused("an attribute's name of 256 bytes", "xattr", x(File("f", "x"), "user."+strings.Repeat("n", 251), "v")),
		m.refused("an attribute of 65 KiB", "xattr", x(File("f", "x"), "user.k", strings.Repeat("v", 65<<10))),
		m.refused("an attribute without a name", "xattr", x(File("f", "x"), "user.", "v")),
	}
}

// times from before 1970 to after what ext4 can say (2446), which clamps; a format
// with wider times may show them as they are.
func (m maker) times() []Hostile {
	at := func(name string, t time.Time) tar.Header {
		h := File(name, "x")
		h.Format, h.ModTime = tar.FormatPAX, t
		return h
	}
	dir := Dir("d", 0o755)
	dir.Format, dir.ModTime = tar.FormatPAX, time.Unix(-86400, 7)
	link := Link("l", "x")
	link.ModTime = time.Unix(1, 0)
	year := func(y int) time.Time { return time.Date(y, 1, 1, 0, 0, 0, 0, time.UTC) }
	return []Hostile{
		m.taken("times before 1970 and after 2106", map[string]string{"a": "mtime=-1.0", "b": "mtime=-1.500000000", "c": "mtime=-2147483648.0", "d": "mtime=-86400.7", "e": "mtime=4294967296.0", "f": "mtime=4701974400.123456789", "z": "mtime=0.0", "l": "mtime=1.0"},
			at("a", time.Unix(-1, 0)), at("b", time.Unix(-1, 500_000_000)), dir, at("d/x", time.Unix(5, 0)), at("e", time.Unix(1<<32, 0)), at("f", time.Unix(4701974400, 123456789)), at("z", time.Unix(0, 0)), link, at("c", time.Unix(-2147483648, 0))),
		m.taken("times beyond what a file system holds", map[string]string{"a": "mtime>15000000000", "b": "mtime>15000000000", "c": "mtime<-2147483647"}, at("a", year(2447)), at("b", year(9999)), at("c", year(1800))),
		{Name: "times beyond all", Layers: [][]byte{stream(pax("mtime=9223372036854775807"), raw{name: "a", kind: '0', magic: ustar}, pax("mtime=-9223372036854775808"), raw{name: "b", kind: '0', magic: ustar}, raw{name: "c", kind: '0', magic: gnu, mtime: base256(1<<62, 12)})},
			Want: map[string]string{"a": "file mtime>15000000000", "b": "file mtime<0", "c": "file mtime>15000000000"}},
		{Name: "a time that is no number", Refused: "tar", Layers: [][]byte{stream(pax("mtime=NaN"), raw{name: "a", kind: '0', magic: ustar})}},
		{Name: "a time in letters", Refused: "tar", Layers: [][]byte{stream(raw{name: "a", kind: '0', magic: ustar, mtime: "not a time"})}},
	}
}

func (m maker) owners() []Hostile {
	own := func(uid, gid int) tar.Header {
		h := Dir("d", 0o755)
		h.Uid, h.Gid, h.Format = uid, gid, tar.FormatPAX
		return h
	}
	out := "out of range"
	return []Hostile{
		m.taken("owners beyond 2^31", map[string]string{"d": "own=3000000000:4294967294"}, own(3_000_000_000, 1<<32-2)),
		m.refused("CVE-2024-40635 owner 2^32-1, which chown reads as none", out, own(1<<32-1, 0)),
		m.refused("CVE-2024-40635 group 2^32-1", out, own(0, 1<<32-1)),
		m.refused("CVE-2024-40635 owner 2^32, which is root in 32 bits", out, own(1<<32, 0)),
		m.refused("CVE-2024-40635 owner 2^33+1", out, own(1<<33+1, 0)),
		{Name: "negative owner", Refused: out, Layers: [][]byte{stream(raw{name: "f", kind: '0', magic: gnu, uid: base256(-1, 8)})}},
		{Name: "negative owner in a record", Refused: out, Layers: [][]byte{stream(pax("uid=-1"), raw{name: "f", kind: '0', magic: ustar})}},
		{Name: "owner beyond 2^63", Refused: "tar", Layers: [][]byte{stream(pax("uid=9223372036854775808"), raw{name: "f", kind: '0', magic: ustar})}},
		m.taken("names of owners do not count", map[string]string{"d": "own=1:2"}, func() tar.Header {
			h := own(1, 2)
			h.Uname, h.Gname = "root", "root"
			return h
		}()),
	}
}

func (m maker) devices() []Hostile {
	node := func(kind byte, major, minor int64) tar.Header {
		h := Node("n", major, minor)
		h.Typeflag = kind
		if major > 07777777 || minor > 07777777 || major < 0 || minor < 0 {
			h.Format = tar.FormatGNU
		}
		return h
	}
	out := "out of range"
	return []Hostile{
		m.taken("the largest device numbers", map[string]string{"n": "char=4095:1048575 mode=666"}, node(tar.TypeChar, 0xfff, 0xfffff)),
		m.taken("a block device 0:0 is no whiteout", map[string]string{"n": "block=0:0"}, node(tar.TypeBlock, 0, 0)),
		m.taken("a fifo's number does not count", map[string]string{"n": "fifo"}, node(tar.TypeFifo, 5, 5)),
		m.refused("device number of 13 bits", out, node(tar.TypeChar, 0x1000, 0)),
		m.refused("device number of 21 bits", out, node(tar.TypeBlock, 0, 0x100000)),
		m.refused("device number that wraps to 1:1, /dev/mem", out, node(tar.TypeChar, 1<<32+1, 1)),
		m.refused("negative device number", out, node(tar.TypeChar, -1, 1)),
	}
}
