package mount

import (
	"errors"
	"strings"

	"golang.org/x/sys/unix"
)

// Error is the refusal of a filesystem with what the kernel had to say about
// it.
type Error struct {
	Errno unix.Errno
	Text  string // the context's log, or the option that was refused
}

// Error returns the log and the errno's text.
func (e *Error) Error() string { return e.Text + ": " + e.Errno.Error() }

// Unwrap returns the errno.
func (e *Error) Unwrap() error { return e.Errno }

// New mounts a new instance of a filesystem and returns the detached mount.
// Options are "key=value" or "key".
func New(fstype, source string, options []string, attr int) (int, error) {
	ctx, err := unix.Fsopen(fstype, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, err
	}
	defer unix.Close(ctx)
	return Make(ctx, source, options, attr)
}

// Make is New for a context that is open; it stays the caller's to close.
func Make(ctx int, source string, options []string, attr int) (int, error) {
	if source != "" {
		if err := unix.FsconfigSetString(ctx, "source", source); err != nil {
			return -1, explain(ctx, "source="+source, err)
		}
	}
	for _, o := range options {
		var err error
		key, value, text := strings.Cut(o, "=")
		if text {
			err = unix.FsconfigSetString(ctx, key, value)
		} else {
			err = unix.FsconfigSetFlag(ctx, key)
		}
		if err != nil {
			return -1, explain(ctx, o, err)
		}
	}
	if err := unix.FsconfigCreate(ctx); err != nil {
		return -1, explain(ctx, strings.Join(options, ","), err)
	}
	return unix.Fsmount(ctx, unix.FSMOUNT_CLOEXEC, attr)
}

// explain adds the first line of the context's message log, whose form is
// "e fstype: text".
func explain(ctx int, fallback string, err error) error {
	var errno unix.Errno
	if !errors.As(err, &errno) {
		return err
	}
	buf := make([]byte, 512)
	n, _ := unix.Read(ctx, buf)
	text := strings.TrimSpace(strings.TrimPrefix(string(buf[:max(n, 0)]), "e "))
	if text == "" {
		text = fallback
	}
	if text == "" {
		return errno
	}
	return &Error{Errno: errno, Text: text}
}

// Clone returns a detached copy of the mount at path, from there on down; of
// the mounts below it too if recursive. An empty path means dir itself.
func Clone(dir int, path string, recursive, nofollow bool) (int, error) {
	flags := uint(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC)
	if path == "" {
		flags |= unix.AT_EMPTY_PATH
	}
	if recursive {
		flags |= unix.AT_RECURSIVE
	}
	if nofollow {
		flags |= unix.AT_SYMLINK_NOFOLLOW
	}
	return unix.OpenTree(dir, path, flags)
}

// Set changes the attributes of the mount that fd is the root of, and of
// those below it if recursive.
func Set(fd int, attr unix.MountAttr, recursive bool) error {
	flags := uint(unix.AT_EMPTY_PATH)
	if recursive {
		flags |= unix.AT_RECURSIVE
	}
	return unix.MountSetattr(fd, "", flags, &attr)
}

// Attach puts the detached mount fd on the file or directory target.
func Attach(fd, target int) error {
	return unix.MoveMount(fd, "", target, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
}
