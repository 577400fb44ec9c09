package program

import (
	"encoding/binary"
	mathbits "math/bits"
	"strconv"

	"github.com/varve-cri/varve/runtime/plan"
	"golang.org/x/sys/unix"
)

// identity becomes the user: the bounding set while CAP_SETPCAP is there,
// groups before the user, then the capabilities that the user keeps. The
// securebits stay as they are, so that a root user gets its bounding set.
func (b *builder) identity(p *plan.Process, h Host) {
	for drop := h.Bounding &^ p.Caps.Bounding; drop != 0; drop &= drop - 1 {
		c := mathbits.TrailingZeros64(drop)
		b.on("drop capability", capName(c))
		b.prctl(name(unix.PR_CAPBSET_DROP, "CAPBSET_DROP"), name(uint64(c), capName(c)))
	}
	if p.UID != 0 && p.Caps.Permitted != 0 {
		b.on("keep capabilities", "")
		b.prctl(name(unix.PR_SET_KEEPCAPS, "SET_KEEPCAPS"), num(1))
	}
	list := b.bytes(4 * len(p.Groups))
	for i, g := range p.Groups {
		binary.NativeEndian.PutUint32(list[4*i:], g)
	}
	b.on("set groups", "")
	b.call(unix.SYS_SETGROUPS, "setgroups", num(uint64(len(p.Groups))), raw(list, groups))
	gid, uid := num(uint64(p.GID)), num(uint64(p.UID))
	b.on("set group", strconv.FormatUint(uint64(p.GID), 10))
	b.call(unix.SYS_SETRESGID, "setresgid", gid, gid, gid)
	b.on("set user", strconv.FormatUint(uint64(p.UID), 10))
	b.call(unix.SYS_SETRESUID, "setresuid", uid, uid, uid)
	b.capset(p.Caps)
}

func (b *builder) prctl(args ...Arg) { b.call(unix.SYS_PRCTL, "prctl", args...) }

// capset sets the thread's sets. What is inheritable is what is ambient, and
// nothing else (CVE-2022-29162).
func (b *builder) capset(c plan.Caps) {
	inheritable := c.Inheritable & c.Ambient
	header, data := b.bytes(8), b.bytes(24)
	binary.NativeEndian.PutUint32(header, unix.LINUX_CAPABILITY_VERSION_3)
	for half := range 2 {
		for i, set := range []uint64{c.Effective, c.Permitted, inheritable} {
			binary.NativeEndian.PutUint32(data[12*half+4*i:], uint32(set>>(32*half)))
		}
	}
	b.on("set capabilities", "")
	b.call(unix.SYS_CAPSET, "capset", opaque(header, "{v3 self}"), raw(data, capData))
	for rest := c.Ambient; rest != 0; rest &= rest - 1 {
		n := mathbits.TrailingZeros64(rest)
		b.on("raise ambient capability", capName(n))
		b.prctl(name(unix.PR_CAP_AMBIENT, "CAP_AMBIENT"), name(unix.PR_CAP_AMBIENT_RAISE, "RAISE"), name(uint64(n), capName(n)))
	}
}
