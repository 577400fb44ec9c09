package erofs

import (
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// mounted mounts an EROFS file with its devices, as the kernel's only judge of
// what was written, and gives a path below which the mount can be reached.
func mounted(t testing.TB, file string, devices ...string) string {
	t.Helper()
	fsfd, err := unix.Fsopen("erofs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fsfd)
	set := func(key, value string) {
		if err := unix.FsconfigSetString(fsfd, key, value); err != nil {
			t.Fatalf("%s=%s: %v (%s)", key, value, err, kernelSays(fsfd))
		}
	}
	set("source", file)
	for _, d := range devices {
		f, err := os.Open(d)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		set("device", fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
	}
	if err := unix.FsconfigCreate(fsfd); err != nil {
		t.Fatalf("mount %s: %v (%s)", file, err, kernelSays(fsfd))
	}
	mnt, err := unix.Fsmount(fsfd, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_RDONLY)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(mnt) })
	return fmt.Sprintf("/proc/self/fd/%d", mnt)
}

// memory gives a directory of a tmpfs that nobody else sees: thousands of small
// files take a disk's journal seconds.
func memory(t testing.TB) string {
	t.Helper()
	fsfd, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fsfd)
	if err := unix.FsconfigCreate(fsfd); err != nil {
		t.Fatal(err)
	}
	mnt, err := unix.Fsmount(fsfd, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(mnt) })
	dir := fmt.Sprintf("/proc/self/fd/%d/dir", mnt)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil { // whatever the umask is
		t.Fatal(err)
	}
	return dir
}

func kernelSays(fsfd int) string {
	b := make([]byte, 1024)
	n, err := unix.Read(fsfd, b)
	return strings.TrimSpace(string(b[:max(n, 0)])) + fmt.Sprint(err)
}

// look is what can be seen of one file.
type look struct {
	mode, uid, gid uint32
	nlink          uint64
	rdev           uint64
	size           int64
	mtime          unix.Timespec
	xattrs         string
	content        string // sha256, or the link's target
	same           string // the first name of the same inode
}

// seen looks at all below root, which ends in no slash.
func seen(t testing.TB, root string) map[string]look {
	t.Helper()
	all, first := map[string]look{}, map[[2]uint64]string{}
	var walk func(p string)
	walk = func(p string) {
		l, ino := lookAt(t, root+"/"+p)
		if l.mode&unix.S_IFMT != unix.S_IFDIR {
			if first[ino] == "" {
				first[ino] = p
			}
			l.same = first[ino]
		}
		all[p] = l
		if l.mode&unix.S_IFMT != unix.S_IFDIR {
			return
		}
		entries, err := os.ReadDir(root + "/" + p)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if hidden(root+"/"+filepath.Join(p, e.Name()), e) {
				continue
			}
			walk(filepath.Join(p, e.Name()))
			// The type in the directory entry is a second copy of the mode.
			if got := typeBits(e.Type()); got != all[filepath.Join(p, e.Name())].mode&unix.S_IFMT {
				t.Errorf("%s/%s: the directory says type %o", p, e.Name(), got)
			}
		}
	}
	walk("")
	return all
}

// hidden tells whether overlay lists a whiteout that it does not let through: it
// does, in directories that only one layer has.
func hidden(p string, e fs.DirEntry) bool {
	_, err := os.Lstat(p)
	return e.Type()&fs.ModeCharDevice != 0 && os.IsNotExist(err)
}

func typeBits(m fs.FileMode) uint32 {
	switch {
	case m.IsDir():
		return unix.S_IFDIR
	case m&fs.ModeSymlink != 0:
		return unix.S_IFLNK
	case m&fs.ModeNamedPipe != 0:
		return unix.S_IFIFO
	case m&fs.ModeCharDevice != 0:
		return unix.S_IFCHR
	case m&fs.ModeDevice != 0:
		return unix.S_IFBLK
	}
	return unix.S_IFREG
}

func lookAt(t testing.TB, p string) (look, [2]uint64) {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(p, &st); err != nil {
		t.Fatalf("%s: %v", p, err)
	}
	l := look{mode: st.Mode, uid: st.Uid, gid: st.Gid, nlink: uint64(st.Nlink), mtime: st.Mtim, xattrs: xattrsOf(t, p)}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		l.size = st.Size
		l.content = sum(t, p)
	case unix.S_IFLNK:
		l.size = st.Size
		target, err := os.Readlink(p)
		if err != nil {
			t.Fatal(err)
		}
		l.content = target
	case unix.S_IFCHR, unix.S_IFBLK:
		l.rdev = st.Rdev
	}
	return l, [2]uint64{st.Dev, st.Ino}
}

func sum(t testing.TB, p string) string {
	t.Helper()
	f, err := os.Open(p)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatalf("read %s: %v", p, err)
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

func xattrsOf(t testing.TB, p string) string {
	t.Helper()
	list := make([]byte, 64<<10)
	n, err := unix.Llistxattr(p, list)
	if err != nil {
		t.Fatalf("%s: listxattr: %v", p, err)
	}
	var all []string
	for _, name := range strings.Split(strings.TrimSuffix(string(list[:n]), "\x00"), "\x00") {
		if name == "" {
			continue
		}
		value := make([]byte, 64<<10)
		n, err := unix.Lgetxattr(p, name, value)
		if err != nil {
			t.Fatalf("%s: xattr %s: %v", p, name, err)
		}
		all = append(all, fmt.Sprintf("%s=%x", name, value[:n]))
	}
	sort.Strings(all)
	return strings.Join(all, " ")
}

// same compares two trees, after forgive took away what may differ.
func same(t testing.TB, got, want map[string]look, forgive func(p string, l *look)) {
	t.Helper()
	wrong := 0
	for p, w := range want {
		g, ok := got[p]
		if !ok {
			t.Errorf("%q is missing", p)
			wrong++
			continue
		}
		if forgive != nil {
			forgive(p, &g)
			forgive(p, &w)
		}
		if g != w {
			t.Errorf("%q:\n got %+v\nwant %+v", p, g, w)
			wrong++
		}
		if wrong > 10 {
			t.Fatal("and more")
		}
	}
	for p := range got {
		if _, ok := want[p]; !ok {
			t.Errorf("%q is too much", p)
		}
	}
}

func sha(s string) [32]byte { return sha256.Sum256([]byte(s)) }
