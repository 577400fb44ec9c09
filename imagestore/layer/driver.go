package layer

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/varve-cri/varve/imagestore/unpack"
)

// ErrNotJoined is for a stack whose directory (Stack.Joined) is missing or
// damaged. Join makes it anew from the layers.
var ErrNotJoined = errors.New("the joined stack is missing or damaged")

// What Check finds.
var (
	ErrDamaged = errors.New("the layer is not what was written")
	ErrNoSums  = errors.New("the layer has no checksums")
)

// Wait is called before so many bytes are read, and returns when they may be; its
// error ends the reading.
type Wait func(bytes int) error

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
	// Sync returns when what was written in the directories is on the disk. The
	// directories' own names are the caller's to sync.
	Sync(dirs []string) error
	// Check reads a layer again, at the pace that wait sets, and compares it with
	// what was written: ErrDamaged names what differs first, ErrNoSums says that the
	// layer is of a time when no checksums were kept. Any other error tells nothing of
	// the layer.
	Check(dir string, m *Metadata, wait Wait) error
	// Joins tells whether a stack needs, beside its layers, a directory made by
	// Join: the same for all stacks of the format.
	Joins() bool
	// Join makes in the empty directory dir what a stack of layers (topmost first)
	// needs to be mounted, and returns when it is on the disk. The same layers give
	// the same content.
	Join(ctx context.Context, dir string, layers []string) error
	// Mount gives a stack as a detached mount, in no mount table. What the driver
	// keeps of it for the next Mount it keeps until Drop or Close.
	Mount(s Stack) (*os.File, error)
	// TryOwners says why stacks cannot be mounted with other owners; nil when they
	// can. What it needs it makes in the directory dir, and removes.
	TryOwners(dir string, o *Owners) error
	// Drop forgets what is kept of the stack with that joined directory. Mounts
	// that were given are not touched.
	Drop(joined string)
	// Close forgets all that is kept.
	Close() error
}

// Stack is layers' directories, topmost first, and what goes on top of them. With
// Upper and Work the mount is writable, else Root is its root directory: an empty
// one that has the owner and mode that the merged root must have. Base, if not
// empty, is a plain directory below the lowest layer. Joined is what Join made,
// in formats that join.
type Stack struct {
	Layers []string
	Joined string
	Base   string
	Root   string
	Upper  string
	Work   string
	Owners *Owners
	Label  string // the SELinux label of all files in the mount; "" is each file's own
}

// Owners has a mount show other owners than the files have on the disk, whose
// own do not change: also what is written through the mount has there the ids of
// the image.
type Owners struct {
	Namespace *os.File // a user namespace with the mapping
	UID, GID  uint32   // what root is shown as
	Dir       string   // of the stack's directories; all lie below it, on one mount
}
