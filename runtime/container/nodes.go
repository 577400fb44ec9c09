package container

import (
	"path"
	"slices"

	"github.com/varve-cri/varve/runtime/inroot"
	"github.com/varve-cri/varve/runtime/internal/mount"
	"github.com/varve-cri/varve/runtime/internal/pty"
	"github.com/varve-cri/varve/runtime/plan"
	"github.com/varve-cri/varve/runtime/program"
	"golang.org/x/sys/unix"
)

// nodes makes the devices and links that the space does not hold yet.
func (s *start) nodes() error {
	var devices []plan.Device
	var links []plan.Link
	if s.prepped {
		devices, links = plan.StandardDevices(), plan.StandardLinks()
	}
	for i := range s.plan.Devices {
		d := &s.plan.Devices[i]
		if slices.Contains(devices, *d) {
			continue
		}
		if err := s.device(d); err != nil {
			return fail("make device", d.Path, err)
		}
	}
	for _, l := range s.plan.Links {
		if slices.Contains(links, l) {
			continue
		}
		if err := s.link(l); err != nil {
			return fail("make link", l.Path, err)
		}
	}
	return nil
}

// device makes a node. One that exists must be the same device. In the ready
// /dev it gets the plan's owner and mode; anywhere else it may be a file of
// the host, in a bind-mounted /dev, and is left alone.
func (s *start) device(d *plan.Device) error {
	dir, err := inroot.Dir(s.rootFD, path.Dir(d.Path), 0o755)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	kind := map[byte]uint32{plan.CharDevice: unix.S_IFCHR, plan.BlockDevice: unix.S_IFBLK, plan.FIFO: unix.S_IFIFO}[d.Kind]
	name, number := path.Base(d.Path), unix.Mkdev(d.Major, d.Minor)
	err = unix.Mknodat(dir, name, kind|d.Mode, int(number))
	if err == unix.EEXIST {
		err = sameDevice(dir, name, kind, number)
		if err != nil || !s.prepped || path.Dir(d.Path) != "/dev" {
			return err
		}
		err = unix.Fchmodat(dir, name, d.Mode, 0)
	}
	if err != nil || d.UID == s.plan.Owner.UID && d.GID == s.plan.Owner.GID {
		return err
	}
	return unix.Fchownat(dir, name, int(d.UID), int(d.GID), unix.AT_SYMLINK_NOFOLLOW)
}

func sameDevice(dir int, name string, kind uint32, number uint64) error {
	var st unix.Stat_t
	if err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != kind || kind != unix.S_IFIFO && uint64(st.Rdev) != number {
		return unix.EEXIST
	}
	return nil
}

func (s *start) link(l plan.Link) error {
	dir, err := inroot.Dir(s.rootFD, path.Dir(l.Path), 0o755)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	err = unix.Symlinkat(l.Target, dir, path.Base(l.Path))
	if err == unix.EEXIST {
		return nil
	}
	return err
}

// workingDirectory makes the process's directory when the image lacks it,
// as every runtime does. Below /proc there is nothing to make.
func (s *start) workingDirectory() error {
	cwd := s.plan.Process.Cwd
	if cwd == "" || cwd == "/" || cwd == "/proc" || below(path.Clean(cwd), "/proc") {
		return nil
	}
	dir, err := inroot.Dir(s.rootFD, cwd, 0o755)
	if err != nil {
		return fail("make working directory", cwd, err)
	}
	return unix.Close(dir)
}

// terminal makes the process's terminal and puts it on /dev/console.
func (s *start) terminal() error {
	p := &s.plan.Process
	if !p.Terminal {
		return nil
	}
	master, slave, err := terminal(s.rootFD, s.self.proc, p)
	if err != nil {
		return fail("open terminal", "", err)
	}
	s.console, s.files.Terminal = s.bag.Add(master), s.bag.Add(slave)
	target, err := inroot.File(s.rootFD, "/dev/console", 0o600)
	if err != nil {
		return fail("open", "/dev/console", err)
	}
	defer unix.Close(target)
	console, err := mount.Clone(slave, "", false, false)
	if err != nil {
		return fail("clone", "terminal", err)
	}
	defer unix.Close(console)
	if err := mount.Attach(console, target); err != nil {
		return fail("mount", "terminal on /dev/console", err)
	}
	return nil
}

// terminal opens a terminal of the container's own devpts.
func terminal(root, proc int, p *plan.Process) (master, slave int, err error) {
	node, err := inroot.FD(root, "/dev/pts/ptmx", unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return -1, -1, err
	}
	defer unix.Close(node)
	master, slave, err = pty.Open(proc, node)
	if err != nil {
		return -1, -1, err
	}
	err = unix.Fchown(slave, int(p.Host()), -1)
	if err == nil && p.Rows != 0 && p.Cols != 0 {
		err = pty.Resize(master, p.Rows, p.Cols)
	}
	if err != nil {
		unix.Close(master)
		unix.Close(slave)
		return -1, -1, err
	}
	return master, slave, nil
}

func belowProc(target string, fd int) program.BelowProc {
	return program.BelowProc{Target: path.Clean(target)[len("/proc/"):], Source: fd}
}
