package layertest

import "archive/tar"

// whiteouts hide, and nothing else.
func (m maker) whiteouts() []Hostile {
	below := m.tar(File("a", "1"), File("d/x", "x"), File("d/y", "y"), File("d/sub/z", "z"), Link("l", "a"), Node("n", 1, 3))
	over := func(name string, want map[string]string, entries ...tar.Header) Hostile {
		return Hostile{Name: name, Layers: [][]byte{below, m.tar(entries...)}, Want: want}
	}
	return []Hostile{
		m.refused("whiteout of dotdot", "whiteout of no name", File("d/.wh...", "")),
		m.refused("whiteout of dot", "whiteout of no name", File("d/.wh..", "")),
		m.refused("whiteout of nothing", "whiteout of no name", File(".wh.", "")),
		m.refused("below a whiteout's own name", "whiteout", File("a/.wh.b/c", "x")),
		m.refused("a directory below a whiteout's own name", "whiteout", Dir(".wh.b/c/", 0o755)),
		over("all kinds are hidden", map[string]string{"a": "none", "d": "none", "l": "none", "n": "none"}, File(".wh.a", ""), File(".wh.d", ""), File(".wh.l", ""), File(".wh.n", "")),
		over("a whiteout's own kind does not count", map[string]string{"a": "none", "d": "none", "l": "none", "n": "none"},
			Dir(".wh.a", 0o755), Link(".wh.d", "/etc"), Node(".wh.l", 1, 3), File(".wh.n", "a body that is skipped")),
		over("a whiteout of what is not there", map[string]string{"a": "body=1", "gone": "none"}, File(".wh.gone", ""), File("d/.wh.gone", "")),
		over("this layer's own stays, whichever came first", map[string]string{"a": "body=2", "l": "body=3", "d": "dir holds=new", "n": "dir holds="},
			File(".wh.a", ""), File("a", "2"), File("l", "3"), File(".wh.l", ""), Dir("d", 0o755), File("d/new", "n"), File(".wh.d", ""), File(".wh.n", ""), Dir("n", 0o755)),
		over("opaque hides what is below and not what is beside", map[string]string{"d": "dir holds=new,own", "d/x": "none", "d/sub": "none", "d/own": "body=o", "a": "body=1"},
			File("d/own", "o"), File("d/.wh..wh..opq", ""), File("d/new", "n")),
		over("opaque at the root", map[string]string{"a": "none", "d": "none", "b": "body=b"}, File(".wh..wh..opq", ""), File("b", "b")),
		over("a device 0:0 is a whiteout by another name", map[string]string{"a": "none", "d/x": "none", "d/y": "body=y"}, Node("a", 0, 0), Node("d/x", 0, 0)),
		over("overlay's own attributes are not an archive's to set", map[string]string{"d": "dir holds=sub,x,y xattr:trusted.overlay.opaque= xattr:user.overlay.opaque= xattr:trusted.overlay.redirect=", "d/x": "body=x", "f": "file size=0 xattr:trusted.overlay.metacopy="},
			with(Dir("d", 0o755), "SCHILY.xattr.trusted.overlay.opaque", "y", "SCHILY.xattr.user.overlay.opaque", "y", "SCHILY.xattr.trusted.overlay.redirect", "/etc"),
			with(File("f", ""), "SCHILY.xattr.trusted.overlay.metacopy", "", "SCHILY.xattr.trusted.overlay.redirect", "/a", "SCHILY.xattr.user.overlay.whiteout", "y")),
		over("a file that overlay would call a whiteout", map[string]string{"a": "file size=0"}, with(File("a", ""), "SCHILY.xattr.trusted.overlay.whiteout", "y", "SCHILY.xattr.user.overlay.whiteout", "y")),
	}
}

// oldWhiteouts are what aufs left in images of its time.
func (m maker) oldWhiteouts() []Hostile {
	below := m.tar(File("a", "1"), File("d/x", "x"))
	return []Hostile{{
		Name: "notes of aufs are left out",
		Layers: [][]byte{below, m.tar(Dir(".wh..wh.plnk", 0o700), File(".wh..wh.plnk/123.456", "x"), File(".wh..wh.aufs", ""), Dir(".wh..wh.orph/", 0o700), File(".wh..wh.orph/deep/f", "x"),
			File("d/.wh..wh.x", ""), File("b", "b"))},
		Want: map[string]string{"a": "body=1", "d/x": "body=x", "b": "body=b", ".wh..wh.plnk": "none", ".wh..wh.aufs": "none", ".wh..wh.orph": "none", "d/.wh..wh.x": "none"},
	}}
}

// again are names that come more than once: the last entry wins.
func (m maker) again() []Hostile {
	private := Dir("d", 0o700)
	private.Uid = 7
	return []Hostile{
		m.taken("the last entry wins", map[string]string{"a": "body=2", "s": "body=own", "f": "dir mode=700", "f/in": "body=in", "g": "body=file", "h": "fifo", "k": "to=x"},
			File("a", "1"), File("a", "2"), Link("s", "a"), File("s", "own"), File("f", "x"), Dir("f", 0o700), File("f/in", "in"), File("g/x/y", "gone"), File("g", "file"),
			Node("h", 1, 3), tar.Header{Name: "h", Typeflag: tar.TypeFifo}, Dir("k", 0o755), Link("k", "x")),
		m.taken("a directory again keeps what it holds", map[string]string{"d": "dir mode=700 own=7:0 holds=x,y", "d/x": "body=x"}, Dir("d", 0o777), File("d/x", "x"), private, File("d/y", "y")),
		m.taken("the root again", map[string]string{"a": "body=a"}, Dir("./", 0o755), File("a", "a"), Dir("/", 0o711), Dir(".", 0o755)),
		m.taken("a link's target is replaced", map[string]string{"h": "body=1 links=1", "f": "body=2 links=1"}, File("f", "1"), Hard("h", "f"), File("f", "2")),
		m.taken("the same link twice", map[string]string{"h": "body=1 links=2"}, File("f", "1"), Hard("h", "f"), Hard("h", "f")),
		m.taken("file, directory, file, a hundred times", map[string]string{"x": "file body=end"}, flapping()...),
	}
}

func flapping() (all []tar.Header) {
	for range 100 {
		all = append(all, File("x", "f"), Dir("x", 0o755), File("x/y/z", "f"), Link("x", "y"), Dir("x", 0o755))
	}
	return append(all, File("x", "end"))
}
