package layertest

import (
	"archive/tar"
	"testing"
)

// Corpus is the hostile archives, and the strange ones that are right.
func Corpus(t testing.TB) []Hostile {
	m := maker{t}
	var all []Hostile
	for _, part := range [][]Hostile{
		m.names(), m.strangeNames(), m.links(), m.hardLinks(), m.whiteouts(), m.oldWhiteouts(), m.again(), m.attributes(), m.times(), m.owners(), m.devices(),
		m.headers(), m.formats(), m.sparse(), m.bombs(),
	} {
		all = append(all, part...)
	}
	return all
}

// maker makes archives for the corpus.
type maker struct{ t testing.TB }

// tar is one layer of entries that a library writes.
func (m maker) tar(entries ...tar.Header) []byte { return Tar(m.t, entries...) }

// refused is a case of one layer.
func (m maker) refused(name, says string, entries ...tar.Header) Hostile {
	return Hostile{Name: name, Refused: says, Layers: [][]byte{m.tar(entries...)}}
}

// taken is a case of one layer that is right.
func (m maker) taken(name string, want map[string]string, entries ...tar.Header) Hostile {
	return Hostile{Name: name, Want: want, Layers: [][]byte{m.tar(entries...)}}
}

// Link, Hard and Node are headers for Tar.

// Link is a symbolic link.
func Link(name, to string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: to, Mode: 0o777}
}

// Hard is a hard link to an entry's name.
func Hard(name, to string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeLink, Linkname: to}
}

// Node is a character device.
func Node(name string, major, minor int64) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeChar, Devmajor: major, Devminor: minor, Mode: 0o666}
}

// with adds PAX records to a header.
func with(h tar.Header, records ...string) tar.Header {
	h.Format, h.PAXRecords = tar.FormatPAX, map[string]string{}
	for i := 0; i < len(records); i += 2 {
		h.PAXRecords[records[i]] = records[i+1]
	}
	return h
}
