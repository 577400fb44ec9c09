package layertest

import (
	"archive/tar"
	"bytes"
	"fmt"
	"strings"

	"github.com/varve-cri/varve/imagestore/unpack"
)

func whole(name, refused string, want map[string]string, archive []byte) Hostile {
	return Hostile{Name: name, Refused: refused, Want: want, Layers: [][]byte{archive}}
}

// headers are malformed, or ask for more than there is.
func (m maker) headers() []Hostile {
	file := raw{name: "f", kind: '0', magic: ustar, body: "x"}
	good := stream(file)
	evil := func(change func(*raw)) []byte {
		r := file
		change(&r)
		return stream(r)
	}
	smuggled := string(raw{name: "smuggled", kind: '0', magic: ustar, body: "evil"}.bytes())
	return []Hostile{
		whole("CVE-2017-14992 extended header of 8 GiB", "tar", nil, append(raw{name: "x", kind: 'x', magic: ustar, size: "77777777777\x00"}.bytes(), make([]byte, 1<<20)...)),
		whole("CVE-2017-14992 extended header of 8 MiB", "tar", nil, stream(pax("comment="+strings.Repeat("c", 8<<20)), file)),
		whole("CVE-2017-14992 global header of 8 MiB", "tar", nil, stream(func() raw { r := pax("comment=" + strings.Repeat("c", 8<<20)); r.kind = 'g'; return r }(), file)),
		whole("CVE-2017-14992 long name of 8 MiB", "tar", nil, stream(raw{name: "././@LongLink", kind: 'L', magic: gnu, body: strings.Repeat("n", 8<<20)}, file)),
		whole("CVE-2017-14992 long link of 2 GiB", "tar", nil, append(raw{name: "././@LongLink", kind: 'K', magic: gnu, size: "20000000000\x00"}.bytes(), make([]byte, 1<<20)...)),
		whole("wrong checksum", "tar", nil, evil(func(r *raw) { r.sum = "000000\x00 " })),
		whole("size is negative", "tar", nil, evil(func(r *raw) { r.magic, r.size = gnu, base256(-512, 12) })),
		whole("size of 2^63-1", "more than", nil, evil(func(r *raw) { r.magic, r.size = gnu, base256(1<<63-1, 12) })),
		whole("size in a record is negative", "tar", nil, stream(pax("size=-1"), file)),
		whole("size in letters", "tar", nil, evil(func(r *raw) { r.size = "twelve\x00" })),
		whole("mode in letters", "tar", nil, evil(func(r *raw) { r.mode = "rwxr-x\x00" })),
		whole("unknown type", "unknown", nil, evil(func(r *raw) { r.kind = 'Z' })),
		whole("GNU dump directory", "unknown", nil, evil(func(r *raw) { r.kind, r.magic = 'D', gnu })),
		whole("NUL in a record's name", "tar", nil, stream(pax("path=a\x00b"), file)),
		whole("NUL in a record's link", "tar", nil, stream(pax("linkpath=a\x00b"), raw{name: "l", kind: '2', magic: ustar})),
		whole("record longer than the header", "tar", nil, stream(raw{name: "x", kind: 'x', magic: ustar, body: "99999 path=a\n"}, file)),
		whole("record of no length", "tar", nil, stream(raw{name: "x", kind: 'x', magic: ustar, body: "path=a\n"}, file)),
		whole("record of length 0", "tar", nil, stream(raw{name: "x", kind: 'x', magic: ustar, body: "0 path=a\n"}, file)),
		whole("record without a line's end", "tar", nil, stream(raw{name: "x", kind: 'x', magic: ustar, body: "9 path=ab"}, file)),
		whole("a long name and nothing named", "", map[string]string{"name": "none"}, stream(raw{name: "././@LongLink", kind: 'L', magic: gnu, body: "name\x00"})),
		whole("one block of zeros, then more", "tar", nil, append(make([]byte, 512), good...)),
		whole("cut in a header", "unexpected EOF", nil, good[:300]),
		whole("cut in a body", "unexpected EOF", nil, evil(func(r *raw) { r.size = "00000010000\x00" })[:1024]),
		whole("cut in padding", "", map[string]string{"f": "body=x"}, good[:600]),
		whole("no end", "", map[string]string{"f": "body=x"}, good[:1024]),
		whole("nothing", "", map[string]string{"f": "none"}, nil),
		whole("only an end", "", map[string]string{"f": "none"}, make([]byte, 1024)),
		whole("a second archive behind the end", "", map[string]string{"f": "body=x", "g": "none"}, append(bytes.Clone(good), stream(raw{name: "g", kind: '0', magic: ustar})...)),
		// CVE-2025-62518: two sizes of one body; who takes the smaller reads the body's bytes as entries.
		whole("CVE-2025-62518 the record's size counts, not the header's", "", map[string]string{"f": fmt.Sprintf("file size=%d", len(smuggled)), "smuggled": "none", "after": "body=x"},
			stream(pax(fmt.Sprintf("size=%d", len(smuggled))), raw{name: "f", kind: '0', magic: ustar, size: "00000000000\x00", body: smuggled}, raw{name: "after", kind: '0', magic: ustar, body: "x"})),
		whole("a directory with a size has no body", "", map[string]string{"d": "dir", "f": "body=x"}, stream(raw{name: "d/", kind: '5', magic: ustar, size: "00000001000\x00"}, file)),
		whole("a link with a size has no body", "", map[string]string{"l": "to=t", "f": "body=x"}, stream(raw{name: "l", link: "t", kind: '2', magic: ustar, size: "00000001000\x00"}, file)),
	}
}

