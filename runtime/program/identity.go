package program

import (
	"math/bits"
	"strconv"
	"strings"

	"github.com/varve-cri/varve/runtime/plan"
	"golang.org/x/sys/unix"
)

// identity becomes the user: the bounding set while CAP_SETPCAP is there,
// groups before the user, then the capabilities that the user keeps. The
// securebits stay as they are, so that a root user gets its bounding set.
func (b *builder) identity(p *plan.Process, h Host) {
	drop := h.Bounding &^ p.Caps.Bounding
	for drop != 0 {
		c := bits.TrailingZeros64(drop)
		drop &^= 1 << c
		b.on("drop capability", capName(c))
		b.prctl("CAPBSET_DROP", num(unix.PR_CAPBSET_DROP, "CAPBSET_DROP"), num(uint64(c), capName(c)), zero, zero, zero)
	}
	keep := p.UID != 0 && p.Caps.Permitted != 0
	if keep {
		b.on("keep capabilities", "")
		b.prctl("KEEPCAPS", num(unix.PR_SET_KEEPCAPS, "SET_KEEPCAPS"), num(1, "1"), zero, zero, zero)
	}
	groups, text := make([]byte, 0, 4*len(p.Groups)), make([]string, len(p.Groups))
	for i, g := range p.Groups {
		groups, text[i] = append32(groups, g), strconv.FormatUint(uint64(g), 10)
	}
	b.on("set groups", strings.Join(text, ","))
	n := len(p.Groups)
	b.call(unix.SYS_SETGROUPS, "setgroups", num(uint64(n), itoa(n)), raw(groups, "["+strings.Join(text, " ")+"]"))
	id := func(v uint32) Arg { return num(uint64(v), strconv.FormatUint(uint64(v), 10)) }
	b.on("set group", strconv.FormatUint(uint64(p.GID), 10))
	b.call(unix.SYS_SETRESGID, "setresgid", id(p.GID), id(p.GID), id(p.GID))
	b.on("set user", strconv.FormatUint(uint64(p.UID), 10))
	b.call(unix.SYS_SETRESUID, "setresuid", id(p.UID), id(p.UID), id(p.UID))
	b.capset(p.Caps)
}

// capset sets the thread's sets. What is inheritable is what is ambient, and
// nothing else (CVE-2022-29162).
func (b *builder) capset(c plan.Caps) {
	inheritable := c.Inheritable & c.Ambient
	header := append32(append32(nil, unix.LINUX_CAPABILITY_VERSION_3), 0)
	var data []byte
	for _, half := range []int{0, 32} {
		data = append32(data, uint32(c.Effective>>half))
		data = append32(data, uint32(c.Permitted>>half))
		data = append32(data, uint32(inheritable>>half))
	}
	hex := func(v uint64) string { return strconv.FormatUint(v, 16) }
	b.on("set capabilities", "")
	b.call(unix.SYS_CAPSET, "capset", raw(header, "{v3 self}"),
		raw(data, "{eff "+hex(c.Effective)+" perm "+hex(c.Permitted)+" inh "+hex(inheritable)+"}"))
	for rest := c.Ambient; rest != 0; rest &= rest - 1 {
		n := bits.TrailingZeros64(rest)
		b.on("raise ambient capability", capName(n))
		b.prctl("CAP_AMBIENT", num(unix.PR_CAP_AMBIENT, "CAP_AMBIENT"),
			num(unix.PR_CAP_AMBIENT_RAISE, "RAISE"), num(uint64(n), capName(n)), zero, zero)
	}
}
