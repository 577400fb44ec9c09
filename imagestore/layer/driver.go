package layer

import (
	"context"
	"io"
	"os"

	"github.com/varve-cri/varve/imagestore/unpack"
)

// Driver is one format of layers on disk.
type Driver interface {
	// Name is the format's name in metadata and messages.
	Name() string
	// Write makes the content of one layer in the empty directory dir from the
	// layer's tar stream, which it need not read beyond the archive's end. What an
	// error leaves in dir is the caller's to remove.
	Write(ctx context.Context, dir string, archive io.Reader, limits unpack.Limits) (unpack.Result, error)
	// Inherit completes a written layer that needs something from the layers below
	// it (their directories, nearest first), and gives what that added.
	Inherit(ctx context.Context, dir string, needs unpack.Needs, lower []string) (unpack.Result, error)
	// Sync returns when what was written in the directories is on the disk.
	Sync(dirs []string) error
	// Mount gives a stack as a detached mount, in no mount table.
	Mount(s Stack) (*os.File, error)
}

// Stack is layers' directories, topmost first, and what goes on top of them. With
// Upper and Work the mount is writable, else Root is its root directory: an empty
// one that has the owner and mode that the merged root must have. Base, if not
// empty, is a plain directory below the lowest layer.
type Stack struct {
	Layers []string
	Base   string
	Root   string
	Upper  string
	Work   string
}
