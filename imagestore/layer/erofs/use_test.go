package erofs

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"testing/iotest"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/imagestore/unpack"
)

// A static program runs from the mount, and a file of it can be mapped, both from
// a layer's own file and from a device of a stack.
func TestExecAndMap(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	b := archive(t, e{name: "odd", body: "x"}, e{name: "bin/self", body: string(program), mode: 0o755})
	dir, _ := written(t, b)
	for name, root := range map[string]string{"layer": mounted(t, dir+"/"+layerFile), "stack": joined(t, b, archive(t, e{name: "top", body: "t"}))} {
		out, err := exec.Command(root+"/bin/self", "-test.run=^$").CombinedOutput()
		if err != nil || !strings.Contains(string(out), "PASS") {
			t.Errorf("%s: the program says %q, %v", name, out, err)
		}
		f, err := os.Open(root + "/bin/self")
		if err != nil {
			t.Fatal(err)
		}
		mapped, err := unix.Mmap(int(f.Fd()), 0, len(program), unix.PROT_READ, unix.MAP_SHARED)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		if sha256.Sum256(mapped) != sha256.Sum256(program) {
			t.Errorf("%s: the mapped file differs", name)
		}
		if err := unix.Munmap(mapped); err != nil {
			t.Error(err)
		}
	}
}

// Sparse files of 3 GiB, as GNU tar writes them: the size and the data are right,
// and the disk holds the data only.
func TestSparse(t *testing.T) {
	from := t.TempDir()
	script := "cd " + from + " && printf head >f && truncate -s 3G f && printf tail >>f && truncate -s 5M allhole && printf x >plain"
	if out, err := exec.Command("sh", "-c", script).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	pieces(t, from+"/pieces", 33<<20+5)
	pieces(t, from+"/few", 70001)
	for _, format := range []string{"gnu", "pax"} {
		b, err := exec.Command("tar", "-C", from, "--sparse", "--format="+format, "-cf", "-", "f", "allhole", "plain", "pieces", "few").Output()
		if err != nil {
			t.Fatal(err)
		}
		dir, r := written(t, b)
		stack := t.TempDir()
		if err := writeStack(t.Context(), stack, []string{dir}); err != nil {
			t.Fatal(err)
		}
		for name, root := range map[string]string{"layer": mounted(t, dir+"/"+layerFile), "stack": mountedStack(t, stack, []string{dir})} {
			f, err := os.Open(root + "/f")
			if err != nil {
				t.Fatal(err)
			}
			ends := make([]byte, 8)
			_, err1 := f.ReadAt(ends[:4], 0)
			_, err2 := f.ReadAt(ends[4:], 3<<30)
			middle := make([]byte, 1<<20)
			_, err3 := f.ReadAt(middle, 1<<30-100)
			st, err4 := f.Stat()
			f.Close()
			if err := errors.Join(err1, err2, err3, err4); err != nil {
				t.Fatal(err)
			}
			if string(ends) != "headtail" || !bytes.Equal(middle, make([]byte, len(middle))) || st.Size() != 3<<30+4 {
				t.Errorf("%s in %s: %q, %d bytes", format, name, ends, st.Size())
			}
			for _, name := range []string{"pieces", "few"} {
				if sum(t, root+"/"+name) != sum(t, from+"/"+name) {
					t.Errorf("%s in %s: %s differs", format, name, name)
				}
			}
			if sum(t, root+"/allhole") != fmt.Sprintf("%x", sha256.Sum256(make([]byte, 5<<20))) || sum(t, root+"/plain") != fmt.Sprintf("%x", sha("x")) {
				t.Errorf("%s in %s: the other files differ", format, name)
			}
		}
		var st unix.Stat_t
		if err := unix.Stat(dir+"/"+layerFile, &st); err != nil || st.Blocks*512 > 1<<20 {
			t.Errorf("%s: %d bytes on disk, %v", format, st.Blocks*512, err)
		}
		if err := unix.Stat(dir+"/"+layerFile, &st); err != nil || st.Size > 4<<20 {
			t.Errorf("%s: the holes are in the layer's file: %d bytes, %v", format, st.Size, err)
		}
		if r.Bytes < 3<<30 {
			t.Errorf("%s: the holes do not count: %+v", format, r)
		}
		if _, err := writeLayer(t.Context(), t.TempDir(), bytes.NewReader(b), unpack.Limits{Bytes: 1 << 20, Entries: 9}); !errors.Is(err, unpack.ErrLimit) {
			t.Errorf("%s: holes are beyond the limit: %v", format, err)
		}
	}
}

