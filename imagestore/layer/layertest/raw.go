package layertest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
)

// raw is one header of a tar stream as it lies in the stream, for those that no
// library would write. Fields that are empty are NULs.
type raw struct {
	name, mode, uid, gid, size, mtime string
	kind                              byte
	link, magic                       string // magic with version, 8 bytes
	major, minor, prefix              string
	body                              string
	// sum replaces the checksum.
	sum string
}

const (
	ustar = "ustar\x0000"
	gnu   = "ustar  \x00"
)

// bytes gives the header, and the body padded to blocks.
func (r raw) bytes() []byte {
	h := make([]byte, 512)
	or := func(s, otherwise string) string {
		if s == "" {
			return otherwise
		}
		return s
	}
	copy(h, r.name)
	copy(h[100:108], or(r.mode, "0000644\x00"))
	copy(h[108:116], or(r.uid, "0000000\x00"))
	copy(h[116:124], or(r.gid, "0000000\x00"))
	copy(h[124:136], or(r.size, fmt.Sprintf("%011o\x00", len(r.body))))
	copy(h[136:148], or(r.mtime, "14524770400\x00"))
	h[156] = r.kind
	copy(h[157:257], r.link)
	copy(h[257:265], r.magic)
	copy(h[329:337], r.major)
	copy(h[337:345], r.minor)
	copy(h[345:500], r.prefix)
	copy(h[148:156], "        ")
	sum := 0
	for _, c := range h {
		sum += int(c)
	}
	copy(h[148:156], or(r.sum, fmt.Sprintf("%06o\x00 ", sum)))
	body := []byte(r.body)
	return append(h, append(body, make([]byte, (512-len(body)%512)%512)...)...)
}

// stream is a whole archive of raw headers.
func stream(headers ...raw) []byte {
	var b bytes.Buffer
	for _, h := range headers {
		b.Write(h.bytes())
	}
	b.Write(make([]byte, 1024))
	return b.Bytes()
}

// pax is an extended header with the records, "key=value" each.
func pax(records ...string) raw {
	var b strings.Builder
	for _, r := range records {
		b.WriteString(paxRecord(r))
	}
	return raw{name: "PaxHeaders/x", kind: 'x', magic: ustar, body: b.String()}
}

// paxRecord puts its own length before a record.
func paxRecord(r string) string {
	n := len(r) + 3
	for len(fmt.Sprintf("%d %s\n", n, r)) != n {
		n++
	}
	return fmt.Sprintf("%d %s\n", n, r)
}

// base256 is a number in the binary form that GNU tar uses for large ones.
func base256(n int64, width int) string {
	b := make([]byte, width)
	if n < 0 {
		for i := range b {
			b[i] = 0xff
		}
	}
	binary.BigEndian.PutUint64(b[width-8:], uint64(n))
	b[0] |= 0x80
	return string(b)
}