// formats are tar's dialects.
func (m maker) formats() []Hostile {
	long := strings.Repeat("long/", 60) + "name"
	global := pax("path=everyone", "uid=77", "comment=x")
	global.kind = 'g'
	return []Hostile{
		whole("version 7", "", map[string]string{"d": "dir mode=750", "d/f": "body=x mode=644", "h": "links=2", "l": "to=d/f"},
			stream(raw{name: "d/", kind: 0, mode: "0000750\x00"}, raw{name: "d/f", kind: 0, body: "x"}, raw{name: "h", kind: '1', link: "d/f"}, raw{name: "l", kind: '2', link: "d/f"})),
		whole("ustar with a prefix", "", map[string]string{"pre/fix/f": "body=x"}, stream(raw{name: "f", prefix: "pre/fix", kind: '0', magic: ustar, body: "x"})),
		whole("ustar with a prefix that climbs", "climbs out", nil, stream(raw{name: "f", prefix: "../..", kind: '0', magic: ustar, body: "x"})),
		whole("ustar with a name that fills its field", "", map[string]string{strings.Repeat("n", 100): "body=x"}, stream(raw{name: strings.Repeat("n", 100), kind: '0', magic: ustar, body: "x"})),
		whole("GNU long name and long link", "", map[string]string{long: "body=x", "l": "to=" + long, "h": "links=2"}, stream(
			raw{name: "././@LongLink", kind: 'L', magic: gnu, body: long + "\x00"}, raw{name: "short", kind: '0', magic: gnu, body: "x"},
			raw{name: "././@LongLink", kind: 'K', magic: gnu, body: long + "\x00"}, raw{name: "l", link: "short", kind: '2', magic: gnu},
			raw{name: "././@LongLink", kind: 'K', magic: gnu, body: long + "\x00"}, raw{name: "h", link: "short", kind: '1', magic: gnu})),
		whole("GNU long name that climbs", "climbs out", nil, stream(raw{name: "././@LongLink", kind: 'L', magic: gnu, body: "../../x\x00"}, raw{name: "short", kind: '0', magic: gnu, body: "x"})),
		whole("record's name over the header's", "", map[string]string{"real": "body=x", "fake": "none"}, stream(pax("path=real"), raw{name: "fake", kind: '0', magic: ustar, body: "x"})),
		whole("record's name that climbs", "climbs out", nil, stream(pax("path=../../x"), raw{name: "fake", kind: '0', magic: ustar, body: "x"})),
		whole("record's link that climbs", "climbs out", nil, stream(pax("linkpath=../../etc/passwd"), raw{name: "h", link: "f", kind: '1', magic: ustar})),
		whole("records for every entry are left out", "", map[string]string{"f": "body=x own=0:0", "g": "body=y", "everyone": "none"}, stream(global, raw{name: "f", kind: '0', magic: ustar, body: "x"}, global, raw{name: "g", kind: '0', magic: ustar, body: "y"})),
		whole("contiguous files are files", "", map[string]string{"f": "file body=x"}, stream(raw{name: "f", kind: '7', magic: ustar, body: "x"})),
		whole("a record that nobody knows", "", map[string]string{"f": "body=x"}, stream(pax("VENDOR.x=y", "LIBARCHIVE.creationtime=1", "hdrcharset=BINARY", "comment="), raw{name: "f", kind: '0', magic: ustar, body: "x"})),
		whole("large numbers in binary", "", map[string]string{"f": "body=x own=3000000000:2000"}, stream(raw{name: "f", kind: '0', magic: gnu, body: "x", uid: base256(3_000_000_000, 8), gid: base256(2000, 8), size: base256(1, 12)})),
	}
}

