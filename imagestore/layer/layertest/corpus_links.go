package layertest

import (
	"archive/tar"
	"strconv"
	"strings"
)

func itoa(i int) string { return strconv.Itoa(i) }

// links are entries that go through symbolic links.
func (m maker) links() []Hostile {
	const id = "CVE-2021-32760 CVE-2025-47290 "
	up := strings.Repeat("../", 30)
	var chain []tar.Header
	for i := range 45 {
		chain = append(chain, Link("l"+itoa(i), "l"+itoa(i+1)))
	}
	return []Hostile{
		m.refused(id+"through an absolute link", "l/x", Link("l", "/tmp"), File("l/x", "evil")),
		m.refused(id+"through a climbing link", "climbs out", Link("l", up+"tmp"), File("l/x", "evil")),
		m.refused(id+"through two links", "climbs out", Link("a", "."), Link("b", "a/.."), File("b/x", "evil")),
		m.refused(id+"a directory through a link", "l/d", Link("l", "/tmp"), Dir("l/d", 0o777)),
		m.refused(id+"a device through a link", "l/d", Link("l", "/dev"), Node("l/d", 1, 1)),
		m.refused(id+"a link through a link", "l/k", Link("l", "/tmp"), Link("l/k", "x")),
		m.refused(id+"a whiteout through a link", "l/.wh.passwd", Link("l", "/etc"), File("l/.wh.passwd", "")),
		m.refused(id+"an opaque mark through a link", "l/.wh..wh..opq", Link("l", "/etc"), File("l/.wh..wh..opq", "")),
		m.refused(id+"through proc", "p/x", Link("p", "/proc/self/cwd"), File("p/x", "evil")),
		m.refused(id+"a link to itself", "l/x", Link("l", "l"), File("l/x", "evil")),
		m.refused(id+"two links in a circle", "a/x", Link("a", "b"), Link("b", "a"), File("a/x", "evil")),
		{Name: id + "45 links in a row", Refused: "l0/x", Layers: [][]byte{m.tar(append(chain, Dir("l45", 0o755), File("l0/x", "x"))...)}},
		m.taken("links of the layer are followed in the layer", map[string]string{"run/pid": "body=1", "usr/lib/so": "body=2", "var/run": "to=/run", "lib": "to=usr/lib", "deep/new/f": "body=3"},
			Dir("run", 0o755), Dir("usr/lib", 0o755), Link("var/run", "/run"), Link("lib", "usr/lib"), File("var/run/pid", "1"), File("lib/so", "2"), Dir("deep", 0o755), Link("e", "./deep"), File("e/new/f", "3")),
		m.taken(id+"an entry replaces a link and does not follow it", map[string]string{"l": "file body=own mode=4755", "k": "dir mode=1777", "n": "char=1:3"},
			Link("l", "/etc/hostname"), setuid("l", "own"), Link("k", "/tmp/.."), Dir("k", 0o1777), Link("n", "/dev/null"), Node("n", 1, 3)),
		m.taken(id+"late times do not follow", map[string]string{"d": "to=/etc"}, Dir("d", 0o755), Link("d", "/etc")),
		{Name: id + "a directory over a link of the layer below", Layers: [][]byte{m.tar(Link("l", up+"tmp"), Link("k", "/etc")), m.tar(File("l/x", "x"), Dir("k", 0o700), File("k/passwd", "y"))},
			Want: map[string]string{"l": "dir holds=x", "l/x": "body=x", "k": "dir mode=700 holds=passwd", "k/passwd": "body=y"}},
		{Name: id + "a whiteout below a link of the layer below", Layers: [][]byte{m.tar(Link("l", "/etc")), m.tar(File("l/.wh.passwd", ""))}, Want: map[string]string{"l": "dir", "l/passwd": "none"}},
	}
}

func setuid(name, body string) tar.Header {
	h := File(name, body)
	h.Mode = 0o4755
	return h
}

