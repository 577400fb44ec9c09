package hostpath

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/cri/plan"
)

// labelName is the extended attribute that SELinux keeps a file's label in.
const labelName = "security.selinux"

// relabelLimit is how long one request's relabelling may take: a volume of a
// million files takes a minute. It goes on when its caller has given up, and the
// next try finds what it has come to.
const relabelLimit = 10 * time.Minute

// maxDepth bounds the directories within each other, each of which is open.
const maxDepth = 512

// Relabel gives host paths, with all below them, an SELinux label. A path whose
// own label is that one is believed to be done: it gets it last. Files are named
// by their directories' descriptors and links not followed, because a container
// may be moving them about meanwhile (CVE-2021-43816).
func (c *Checker) Relabel(ctx context.Context, sources []plan.Source, label string) error {
	if len(sources) == 0 || label == "" {
		return nil
	}
	var at atomic.Int32
	long := &Checker{Limit: relabelLimit}
	return long.look(ctx, func() plan.Source { return sources[at.Load()] }, func() error {
		for i, s := range sources {
			at.Store(int32(i))
			if err := relabel(s, label); err != nil {
				return err
			}
		}
		return nil
	})
}

func relabel(s plan.Source, label string) error {
	real, err := filepath.EvalSymlinks(s.Path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return invalid(s.Field, "%s does not exist on the host", s.Path)
	case err != nil:
		return invalid(s.Field, "%v", err)
	case plan.SystemPath(real):
		return invalid(s.Field, "%s is %s, which belongs to the system and is not relabelled", s.Path, real)
	}
	parent, err := unix.Open(filepath.Dir(real), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("%s: %s: %w", s.Field, real, err)
	}
	defer unix.Close(parent)
	name := filepath.Base(real)
	if has, err := labelOf(parent, name); err == nil && has == label {
		return nil
	}
	if err := relabelTree(parent, name, label, maxDepth); err != nil {
		return fmt.Errorf("%s: %s: relabel: %w", s.Field, real, err)
	}
	return nil
}

// relabelTree labels what lies below name in the directory parent, and then name
// itself.
func relabelTree(parent int, name, label string, depth int) error {
	if depth == 0 {
		return fmt.Errorf("%s: more than %d directories within each other", name, maxDepth)
	}
	fd, err := unix.Openat(parent, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	switch err {
	case nil:
		if err := relabelEntries(os.NewFile(uintptr(fd), name), label, depth); err != nil {
			return err
		}
	case unix.ENOTDIR, unix.ELOOP: // a file, or a link
	case unix.ENOENT:
		return nil // gone meanwhile
	default:
		return fmt.Errorf("open %s: %w", name, err)
	}
	return setLabel(parent, name, label)
}

func relabelEntries(dir *os.File, label string, depth int) error {
	defer dir.Close()
	for {
		entries, err := dir.ReadDir(1000)
		for _, e := range entries {
			if e.IsDir() {
				err := relabelTree(int(dir.Fd()), e.Name(), label, depth-1)
				if err != nil {
					return err
				}
				continue
			}
			if err := setLabel(int(dir.Fd()), e.Name(), label); err != nil {
				return err
			}
		}
		if len(entries) == 0 {
			return nil // also when the rest cannot be read: it has gone
		}
		if err != nil {
			return err
		}
	}
}

// inDir is the path of a directory's entry by the directory's descriptor: all but
// the last part is fixed, and who takes it must not follow that.
func inDir(dir int, name string) string { return "/proc/self/fd/" + strconv.Itoa(dir) + "/" + name }

// setLabel labels one file. A file system without labels has none to be wrong.
func setLabel(dir int, name, label string) error {
	err := unix.Lsetxattr(inDir(dir, name), labelName, []byte(label), 0)
	switch err {
	case nil, unix.ENOTSUP, unix.ENOENT:
		return nil
	}
	return fmt.Errorf("label %s: %w", name, err)
}

func labelOf(dir int, name string) (string, error) {
	buf := make([]byte, 4096)
	n, err := unix.Lgetxattr(inDir(dir, name), labelName, buf)
	if err != nil {
		return "", err
	}
	for n > 0 && buf[n-1] == 0 { // the kernel ends it with a zero byte
		n--
	}
	return string(buf[:n]), nil
}
