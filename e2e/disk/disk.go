package disk

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Disk is one block device. Close it after what was mounted from it.
type Disk struct {
	Device string // such as /dev/loop3

	loop    *os.File
	content *os.File // what the disk holds now
	log     *os.File // nil when nothing is recorded
	base    []byte
	server  *exec.Cmd
}

// Format makes an ext4 file system on a disk of so many bytes, and gives what it
// then holds. The journal is small so that it wraps around.
func Format(size int64) ([]byte, error) {
	f, err := memory("format", size)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	cmd := exec.Command("mkfs.ext4", "-q", "-F", "-m", "0", "-b", strconv.Itoa(pageSize), "-J", "size=4",
		"-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard", "/proc/self/fd/3")
	cmd.ExtraFiles = []*os.File{f}
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("mkfs.ext4: %w: %s", err, out)
	}
	b := make([]byte, size)
	_, err = f.ReadAt(b, 0)
	return b, err
}

// Plain makes a disk that holds base.
func Plain(base []byte) (*Disk, error) {
	content, err := memory("plain", int64(len(base)))
	if err != nil {
		return nil, err
	}
	d := &Disk{content: content}
	if err := d.fill(base); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	if err := d.attach(content); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// Record makes a disk that holds base and logs what happens to it.
func Record(base []byte) (*Disk, error) {
	d := &Disk{base: base}
	if err := d.record(); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

func (d *Disk) record() (err error) {
	if d.content, err = memory("content", int64(len(d.base))); err != nil {
		return err
	}
	if err = d.fill(d.base); err != nil {
		return err
	}
	if d.log, err = memory("log", 0); err != nil {
		return err
	}
	dev, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer dev.Close()
	mount, err := fuseMount(dev)
	if err != nil {
		return err
	}
	// The file below keeps the file system.
	defer mount.Close()
	if err := d.serve(dev); err != nil {
		return err
	}
	fd, err := unix.Openat(int(mount.Fd()), fileName, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: fileName, Err: err}
	}
	file := os.NewFile(uintptr(fd), fileName)
	defer file.Close()
	return d.attach(file)
}

// fill writes what is not zero.
func (d *Disk) fill(base []byte) error {
	zero := [pageSize]byte{}
	for at := 0; at < len(base); at += pageSize {
		if page := base[at:min(at+pageSize, len(base))]; string(page) != string(zero[:len(page)]) {
			if _, err := d.content.WriteAt(page, int64(at)); err != nil {
				return err
			}
		}
	}
	return nil
}

func memory(name string, size int64) (*os.File, error) {
	fd, err := unix.MemfdCreate("varve-test-"+name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), name)
	if err := f.Truncate(size); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// serve starts the recorder. It ends with the file system, so with this process too.
func (d *Disk) serve(dev *os.File) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	d.server = exec.Command(self)
	d.server.Env = append(os.Environ(), serverEnv+"=1")
	d.server.ExtraFiles = []*os.File{dev, d.content, d.log}
	d.server.Stderr = os.Stderr
	return d.server.Start()
}

// fuseMount mounts the file server's file system, detached.
func fuseMount(dev *os.File) (*os.File, error) {
	return mount("fuse", [][2]string{
		{"source", "varve-test"}, {"fd", strconv.Itoa(int(dev.Fd()))}, {"rootmode", "40000"}, {"user_id", "0"}, {"group_id", "0"},
	})
}

// Mount gives the device's ext4 file system as a detached mount; data is "" or a
// data mode of ext4 such as "writeback".
func (d *Disk) Mount(data string) (*os.File, error) {
	options := [][2]string{{"source", d.Device}}
	if data != "" {
		options = append(options, [2]string{"data", data})
	}
	return mount("ext4", options)
}

func mount(kind string, options [][2]string) (*os.File, error) {
	fs, err := unix.Fsopen(kind, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("fsopen", err)
	}
	defer unix.Close(fs)
	for _, o := range options {
		if err := unix.FsconfigSetString(fs, o[0], o[1]); err != nil {
			return nil, fmt.Errorf("%s: %s=%s: %w", kind, o[0], o[1], err)
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return nil, fmt.Errorf("mount %s: %w", kind, err)
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("fsmount", err)
	}
	return os.NewFile(uintptr(fd), kind), nil
}

// Position is how far the log has come.
func (d *Disk) Position() (int64, error) {
	st, err := d.log.Stat()
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

// Log gives what was logged so far. A record that is being written at the moment is
// not there yet.
func (d *Disk) Log() (*Log, error) {
	size, err := d.Position()
	if err != nil {
		return nil, err
	}
	b := make([]byte, size)
	if _, err := d.log.ReadAt(b, 0); err != nil {
		return nil, err
	}
	return parseLog(d.base, b[:whole(b)])
}

// Content gives what the disk holds now.
func (d *Disk) Content() ([]byte, error) {
	st, err := d.content.Stat()
	if err != nil {
		return nil, err
	}
	b := make([]byte, st.Size())
	_, err = d.content.ReadAt(b, 0)
	return b, err
}

// Check runs e2fsck, which must find nothing.
func (d *Disk) Check() error {
	cmd := exec.Command("e2fsck", "-n", "-f", "/proc/self/fd/3")
	cmd.ExtraFiles = []*os.File{d.content}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("e2fsck: %w: %s", err, out)
	}
	return nil
}

// Close gives the device back and returns when it has no backing file any more.
func (d *Disk) Close() error {
	var errs []error
	if d.loop != nil {
		errs = append(errs, detached(d.loop))
	}
	if d.server != nil && d.server.Process != nil {
		ended := make(chan error, 1)
		go func() { ended <- d.server.Wait() }()
		select {
		case err := <-ended:
			errs = append(errs, err)
		case <-time.After(time.Minute):
			errs = append(errs, errors.New("the recorder goes on"), d.server.Process.Kill())
		}
	}
	for _, f := range []*os.File{d.content, d.log} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}
