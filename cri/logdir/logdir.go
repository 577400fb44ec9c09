package logdir

import (
	"errors"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/runtime/inroot"
	"github.com/varve-cri/varve/shim/crilog"
)

// mode is the kubelet's for log directories.
const mode = 0o755

// Ensure makes what is missing of the directory of log, a path below the pod's
// log directory top, and top itself. A log that is right in top, or none, needs
// nothing.
func Ensure(top, log string) error {
	below, ok := strings.CutPrefix(path.Dir(log), path.Clean(top)+"/")
	if log == "" || !ok {
		return nil
	}
	root, err := unix.Open(top, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		if err := os.MkdirAll(top, mode); err != nil {
			return err
		}
		root, err = unix.Open(top, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		return &os.PathError{Op: "open log directory", Path: top, Err: err}
	}
	defer unix.Close(root)
	dir, err := inroot.RealDir(root, below, mode)
	if err != nil {
		return &os.PathError{Op: "make log directory", Path: path.Dir(log), Err: err}
	}
	return unix.Close(dir)
}

// Marked is the log's path as the shim opens it: below the pod's log directory,
// which the kubelet has chosen, without following symbolic links, whatever was
// done to the directory since.
func Marked(top, log string) string {
	top = path.Clean(top)
	below, ok := strings.CutPrefix(log, top+"/")
	if !ok {
		return log
	}
	return top + crilog.Trusted + below
}
