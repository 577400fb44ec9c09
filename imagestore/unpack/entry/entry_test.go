package entry

import (
	"archive/tar"
	"errors"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestClean(t *testing.T) {
	for name, want := range map[string]string{
		"a/b": "a/b", "./a//b/": "a/b", "/a": "a", "//a": "a", ".": "", "./": "", "/": "", "a/..": "", "a/../b": "b", "...": "...", "..a": "..a",
	} {
		if got, err := Clean(name); got != want || err != nil {
			t.Errorf("%q: %q, %v", name, got, err)
		}
	}
	for _, name := range []string{"..", "../a", "a/../../b", "/..", "/../a"} {
		if _, err := Clean(name); !errors.Is(err, ErrClimbs) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if _, err := Clean("a\x00b"); err == nil {
		t.Error("a NUL in a name")
	}
}

func TestSplitAndBelow(t *testing.T) {
	for p, want := range map[string][2]string{"a": {"", "a"}, "a/b": {"a", "b"}, "a/b/c": {"a/b", "c"}} {
		if up, base := Split(p); up != want[0] || base != want[1] {
			t.Errorf("%q: %q, %q", p, up, base)
		}
	}
	if !Below("a/b", "a") || !Below("a", "a") || Below("ab", "a") || Below("a", "a/b") {
		t.Error("below")
	}
}

func TestHides(t *testing.T) {
	for base, want := range map[string]struct {
		h    Hiding
		name string
	}{
		"a": {Nothing, ""}, ".wh": {Nothing, ""}, ".wh.a": {Name, "a"}, ".wh..wh..opq": {Content, ""}, ".wh..wh.plnk": {Ignored, ""}, ".wh..a": {Name, ".a"},
	} {
		if h, name, err := Hides(base); h != want.h || name != want.name || err != nil {
			t.Errorf("%q: %v %q %v", base, h, name, err)
		}
	}
	for _, base := range []string{".wh.", ".wh..", ".wh..."} {
		if h, _, err := Hides(base); err == nil || h == Nothing {
			t.Errorf("%q: %v, %v", base, h, err)
		}
	}
}

func TestXattrs(t *testing.T) {
	h := &tar.Header{PAXRecords: map[string]string{
		"SCHILY.xattr.user.b": "2", "SCHILY.xattr.user.a": "1", "SCHILY.xattr.user.overlay.opaque": "y", "SCHILY.xattr.trusted.overlay.opaque": "y",
		"SCHILY.xattr.security.selinux": "s", "SCHILY.xattr.security.capability": "c", "path": "p",
	}}
	var got []string
	if err := Xattrs(h, func(name, value string) error { got = append(got, name+"="+value); return nil }); err != nil {
		t.Fatal(err)
	}
	if s := strings.Join(got, " "); s != "security.capability=c user.a=1 user.b=2" {
		t.Errorf("%s", s)
	}
	refuse := func(what string, err error) error {
		return Xattrs(h, func(name, _ string) error {
			if name == what {
				return err
			}
			return nil
		})
	}
	if err := refuse("user.a", unix.ENOTSUP); err != nil {
		t.Errorf("a file system without user attributes: %v", err)
	}
	if err := refuse("security.capability", unix.ENOTSUP); !errors.Is(err, unix.ENOTSUP) {
		t.Errorf("a file system without capabilities: %v", err)
	}
	if err := refuse("user.a", unix.ENOSPC); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("a full disk: %v", err)
	}
}

func TestHeaders(t *testing.T) {
	if s := Time(time.Time{}); s.Sec != 0 || s.Nsec != 0 {
		t.Errorf("no time: %+v", s)
	}
	if s := Time(time.Unix(-1, 5)); s.Sec != -1 || s.Nsec != 5 {
		t.Errorf("before 1970: %+v", s)
	}
	if m := Mode(&tar.Header{Mode: 0o104755}); m != 0o4755 {
		t.Errorf("mode %o", m)
	}
	for id, ok := range map[int]bool{0: true, 1<<32 - 2: true, 1<<32 - 1: false, -1: false} {
		if err := CheckOwner(&tar.Header{Gid: id}); (err == nil) != ok {
			t.Errorf("group %d: %v", id, err)
		}
	}
	kind, number, err := Device(&tar.Header{Typeflag: tar.TypeBlock, Devmajor: 4095, Devminor: 1<<20 - 1})
	if kind != unix.S_IFBLK || number != unix.Mkdev(4095, 1<<20-1) || err != nil {
		t.Errorf("device %o %x %v", kind, number, err)
	}
	if _, _, err := Device(&tar.Header{Typeflag: tar.TypeChar, Devminor: -1}); err == nil {
		t.Error("a device with a negative number")
	}
	if Sparse(&tar.Header{}) || !Sparse(&tar.Header{Typeflag: tar.TypeGNUSparse}) || !Sparse(&tar.Header{PAXRecords: map[string]string{"GNU.sparse.major": "1"}}) {
		t.Error("sparse")
	}
}
