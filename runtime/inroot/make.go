package inroot

import (
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// maxLinks is the kernel's own bound on symbolic links in a path.
const maxLinks = 40

// Dir opens the directory path inside root (O_PATH), making what is missing
// of it with mode. A symbolic link whose target is missing has its target made,
// inside root.
func Dir(root int, path string, mode uint32) (int, error) {
	fd, err := FD(root, path, unix.O_PATH|unix.O_DIRECTORY)
	if err != unix.ENOENT {
		return fd, err
	}
	return makeDirs(root, path, mode, maxLinks)
}

func makeDirs(root int, p string, mode uint32, links int) (int, error) {
	if links == 0 {
		return -1, unix.ELOOP
	}
	parts := split(p)
	cur, err := FD(root, "/", unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return -1, err
	}
	for i, name := range parts {
		next, err := FD(root, strings.Join(parts[:i+1], "/"), unix.O_PATH|unix.O_DIRECTORY)
		if err == unix.ENOENT {
			next, err = makeDir(cur, name, mode)
		}
		if err == unix.EEXIST {
			link, linkErr := readlink(cur, name)
			unix.Close(cur)
			if linkErr != nil {
				return -1, linkErr
			}
			return makeDirs(root, redirect(parts, i, link), mode, links-1)
		}
		unix.Close(cur)
		if err != nil {
			return -1, err
		}
		cur = next
	}
	return cur, nil
}

// makeDir makes one directory and opens it. EEXIST means that name is there
// but leads nowhere.
func makeDir(dir int, name string, mode uint32) (int, error) {
	if name == ".." {
		return -1, unix.ENOENT
	}
	if err := unix.Mkdirat(dir, name, mode); err != nil {
		return -1, err
	}
	return realDir(dir, name)
}

// realDir opens the directory name in dir, which is not a symbolic link.
func realDir(dir int, name string) (int, error) {
	return openat2(dir, name, &unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS,
	})
}

// RealDir opens the directory path inside root and makes what is missing of
// it, but lets no part of it be a symbolic link (ELOOP): the places of
// procfs, sysfs and /dev (CVE-2019-19921, CVE-2023-28642, CVE-2026-41579).
func RealDir(root int, p string, mode uint32) (int, error) {
	cur, err := FD(root, "/", unix.O_PATH|unix.O_DIRECTORY)
	for _, name := range split(p) {
		if err != nil {
			return -1, err
		}
		var next int
		next, err = realDir(cur, name)
		if err == unix.ENOENT {
			next, err = makeDir(cur, name, mode)
		}
		if err == unix.ENOTDIR && isLink(cur, name) {
			err = unix.ELOOP
		}
		unix.Close(cur)
		cur = next
	}
	return cur, err
}

// File opens the file path inside root (O_PATH), whatever its type, and
// makes an empty regular one when there is none, with the directories above.
func File(root int, p string, mode uint32) (int, error) {
	return makeFile(root, p, mode, maxLinks)
}

func makeFile(root int, p string, mode uint32, links int) (int, error) {
	fd, err := FD(root, p, unix.O_PATH)
	if err != unix.ENOENT {
		return fd, err
	}
	parts := split(p)
	if links == 0 || len(parts) == 0 {
		return -1, unix.ELOOP
	}
	last := len(parts) - 1
	dir, err := Dir(root, strings.Join(parts[:last], "/"), 0o755)
	if err != nil {
		return -1, err
	}
	defer unix.Close(dir)
	made, err := unix.Openat(dir, parts[last], unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_WRONLY, mode)
	if err == unix.EEXIST {
		link, err := readlink(dir, parts[last])
		if err != nil {
			return -1, err
		}
		return makeFile(root, redirect(parts, last, link), mode, links-1)
	}
	if err != nil {
		return -1, err
	}
	unix.Close(made)
	return FD(root, p, unix.O_PATH)
}

// redirect puts the target of the link parts[i] in its place.
func redirect(parts []string, i int, link string) string {
	whole := append([]string{link}, parts[i+1:]...)
	if !path.IsAbs(link) {
		whole = append(append([]string(nil), parts[:i]...), whole...)
	}
	return strings.Join(whole, "/")
}

func readlink(dir int, name string) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(dir, name, buf)
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}

func isLink(dir int, name string) bool {
	_, err := readlink(dir, name)
	return err == nil
}

func split(p string) []string {
	var parts []string
	for part := range strings.SplitSeq(p, "/") {
		if part != "" && part != "." {
			parts = append(parts, part)
		}
	}
	return parts
}