// hardLinks are entries that give a second name to something.
func (m maker) hardLinks() []Hostile {
	const id = "CVE-2021-32760 "
	loud := Hard("h", "f")
	loud.Mode, loud.Uid = 0o4777, 1000
	return []Hostile{
		m.refused(id+"hard link out", "climbs out", Hard("h", "../../../../etc/passwd")),
		m.refused(id+"hard link to an absolute path of the host", "etc/passwd", Hard("h", "/etc/passwd")),
		m.refused(id+"hard link through a climbing link", "climbs out", Link("l", "../.."), Hard("h", "l/etc/passwd")),
		m.refused(id+"hard link through an absolute link", "h", Link("l", "/etc"), Hard("h", "l/passwd")),
		m.refused("hard link to nothing", "no/such", Hard("h", "no/such")),
		m.refused("hard link to itself", "its own target", File("h", "x"), Hard("h", "h")),
		m.refused("hard link to itself by another name", "its own target", File("d/h", "x"), Hard("d/h", "./d/../d/h")),
		m.refused("hard link to a directory", "is a directory", Dir("d", 0o755), Hard("h", "d")),
		m.refused("hard link to the root", "hard link to the root", Hard("h", ".")),
		m.refused("hard link without a target", "hard link to the root", Hard("h", "")),
		m.refused("two hard links to each other", "hard link", Hard("a", "b"), Hard("b", "a")),
		m.refused("hard link to a whiteout", "hard link", File(".wh.a", ""), Hard("h", "a")),
		{Name: "hard link to what this layer hides", Refused: "hard link", Layers: [][]byte{m.tar(File("a", "x")), m.tar(File(".wh.a", ""), Hard("h", "a"))}},
		{Name: "hard link to a device of the layer below", Refused: "hard link", Layers: [][]byte{m.tar(Node("n", 240, 99)), m.tar(Hard("h", "n"))}},
		{Name: "hard link to a fifo of the layer below", Refused: "hard link", Layers: [][]byte{m.tar(tar.Header{Name: "n", Typeflag: tar.TypeFifo}), m.tar(Hard("h", "n"))}},
		{Name: "hard link to a directory of the layer below", Refused: "hard link", Layers: [][]byte{m.tar(Dir("n", 0o755)), m.tar(Hard("h", "n"))}},
		{Name: id + "hard link through a link of the layer below", Refused: "hard link", Layers: [][]byte{m.tar(Link("l", "/etc")), m.tar(Hard("h", "l/passwd"))}},
		m.taken(id+"a hard link's own attributes do not count", map[string]string{"f": "body=x mode=755 own=0:0 links=2", "h": "body=x mode=755 own=0:0"}, File("f", "x"), loud),
		m.taken("hard link to a symbolic link", map[string]string{"l": "to=/etc/shadow links=2", "h": "to=/etc/shadow"}, Link("l", "/etc/shadow"), Hard("h", "l")),
		m.taken("hard link to a device", map[string]string{"h": "char=1:3 links=2"}, Node("n", 1, 3), Hard("h", "n")),
		m.taken("hard link before its target", map[string]string{"h": "body=x links=3", "d/f": "body=x"}, Hard("h", "d/f"), Hard("i", "d/f"), File("d/f", "x")),
		m.taken("hard link over its target's directory's name", map[string]string{"d": "file body=x", "e/f": "body=x links=2"}, File("e/f", "x"), Dir("d", 0o755), Hard("d", "e/f")),
		m.taken("hard links through links of the layer", map[string]string{"h": "body=x links=2"}, File("usr/lib/f", "x"), Link("lib", "usr/lib"), Hard("h", "lib/f")),
		{Name: "hard link to a file of the layer below", Layers: [][]byte{m.tar(setuid("d/f", "x")), m.tar(Hard("h", "d/f"), Hard("i", "d/f"))}, Want: map[string]string{"h": "body=x mode=4755", "i": "body=x", "d/f": "body=x links=3"}},
	}
}
