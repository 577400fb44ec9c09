package overlay

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/imagestore/namespace"
)

// options are one overlay mount: lower directories, topmost first, and for a
// writable one the upper and work directories.
type options struct {
	lower       []string
	upper, work string
	label       string // of SELinux, for all files; "" is each file's own
	// open opens one of them; nil is by its path.
	open func(dir string) (fd int, err error)
}

func (o options) opened(dir string) (int, error) {
	if o.open != nil {
		return o.open(dir)
	}
	return openPath(dir)
}

// mountAPI is one way to ask the kernel for an overlay mount.
type mountAPI struct {
	name  string
	mount func(options) (*os.File, error)
	// inside is mount for who is in a mount namespace of his own already.
	inside func(options) (*os.File, error)
}

// The ways, best first.
var mountAPIs = []mountAPI{
	// Layers by descriptor: Linux 6.13. Any number of layers, paths of any length.
	{"lower fds", mountByFD, mountByFD},
	// lowerdir+ by path: Linux 6.7. A parameter holds 255 bytes, so the paths are
	// those of descriptors.
	{"lower paths", mountByPath, mountByPath},
	// mount(2), whose options are one page: about 200 layers.
	{"classic", mountClassic, classicInside},
}

// probe gives the first way that this kernel has, tried on a real mount.
func probe(scratch string) (mountAPI, error) {
	dir, err := os.MkdirTemp(scratch, "probe")
	if err != nil {
		return mountAPI{}, err
	}
	defer os.RemoveAll(dir)
	o := options{upper: dir + "/upper", work: dir + "/work", lower: []string{dir + "/a", dir + "/b"}}
	for _, d := range append([]string{o.upper, o.work}, o.lower...) {
		if err := os.Mkdir(d, 0o755); err != nil {
			return mountAPI{}, err
		}
	}
	var tried []error
	for _, api := range mountAPIs {
		f, err := api.mount(o)
		if err == nil {
			return api, f.Close()
		}
		tried = append(tried, fmt.Errorf("%s: %w", api.name, err))
		_ = forgetVolatile(o.work)
	}
	return mountAPI{}, fmt.Errorf("overlay in %s: %w", scratch, errors.Join(tried...))
}

// flags are set on every mount. A layer's own redirects and metacopies are never
// followed, because layers come from outside.
var flags = [][2]string{{"redirect_dir", "nofollow"}, {"metacopy", "off"}, {"index", "off"}, {"source", "varve"}}

// mountByFD hands every directory over by descriptor.
func mountByFD(o options) (*os.File, error) {
	return configured(o, func(fs int, key, dir string) error {
		fd, err := o.opened(dir)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.FsconfigSetFd(fs, key, fd)
	})
}

// mountByPath hands every directory over as a short path.
func mountByPath(o options) (*os.File, error) {
	return configured(o, func(fs int, key, dir string) error {
		fd, err := o.opened(dir)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.FsconfigSetString(fs, key, fdPath(fd))
	})
}

func openPath(dir string) (int, error) {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	return fd, nil
}

// fdDir is where descriptors have paths.
const fdDir = "/proc/self/fd/"

func fdPath(fd int) string { return fdDir + strconv.Itoa(fd) }

// configured makes a mount by fsopen, fsconfig and fsmount.
func configured(o options, add func(fs int, key, dir string) error) (*os.File, error) {
	fs, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("fsopen", err)
	}
	defer unix.Close(fs)
	if err := configure(fs, o, add); err != nil {
		return nil, explained(fs, err)
	}
	attributes := 0
	if o.upper == "" {
		attributes = unix.MOUNT_ATTR_RDONLY
	}
	mnt, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, attributes)
	if err != nil {
		return nil, os.NewSyscallError("fsmount", err)
	}
	return os.NewFile(uintptr(mnt), "overlay"), nil
}

func configure(fs int, o options, add func(fs int, key, dir string) error) error {
	for _, f := range flags {
		if err := unix.FsconfigSetString(fs, f[0], f[1]); err != nil {
			return fmt.Errorf("%s=%s: %w", f[0], f[1], err)
		}
	}
	for _, dir := range o.lower {
		if err := add(fs, "lowerdir+", dir); err != nil {
			return fmt.Errorf("lower directory %s: %w", dir, err)
		}
	}
	if o.upper != "" {
		if err := add(fs, "upperdir", o.upper); err != nil {
			return fmt.Errorf("upper directory %s: %w", o.upper, err)
		}
		if err := add(fs, "workdir", o.work); err != nil {
			return fmt.Errorf("work directory %s: %w", o.work, err)
		}
		if err := unix.FsconfigSetFlag(fs, "volatile"); err != nil {
			return fmt.Errorf("volatile: %w", err)
		}
	}
	if o.label != "" {
		if err := unix.FsconfigSetString(fs, "context", o.label); err != nil {
			return fmt.Errorf("context=%s: %w", o.label, err)
		}
	}
	return unix.FsconfigCreate(fs)
}

// explained adds what the kernel wrote into the context's log.
func explained(fs int, err error) error {
	buf := make([]byte, 1024)
	n, rerr := unix.Read(fs, buf)
	if rerr != nil || n < 2 {
		return err
	}
	return fmt.Errorf("%w (%s)", err, strings.TrimSpace(string(buf[2:n])))
}

// mountClassic mounts in a throw-away mount namespace and takes the mount out of
// it as a detached one.
func mountClassic(o options) (*os.File, error) {
	return namespace.Do(func() (*os.File, error) { return classicInside(o) })
}

func classicInside(o options) (*os.File, error) {
	data, closeAll, err := classicData(o)
	defer closeAll()
	if err != nil {
		return nil, err
	}
	// Any directory of ours can be mounted over: no one else sees it.
	target := filepath.Dir(o.lower[len(o.lower)-1])
	var mountFlags uintptr
	if o.upper == "" {
		mountFlags = unix.MS_RDONLY
	}
	if err := unix.Mount("varve", target, "overlay", mountFlags, data); err != nil {
		return nil, os.NewSyscallError("mount", err)
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, target, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("open_tree", err)
	}
	return os.NewFile(uintptr(fd), "overlay"), nil
}

// classicData is the option string, with descriptors' paths to keep it short.
func classicData(o options) (data string, closeAll func(), err error) {
	var fds []int
	closeAll = func() {
		for _, fd := range fds {
			unix.Close(fd)
		}
	}
	short := func(dir string) string {
		fd, e := o.opened(dir)
		if e != nil {
			err = errors.Join(err, e)
			return ""
		}
		fds = append(fds, fd)
		return fdPath(fd)
	}
	var lower []string
	for _, l := range o.lower {
		lower = append(lower, short(l))
	}
	data = "redirect_dir=nofollow,metacopy=off,index=off,lowerdir=" + strings.Join(lower, ":")
	if o.upper != "" {
		data += ",volatile,upperdir=" + short(o.upper) + ",workdir=" + short(o.work)
	}
	if o.label != "" {
		data += `,context="` + o.label + `"` // its commas are no options'
	}
	if err == nil && len(data) >= os.Getpagesize() {
		err = fmt.Errorf("%d layers are more than this kernel can mount", len(o.lower))
	}
	return data, closeAll, err
}
