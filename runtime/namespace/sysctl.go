package namespace

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/varve-cri/varve/runtime/internal/thread"
	"golang.org/x/sys/unix"
)

// ErrSysctl is matched by errors about a sysctl that a pod may not set.
var ErrSysctl = errors.New("sysctl not allowed")

// SysctlError says which sysctl could not be set: the pod may not have it
// (ErrSysctl), or the kernel does not know it (ENOENT) or its value (EINVAL).
type SysctlError struct {
	Key string // as it was given
	Err error
}

func (e *SysctlError) Error() string { return fmt.Sprintf("sysctl %q: %v", e.Key, e.Err) }

// Unwrap returns the cause.
func (e *SysctlError) Unwrap() error { return e.Err }

// maxSysctl is more than any sysctl takes in one write.
const maxSysctl = 4096

// ipcSysctls are the prefixes of what an IPC namespace has of its own
// (ipc_namespaces(7)). All that the kernel registers under them is per
// namespace.
var ipcSysctls = []string{"kernel/shm", "kernel/msg", "kernel/sem", "fs/mqueue/"}

// CheckSysctl says whether a container may set key to value, given what s gives
// it of its own. Only what belongs to a namespace of the pod's own is
// allowed: the rest, and the same keys in a pod that shares the host's
// namespace, would change the host (CVE-2022-0532).
func CheckSysctl(key, value string, s Spec) error {
	_, err := sysctlPath(key, value, s)
	return err
}

// sysctlPath returns the file of a sysctl below /proc/sys, having checked that
// the pod may write it.
func sysctlPath(key, value string, s Spec) (string, error) {
	refuse := func(why string) (string, error) {
		return "", &SysctlError{key, fmt.Errorf("%s: %w", why, ErrSysctl)}
	}
	file, ok := sysctlFile(key)
	if !ok {
		return refuse("not a name")
	}
	// One value is one write. A line break could only be meant to look like a
	// second setting to something that parses "key=value" lines (CVE-2022-0811).
	if len(value) > maxSysctl || strings.ContainsAny(value, "\n\r\x00") {
		return refuse("the value is too long or has line breaks")
	}
	ipc := slices.ContainsFunc(ipcSysctls, func(prefix string) bool { return strings.HasPrefix(file, prefix) })
	switch {
	case file == "kernel/hostname":
		return refuse("the pod's hostname sets it")
	case file == "kernel/domainname":
		if !s.UTS {
			return refuse("the pod has no UTS namespace of its own")
		}
	case strings.HasPrefix(file, "net/"):
		if !s.Net {
			return refuse("the pod has no network namespace of its own")
		}
	case ipc:
		if !s.IPC {
			return refuse("the pod has no IPC namespace of its own")
		}
	default:
		return refuse("it belongs to no namespace")
	}
	return file, nil
}

// sysctlFile turns a key into a path below /proc/sys. As with sysctl(8), the
// first separator decides: in "net.ipv4.conf.eth0/1.forwarding" a slash stands
// for a dot in a name, and "net/ipv4/conf/eth0.1/forwarding" is the same file.
func sysctlFile(key string) (string, bool) {
	file := key
	if i := strings.IndexAny(key, "./"); i >= 0 && key[i] == '.' {
		file = strings.Map(func(r rune) rune {
			switch r {
			case '.':
				return '/'
			case '/':
				return '.'
			default:
				return r
			}
		}, key)
	}
	for part := range strings.SplitSeq(file, "/") {
		if part == "" || part == "." || part == ".." || strings.ContainsAny(part, "\x00\n") {
			return "", false
		}
	}
	return file, strings.Contains(file, "/") && path.Clean(file) == file
}

// setSysctls writes the sysctls of s in the namespaces of the calling thread:
// the kernel looks up net and ipc tables by the thread that opens the file.
func setSysctls(s Spec) (err error) {
	if len(s.Sysctls) == 0 {
		return nil
	}
	root, err := unix.Open("/proc/sys", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: "/proc/sys", Err: err}
	}
	defer unix.Close(root)
	files, err := s.sysctlFiles()
	if err != nil {
		return err
	}
	if s.User != nil {
		// Those of an IPC namespace are written by who is root in it, and by nobody
		// else whatever capabilities he has (Linux 6.8, ipc/ipc_sysctl.c).
		if err := thread.SetEUID(s.User.root()); err != nil {
			return fmt.Errorf("become root of the user namespace: %w", err)
		}
		defer func() {
			if back := thread.SetEUID(0); err == nil && back != nil {
				err = fmt.Errorf("become the host's root again: %w", back)
			}
		}()
	}
	for _, key := range slices.Sorted(maps.Keys(files)) {
		if err := writeSysctl(root, files[key], s.Sysctls[key]); err != nil {
			return &SysctlError{key, err}
		}
	}
	return nil
}

// sysctlFiles returns the file of each sysctl that is to be written. The domain
// name is set by the call for it: unlike the others its file belongs to the host's
// root in every namespace.
func (s Spec) sysctlFiles() (map[string]string, error) {
	files := make(map[string]string, len(s.Sysctls))
	for _, key := range slices.Sorted(maps.Keys(s.Sysctls)) {
		value := s.Sysctls[key]
		file, err := sysctlPath(key, value, s)
		if err != nil {
			return nil, err
		}
		if file != "kernel/domainname" {
			files[key] = file
		} else if err := unix.Setdomainname([]byte(value)); err != nil {
			return nil, &SysctlError{key, err}
		}
	}
	return files, nil
}

// writeSysctl writes one file below /proc/sys in one call.
func writeSysctl(root int, file, value string) error {
	fd, err := unix.Openat2(root, file, &unix.OpenHow{
		Flags:   unix.O_WRONLY | unix.O_CLOEXEC | unix.O_NOCTTY,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_XDEV, // Linux 5.6
	})
	if err != nil {
		return &os.PathError{Op: "open", Path: "/proc/sys/" + file, Err: err}
	}
	defer unix.Close(fd)
	n, err := unix.Write(fd, []byte(value))
	if err == nil && n != len(value) {
		err = fmt.Errorf("only %d of %d bytes were taken", n, len(value))
	}
	if err != nil {
		return fmt.Errorf("write %q: %w", value, err)
	}
	return nil
}
