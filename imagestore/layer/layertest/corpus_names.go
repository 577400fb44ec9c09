package layertest

import (
	"archive/tar"
	"strings"
)

// names are entries that lead out of the layer by their own name.
func (m maker) names() []Hostile {
	out := "climbs out of the layer"
	return []Hostile{
		m.refused("CVE-2020-10696 dotdot", out, File("../x", "evil")),
		m.refused("CVE-2020-10696 dotdot below", out, File("a/../../x", "evil")),
		m.refused("CVE-2020-10696 dotdot at the root", out, File("/../x", "evil")),
		m.refused("CVE-2020-10696 dotdot alone", out, Dir("..", 0o777)),
		m.refused("CVE-2020-10696 dotdot with a slash", out, Dir("../", 0o777)),
		m.refused("CVE-2020-10696 many dots", out, File(strings.Repeat("../", 30)+"etc/passwd", "evil")),
		m.refused("whiteout outside", out, File("../.wh.in", "")),
		m.refused("opaque outside", out, File("../.wh..wh..opq", "")),
		m.taken("CVE-2020-10696 absolute names are the layer's", map[string]string{"etc/passwd": "body=mine", "x": "body=two"}, File("/etc/passwd", "mine"), File("///x", "two")),
		m.taken("dots within", map[string]string{"a/c": "body=c", "d": "body=d", "e/f": "body=f"}, File("a/b/../c", "c"), File("./././d", "d"), File("e//.//f", "f")),
		m.taken("backslashes are letters", map[string]string{`..\x`: "body=x", `C:\y`: "body=y"}, File(`..\x`, "x"), File(`C:\y`, "y")),
		m.taken("CVE-2026-39822 trailing slashes", map[string]string{"l": "dir mode=700 holds=", "k": "dir", "f": "file body=x"},
			Link("l", "../../../../../../tmp"), Dir("l/", 0o700), Link("k", "/etc/"), Dir("k/./", 0o755), File("f", "x")),
		m.refused("CVE-2026-39822 below a link with slashes", "l", Link("l", "../../../../../tmp/"), File("l//x", "evil")),
		whole("a file as root", "root of a layer", nil, stream(raw{name: "./", kind: '0', magic: ustar})),
		m.refused("a link as root", "root of a layer", Link(".", "/tmp")),
		m.refused("a device as root", "root of a layer", Node(".", 1, 3)),
		m.refused("below a file", "f/x", File("f", "x"), File("f/x", "y")),
		m.refused("a directory below a file", "f/x", File("f", "x"), Dir("f/x", 0o755)),
		m.refused("below a device", "n/x", Node("n", 1, 3), File("n/x", "y")),
		m.refused("name of 256 bytes", "file name too long", File("d/"+strings.Repeat("n", 256), "x")),
		m.refused("directory name of 256 bytes", "file name too long", File(strings.Repeat("n", 256)+"/f", "x")),
		m.refused("path of 5000 bytes", "file name too long", File(strings.Repeat("d/", 2500)+"f", "x")),
	}
}

// strangeNames are right, and must come through as they are.
func (m maker) strangeNames() []Hostile {
	long := strings.Repeat("n", 255)
	deep := strings.Repeat("d/", 2000) + "f"
	odd := []string{"\xff\xfe\x80", "ümlaut", "u\u0308", "a b", "tab\there", "new\nline", "-rf", "...", ".. ", " ..", "*", "$(x)", "`x`", "\x01\x1b[2J", "\u202etxt", ".wh", ".whx", "..wh.x", "wh.x", ".WH.x"}
	want, entries := map[string]string{}, []tar.Header{}
	for _, name := range odd {
		entries = append(entries, File("odd/"+name, "b"))
		want["odd/"+name] = "file body=b"
	}
	return []Hostile{
		m.taken("odd names", want, entries...),
		m.taken("names that differ in case", map[string]string{"Case": "body=1", "case": "body=2", "CASE/x": "body=3", "d/A": "to=a", "d/a": "body=4"},
			File("Case", "1"), File("case", "2"), File("CASE/x", "3"), Link("d/A", "a"), File("d/a", "4")),
		m.taken("name of 255 bytes", map[string]string{long: "body=x", "d/" + long + "/f": "body=y", "l": "to=" + long}, File(long, "x"), File("d/"+long+"/f", "y"), Link("l", long)),
		m.taken("path of 4000 bytes", map[string]string{deep: "body=x"}, File(deep, "x")),
		m.taken("link text of 4095 bytes", map[string]string{"l": "to=" + strings.Repeat("t", 4095)}, Link("l", strings.Repeat("t", 4095))),
		m.refused("link text of 4096 bytes", "file name too long", Link("l", strings.Repeat("t", 4096))),
		m.taken("text of links is not looked at", map[string]string{"a": "to=../../..", "b": "to=/proc/self/fd/3", "c": "to=.wh.x", "d": "to=//"}, Link("a", "../../.."), Link("b", "/proc/self/fd/3"), Link("c", ".wh.x"), Link("d", "//")),
		m.taken("many names in a directory", map[string]string{"d/" + strings.Repeat("x", 200) + "2999": "body=x"}, many(3000, "d/"+strings.Repeat("x", 200))...),
		m.taken("nothing at all", map[string]string{"x": "none"}),
		m.taken("only a root", map[string]string{"x": "none"}, Dir("./", 0o700)),
	}
}

func many(n int, prefix string) []tar.Header {
	all := make([]tar.Header, n)
	for i := range all {
		all[i] = File(prefix+itoa(i), "x")
	}
	return all
}