// pieces makes a file with data here and there.
func pieces(t testing.TB, name string, size int64) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := rand.New(rand.NewPCG(uint64(size), 3))
	for i := range 12 {
		if _, err := f.WriteAt([]byte(random(1+r.IntN(9000), uint64(i))), r.Int64N(size)); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
}

// What an archive cannot ask for, in unpack's words.
func TestRefused(t *testing.T) {
	capability := strings.Repeat("\x00", 20)
	for name, list := range map[string][]e{
		"dotdot":                     {{name: "../x", body: "evil"}},
		"deep dotdot":                {{name: "a/../../x", body: "evil"}},
		"absolute dotdot":            {{name: "/../x", body: "evil"}},
		"through link":               {{name: "l", kind: tar.TypeSymlink, link: "../../etc"}, {name: "l/x", body: "evil"}},
		"dangling link":              {{name: "l", kind: tar.TypeSymlink, link: "nowhere"}, {name: "l/x", body: "evil"}},
		"link loop":                  {{name: "l", kind: tar.TypeSymlink, link: "l"}, {name: "l/x", body: "evil"}},
		"hard link out":              {{name: "h", kind: tar.TypeLink, link: "../../x"}},
		"hard link through link":     {{name: "l", kind: tar.TypeSymlink, link: "../.."}, {name: "h", kind: tar.TypeLink, link: "l/etc/passwd"}},
		"hard link to itself":        {{name: "h", body: "x"}, {name: "h", kind: tar.TypeLink, link: "h"}},
		"hard link to below":         {{name: "h/x", body: "x"}, {name: "h", kind: tar.TypeLink, link: "h/x"}},
		"hard link to a directory":   {{name: "d", kind: tar.TypeDir}, {name: "h", kind: tar.TypeLink, link: "d"}},
		"hard link to the root":      {{name: "h", kind: tar.TypeLink, link: "."}},
		"whiteout of dotdot":         {{name: "d/.wh...", body: ""}},
		"whiteout of nothing":        {{name: "d/.wh.", body: ""}},
		"whiteout through link":      {{name: "l", kind: tar.TypeSymlink, link: "/.."}, {name: "l/.wh.victim"}},
		"child of a file":            {{name: "f", body: "x"}, {name: "f/x", body: "y"}},
		"root is a link":             {{name: ".", kind: tar.TypeSymlink, link: "x"}},
		"owner -1":                   {{name: "f", uid: 1<<32 - 1, body: "x"}},
		"unknown type":               {{name: "f", kind: 'Z'}},
		"device number out of range": {{name: "n", kind: tar.TypeChar, major: 1 << 13}},
		"long name":                  {{name: "d/" + strings.Repeat("n", 256)}},
		"long directory":             {{name: strings.Repeat("n", 256) + "/f"}},
		"long path":                  {{name: strings.Repeat("n/", 2049) + "f"}},
		"long link":                  {{name: "l", kind: tar.TypeSymlink, link: strings.Repeat("n", 4096)}},
		"empty link":                 {{name: "l", kind: tar.TypeSymlink}},
		"no capability":              {{name: "f", xattrs: map[string]string{"security.capability": capability}}},
		"no list":                    {{name: "f", xattrs: map[string]string{"system.posix_acl_access": "\x02\x00\x00\x00\x01"}}},
		"list out of order":          {{name: "f", xattrs: map[string]string{"system.posix_acl_access": "\x02\x00\x00\x00\x04\x00\x07\x00\xff\xff\xff\xff"}}},
		"default list of a file":     {{name: "f", xattrs: map[string]string{"system.posix_acl_default": plainACL}}},
		"xattr of no name":           {{name: "f", xattrs: map[string]string{"user.": "v"}}},
		"xattr of a long name":       {{name: "f", xattrs: map[string]string{"user." + strings.Repeat("n", 251): "v"}}},
	} {
		t.Run(name, func(t *testing.T) {
			if _, _, _, ok := bothWays(t, archive(t, list...)); ok {
				t.Error("it was taken")
			}
		})
	}
}

// plainACL says no more than mode 0640 does.
const plainACL = "\x02\x00\x00\x00\x01\x00\x06\x00\xff\xff\xff\xff\x04\x00\x04\x00\xff\xff\xff\xff\x20\x00\x00\x00\xff\xff\xff\xff"

