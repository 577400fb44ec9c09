package layertest

import (
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// look compares what a mount shows at path with the words of want, and tells what
// is wrong. The words:
//
//	none                  nothing is there
//	file, dir, fifo       what it is
//	char=1:3, block=7:0   a device and its number
//	to=TARGET             a symbolic link and its text
//	body=TEXT, size=N     a file's content, its length
//	mode=4711, own=1:2    permissions with setuid and its like, owner
//	links=2               names of the inode
//	mtime=-1.5            seconds and nanoseconds; mtime>N and mtime<N compare seconds
//	xattr:NAME=HEX        an extended attribute; HEX empty: it is not there
//	holds=a,b             a directory's names; holds= for none
func look(root int, path, want string) (wrong []string) {
	words := strings.Fields(want)
	fd, err := open(root, path)
	if len(words) == 1 && words[0] == "none" {
		if err != unix.ENOENT && err != unix.ENOTDIR {
			_ = unix.Close(fd)
			return []string{fmt.Sprintf("it is there, or %v", err)}
		}
		return nil
	}
	if err != nil {
		return []string{err.Error()}
	}
	defer unix.Close(fd)
	s := sight{fd: fd}
	if err := unix.Fstat(fd, &s.st); err != nil {
		return []string{err.Error()}
	}
	for _, w := range words {
		key, value, _ := strings.Cut(w, "=")
		got, err := s.says(key)
		if strings.HasPrefix(w, "mtime>") || strings.HasPrefix(w, "mtime<") {
			if !s.compares(w) {
				wrong = append(wrong, fmt.Sprintf("%s: it is %d", w, s.st.Mtim.Sec))
			}
			continue
		}
		if err != nil || got != value {
			wrong = append(wrong, fmt.Sprintf("%s is %.200q, %v, want %.200q", key, got, err, value))
		}
	}
	return wrong
}

// open opens path in the mount one component at a time, so that paths may be of
// any length, and follows nothing.
func open(root int, path string) (int, error) {
	at, err := unix.Openat(root, ".", unix.O_PATH|unix.O_CLOEXEC, 0)
	for _, c := range strings.Split(path, "/") {
		if err != nil {
			return -1, err
		}
		var next int
		next, err = unix.Openat(at, c, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		_ = unix.Close(at)
		at = next
	}
	return at, err
}

type sight struct {
	fd int
	st unix.Stat_t
}

func (s *sight) says(key string) (string, error) {
	switch key {
	case "file", "dir", "fifo", "char", "block":
		return s.kind(key)
	case "to":
		buf := make([]byte, 8192)
		n, err := unix.Readlinkat(s.fd, "", buf)
		return string(buf[:max(n, 0)]), err
	case "body":
		return s.body()
	case "size":
		return strconv.FormatInt(s.st.Size, 10), nil
	case "mode":
		return strconv.FormatUint(uint64(s.st.Mode&0o7777), 8), nil
	case "own":
		return fmt.Sprintf("%d:%d", s.st.Uid, s.st.Gid), nil
	case "links":
		return strconv.FormatUint(s.st.Nlink, 10), nil
	case "mtime":
		return fmt.Sprintf("%d.%d", s.st.Mtim.Sec, s.st.Mtim.Nsec), nil
	case "holds":
		return s.holds()
	}
	if name, ok := strings.CutPrefix(key, "xattr:"); ok {
		return s.xattr(name)
	}
	return "", nil
}

func (s *sight) kind(key string) (string, error) {
	types := map[string]uint32{"file": unix.S_IFREG, "dir": unix.S_IFDIR, "fifo": unix.S_IFIFO, "char": unix.S_IFCHR, "block": unix.S_IFBLK}
	if s.st.Mode&unix.S_IFMT != types[key] {
		return "", fmt.Errorf("it is of type %o", s.st.Mode&unix.S_IFMT)
	}
	if key == "char" || key == "block" {
		return fmt.Sprintf("%d:%d", unix.Major(s.st.Rdev), unix.Minor(s.st.Rdev)), nil
	}
	return "", nil
}

func (s *sight) path() string { return "/proc/self/fd/" + strconv.Itoa(s.fd) }

func (s *sight) body() (string, error) {
	if s.st.Mode&unix.S_IFMT != unix.S_IFREG {
		return "", fmt.Errorf("it is of type %o", s.st.Mode&unix.S_IFMT)
	}
	f, err := os.Open(s.path())
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 1<<20))
	return string(b), err
}

func (s *sight) holds() (string, error) {
	entries, err := os.ReadDir(s.path())
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, ","), err
}

// xattr reads through the descriptor's link, which for O_PATH is the file itself.
func (s *sight) xattr(name string) (string, error) {
	buf := make([]byte, 64<<10)
	n, err := unix.Getxattr(s.path(), name, buf)
	if err == unix.ENODATA {
		return "", nil
	}
	return hex.EncodeToString(buf[:max(n, 0)]), err
}

func (s *sight) compares(word string) bool {
	n, err := strconv.ParseInt(word[len("mtime>"):], 10, 64)
	if word[len("mtime")] == '>' {
		return err == nil && s.st.Mtim.Sec > n
	}
	return err == nil && s.st.Mtim.Sec < n
}
