package disk

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// attach puts a free loop device on a file. The kernel frees the device itself when
// its last user goes.
func (d *Disk) attach(file *os.File) error {
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer control.Close()
	for {
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return os.NewSyscallError("LOOP_CTL_GET_FREE", err)
		}
		d.Device = fmt.Sprintf("/dev/loop%d", n)
		err = d.configure(file)
		if !errors.Is(err, unix.EBUSY) {
			return err
		}
		// Another test took it first.
	}
}

func (d *Disk) configure(file *os.File) error {
	loop, err := os.OpenFile(d.Device, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	config := &unix.LoopConfig{Fd: uint32(file.Fd()), Size: 512}
	config.Info.Flags = unix.LO_FLAGS_AUTOCLEAR
	if err := unix.IoctlLoopConfigure(int(loop.Fd()), config); err != nil {
		return errors.Join(fmt.Errorf("%s: %w", d.Device, err), loop.Close())
	}
	d.loop = loop
	return nil
}

// detached closes a loop device and waits for it to let go of its file.
func detached(loop *os.File) error {
	name := filepath.Base(loop.Name())
	if err := loop.Close(); err != nil {
		return err
	}
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if _, err := os.Lstat("/sys/block/" + name + "/loop/backing_file"); err != nil {
			return nil
		}
	}
	return fmt.Errorf("%s is still in use", name)
}