// Access lists change the mode, as where the kernel sets them.
func TestAccessLists(t *testing.T) {
	named := "\x02\x00\x00\x00\x01\x00\x07\x00\x05\x00\x00\x00\x02\x00\x06\x00\x39\x30\x00\x00\x04\x00\x05\x00\xff\xff\xff\xff\x10\x00\x03\x00\xff\xff\xff\xff\x20\x00\x01\x00\xff\xff\xff\xff"
	b := archive(t,
		e{name: "plain", mode: 0o777, xattrs: map[string]string{"system.posix_acl_access": plainACL}},
		e{name: "named", mode: 0o4700, xattrs: map[string]string{"system.posix_acl_access": named}},
		e{name: "d", kind: tar.TypeDir, mode: 0o2700, xattrs: map[string]string{"system.posix_acl_access": named, "user.x": ""}},
		e{name: "e", kind: tar.TypeDir, mode: 0o700, xattrs: map[string]string{"system.posix_acl_default": plainACL}},
		e{name: "empty", mode: 0o600, xattrs: map[string]string{"system.posix_acl_access": "\x02\x00\x00\x00"}},
		e{name: "version", mode: 0o600, xattrs: map[string]string{"system.posix_acl_access": "\x01\x00\x00\x00"}},
	)
	dir, plain, _, ok := bothWays(t, b)
	if !ok {
		t.Fatal("it was refused")
	}
	got, want := seen(t, mounted(t, dir+"/"+layerFile)), seen(t, plain)
	delete(got, "")
	delete(want, "")
	same(t, got, want, nil)
	if m := got["plain"].mode & 0o7777; m != 0o640 {
		t.Errorf("the mode of a file with a list is %o", m)
	}
}

func TestBrokenStreams(t *testing.T) {
	whole := archive(t, e{name: "a", body: strings.Repeat("x", 5000), plain: true}, e{name: "b", body: "y", plain: true})
	lost := errors.New("the connection is gone")
	for name, c := range map[string]struct {
		r      io.Reader
		limits unpack.Limits
		want   error
	}{
		"truncated in a body":   {bytes.NewReader(whole[:3000]), generous, io.ErrUnexpectedEOF},
		"truncated in a header": {bytes.NewReader(whole[:512+5120+100]), generous, io.ErrUnexpectedEOF},
		"not a tar":             {strings.NewReader(strings.Repeat("no", 600)), generous, tar.ErrHeader},
		"too many bytes":        {bytes.NewReader(whole), unpack.Limits{Bytes: 4999, Entries: 9}, unpack.ErrLimit},
		"too many entries":      {bytes.NewReader(whole), unpack.Limits{Bytes: 9999, Entries: 1}, unpack.ErrLimit},
		"lost in a body":        {io.MultiReader(bytes.NewReader(whole[:3000]), iotest.ErrReader(lost)), generous, lost},
		"lost behind the end":   {io.MultiReader(bytes.NewReader(whole), iotest.ErrReader(lost)), generous, lost},
		"lost at once":          {iotest.ErrReader(lost), generous, lost},
	} {
		dir := t.TempDir()
		if _, err := writeLayer(t.Context(), dir, c.r, c.limits); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(lost)
	if _, err := writeLayer(ctx, t.TempDir(), bytes.NewReader(whole), generous); !errors.Is(err, lost) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := writeLayer(t.Context(), t.TempDir(), iotest.OneByteReader(bytes.NewReader(whole)), generous); err != nil {
		t.Errorf("a slow stream: %v", err)
	}
	// Depth costs memory even when no entry is deep in itself: each of these makes
	// 500 directories that nobody described.
	var deep []e
	for i := range 40 {
		deep = append(deep, e{name: fmt.Sprint(i, "/") + strings.Repeat("d/", 500) + "f"})
	}
	if _, err := writeLayer(t.Context(), t.TempDir(), bytes.NewReader(archive(t, deep...)), unpack.Limits{Bytes: 1 << 20, Entries: 1000}); !errors.Is(err, unpack.ErrLimit) {
		t.Errorf("20,000 directories of 40 entries: %v", err)
	}
}

// FuzzWriteLayer: whatever the archive, the result is an error or a layer that can
// be joined.
func FuzzWriteLayer(f *testing.F) {
	f.Add(archive(f, e{name: "a", body: "x"}, e{name: "l", kind: tar.TypeSymlink, link: "../.."}, e{name: "l/x", body: "y"}))
	f.Add(archive(f, e{name: "d/.wh.x"}, e{name: "d/.wh..wh..opq"}, e{name: "h", kind: tar.TypeLink, link: "a"}))
	f.Add(archive(f, e{name: "d", kind: tar.TypeDir, mode: 0o4777, xattrs: map[string]string{"user.x": "y", "system.posix_acl_default": plainACL}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		if _, err := writeLayer(t.Context(), dir, bytes.NewReader(b), unpack.Limits{Bytes: 1 << 20, Entries: 200}); err != nil {
			return
		}
		err := writeStack(t.Context(), dir, []string{dir})
		if entry := (*unpack.EntryError)(nil); err != nil && !errors.As(err, &entry) {
			t.Fatalf("a layer that cannot be joined: %v", err)
		}
	})
}