// sparse files, true and lying ones. The maps are GNU's PAX format 0.1 and 1.0.
func (m maker) sparse() []Hostile {
	map01 := func(list, size, body string) []byte {
		return stream(pax("GNU.sparse.major=0", "GNU.sparse.minor=1", "GNU.sparse.name=s", "GNU.sparse.size="+size, "GNU.sparse.numblocks="+itoa((strings.Count(list, ",")+1)/2), "GNU.sparse.map="+list), raw{name: "x", kind: '0', magic: ustar, body: body})
	}
	map10 := func(text, size, body string) []byte {
		text += strings.Repeat("\x00", (512-len(text)%512)%512)
		return stream(pax("GNU.sparse.major=1", "GNU.sparse.minor=0", "GNU.sparse.name=s", "GNU.sparse.realsize="+size), raw{name: "x", kind: '0', magic: ustar, body: text + body})
	}
	small := unpack.Limits{Bytes: 1 << 20, Entries: 100}
	bomb := whole("bomb: a file that is a hole of an exabyte", "more than", nil, map01("1000000000000000000,0", "1000000000000000000", ""))
	limited := whole("bomb: a hole beyond the limit", "more than 1048576 bytes", nil, map01("0,1,2000000,0", "2000000", "x"))
	limited.Limits = small
	return []Hostile{
		whole("sparse file, old map", "", map[string]string{"s": "size=70000", "x": "none"}, map01("0,4,69996,4", "70000", "headtail")),
		whole("sparse file, new map", "", map[string]string{"s": "size=70000", "x": "none"}, map10("2\n0\n4\n69996\n4\n", "70000", "headtail")),
		whole("sparse file that is all hole", "", map[string]string{"s": "size=1000000"}, map10("1\n1000000\n0\n", "1000000", "")),
		whole("sparse map that overlaps", "tar", nil, map01("0,4,2,4", "70000", "headtail")),
		whole("sparse map beyond the size", "tar", nil, map01("0,4,69999,4", "70000", "headtail")),
		whole("sparse map backwards", "tar", nil, map01("100,4,0,4", "70000", "headtail")),
		whole("sparse map of negative numbers", "tar", nil, map01("-4,8", "70000", "headtail")),
		whole("sparse map that wraps", "tar", nil, map01("9223372036854775807,8", "70000", "headtail")),
		whole("sparse map of more than the body", "tar", nil, map10("1\n0\n4000000\n", "70000", "x")),
		whole("sparse map of a billion parts", "tar", nil, map10("1000000000\n0\n4\n", "70000", "head")),
		whole("sparse map in letters", "tar", nil, map10("one\n0\n4\n", "70000", "head")),
		whole("sparse size is negative", "tar", nil, map10("1\n0\n4\n", "-70000", "head")),
		whole("sparse name that climbs", "climbs out", nil, stream(pax("GNU.sparse.major=0", "GNU.sparse.minor=1", "GNU.sparse.name=../../s", "GNU.sparse.size=4", "GNU.sparse.numblocks=1", "GNU.sparse.map=0,4"), raw{name: "x", kind: '0', magic: ustar, body: "head"})),
		bomb, limited,
	}
}

// bombs are archives that are larger than they look, stopped by a limit.
func (m maker) bombs() []Hostile {
	entries := whole("bomb: more entries than the limit", "more than 100 entries", nil, m.tar(many(101, "f")...))
	again := whole("bomb: one name more often than the limit", "more than 100 entries", nil, m.tar(many101()...))
	global := whole("bomb: more headers for every entry than the limit", "more than 100 entries", nil, func() []byte {
		g := pax("comment=x")
		g.kind = 'g'
		var all []raw
		for range 101 {
			all = append(all, g)
		}
		return stream(all...)
	}())
	sum := whole("bomb: files that are too large together", "more than 1048576 bytes", nil, m.tar(File("a", strings.Repeat("x", 600<<10)), File("b", strings.Repeat("x", 600<<10))))
	for _, c := range []*Hostile{&entries, &again, &global, &sum} {
		c.Limits = unpack.Limits{Bytes: 1 << 20, Entries: 100}
	}
	return []Hostile{
		entries, again, global, sum,
		m.taken("20,000 hard links to one file", map[string]string{"f": "body=x", "l/19999": "body=x"}, linked(20_000)...),
	}
}

func many101() (all []tar.Header) {
	for range 101 {
		all = append(all, File("f", "x"))
	}
	return all
}

func linked(n int) []tar.Header {
	all := []tar.Header{File("f", "x"), Dir("l", 0o755)}
	for i := range n {
		all = append(all, Hard("l/"+itoa(i), "f"))
	}
	return all
}
