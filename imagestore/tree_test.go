package imagestore

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

// quiescent waits until nothing is left for the background: no image that is removed
// and that nobody has, no layer without an image, no trash.
func quiescent(s *Store) {
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
		s.mu.Lock()
		waiting := len(s.looseLocked("", -1<<62))
		of := s.db.Snapshot()
		s.leaseMu.Lock()
		for id, row := range of.Images {
			if row.Removed && s.uses[id] == 0 {
				waiting++
			}
		}
		s.leaseMu.Unlock()
		s.mu.Unlock()
		if waiting == 0 {
			break
		}
	}
	s.trash.Wait()
}

// treeOf digests all that a container sees of an image: names, types, owners,
// modes, sizes, link targets, extended attributes and bytes.
func treeOf(s *Store, id string) (digest.Digest, error) {
	f, err := s.MountImage(id)
	if err != nil {
		return "", err
	}
	defer f.Close()
	root := fmt.Sprintf("/proc/self/fd/%d/", f.Fd())
	h := sha256.New()
	err = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fmt.Fprintf(h, "%s ", strings.TrimPrefix(path, root))
		return digestEntry(h, path)
	})
	return digest.NewDigest(digest.SHA256, h), err
}

func digestEntry(h io.Writer, path string) error {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return err
	}
	kind := st.Mode & unix.S_IFMT
	if kind == unix.S_IFDIR {
		// These are the file system's own, the time that of a parent no archive has.
		st.Size, st.Nlink, st.Mtim.Sec = 0, 0, 0
	}
	fmt.Fprintf(h, "%o %d:%d %d %d %x %d ", st.Mode, st.Uid, st.Gid, st.Size, st.Nlink, st.Rdev, st.Mtim.Sec)
	list := make([]byte, 4096)
	n, err := unix.Llistxattr(path, list)
	if err != nil {
		return err
	}
	for _, name := range strings.Split(strings.TrimRight(string(list[:n]), "\x00"), "\x00") {
		value := make([]byte, 4096)
		if name == "" || strings.HasPrefix(name, "security.selinux") {
			continue
		}
		n, err := unix.Lgetxattr(path, name, value)
		if err != nil {
			return errors.Join(err, errors.New(name))
		}
		fmt.Fprintf(h, "%s=%q ", name, value[:n])
	}
	switch kind {
	case unix.S_IFLNK:
		target, err := os.Readlink(path)
		fmt.Fprintf(h, "%s\n", target)
		return err
	case unix.S_IFREG:
		b, err := os.ReadFile(path)
		fmt.Fprintf(h, "%x\n", sha256.Sum256(b))
		return err
	}
	return nil
}
