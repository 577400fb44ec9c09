package unpack

import (
	"archive/tar"
	"os"
	"strings"
	"testing"
)

// What is made in a setgid directory has the owner that its entry says, and so has
// a directory that is described twice.
func TestOwnersOfZero(t *testing.T) {
	dir, _ := unpacked(t,
		e{name: "mail", kind: tar.TypeDir, mode: 0o2775, gid: 8},
		e{name: "mail/f", body: "x"}, e{name: "mail/d", kind: tar.TypeDir}, e{name: "mail/l", kind: tar.TypeSymlink, link: "f"},
		e{name: "mail/implicit/f", body: "x"}, e{name: "mail/.wh.opaque"}, e{name: "mail/opaque/f", body: "x"},
		e{name: "twice", kind: tar.TypeDir, uid: 7, gid: 7}, e{name: "twice", kind: tar.TypeDir},
	)
	for _, p := range []string{"mail/f", "mail/d", "mail/l", "mail/implicit", "mail/implicit/f", "mail/opaque", "twice"} {
		if st := lstat(t, dir+"/"+p); st.Uid != 0 || st.Gid != 0 || st.Mode&0o2000 != 0 {
			t.Errorf("%s: %d:%d mode %o", p, st.Uid, st.Gid, st.Mode)
		}
	}
}

// A hard link to a hard link to a lower layer's file is a third name of that file,
// and one in the place of the directory that holds its target is refused.
func TestLinksToLinks(t *testing.T) {
	lower, _ := unpacked(t, e{name: "lib/so", body: "so"})
	dir, r := unpacked(t, e{name: "one", kind: tar.TypeLink, link: "lib/so"}, e{name: "two", kind: tar.TypeLink, link: "one"})
	if _, err := Inherit(t.Context(), openDir(t, dir), r.Needs, []*os.File{openDir(t, lower)}); err != nil {
		t.Fatal(err)
	}
	if st := lstat(t, dir+"/two"); st.Nlink != 3 || read(t, dir+"/two") != "so" {
		t.Errorf("two: %+v", st)
	}
	_, err := unpackTo(t, t.TempDir(), e{name: "d/f", body: "f"}, e{name: "d", kind: tar.TypeLink, link: "d/f"})
	if err == nil || !strings.Contains(err.Error(), "below the link") {
		t.Errorf("a link in the place of its target's directory: %v", err)
	}
}
