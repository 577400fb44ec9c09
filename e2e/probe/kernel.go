package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

var kernelCommands = map[string]command{
	"id":  id,
	"ns":  namespaces,
	"fds": openFiles,
	"tty": terminal,
	// open NAME opens for reading, and reads one byte.
	"open": func(args []string) error {
		f, err := os.Open(args[0])
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = f.Read(make([]byte, 1))
		return err
	},
	// openfor r|w NAME opens, and does nothing with it.
	"openfor": func(args []string) error {
		f, err := os.OpenFile(args[1], map[string]int{"r": os.O_RDONLY, "w": os.O_WRONLY}[args[0]], 0)
		if err != nil {
			return err
		}
		return f.Close()
	},
	// mknod NAME MAJOR MINOR makes a character device.
	"mknod": func(args []string) error {
		major, _ := strconv.Atoi(args[1])
		minor, _ := strconv.Atoi(args[2])
		return unix.Mknod(args[0], unix.S_IFCHR|0o666, int(unix.Mkdev(uint32(major), uint32(minor))))
	},
	// huge N takes N pages of 2 MiB and touches them.
	"huge": func(args []string) error {
		n, err := strconv.Atoi(args[0])
		if err != nil {
			return err
		}
		const size = 2 << 20
		pages, err := unix.Mmap(-1, 0, n*size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_HUGETLB)
		if err != nil {
			return err
		}
		for i := range n {
			pages[i*size] = 1
		}
		return nil
	},
	// mount TARGET mounts a tmpfs there.
	"mount":       func(args []string) error { return unix.Mount("none", args[0], "tmpfs", 0, "") },
	"umount":      func(args []string) error { return unix.Unmount(args[0], unix.MNT_DETACH) },
	"sethostname": func(args []string) error { return unix.Sethostname([]byte(args[0])) },
	// unshare tries for a new user namespace, which the default profile refuses.
	"unshare": func([]string) error { return unix.Unshare(unix.CLONE_NEWUSER) },
	// keyctl asks for the session keyring, which the default profile refuses.
	"keyctl": func([]string) error {
		_, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, true)
		return err
	},
	// uname is what the localhost profile of the tests refuses.
	// hugepages N maps and touches N pages of 2 MiB.
	"hugepages": func(args []string) error {
		n, err := strconv.Atoi(args[0])
		if err != nil {
			return err
		}
		b, err := unix.Mmap(-1, 0, n<<21, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_HUGETLB)
		if err != nil {
			return err
		}
		for i := 0; i < len(b); i += 1 << 21 {
			b[i] = 1
		}
		fmt.Println("holding", n)
		return nil
	},
	"uname": func([]string) error {
		var u unix.Utsname
		err := unix.Uname(&u)
		return printResult(unix.ByteSliceToString(u.Release[:]), err)
	},
	"pids": pids,
	"exe":  func([]string) error { return printResult(os.Readlink("/proc/self/exe")) },
	// kill PID SIGNAL.
	"kill": func(args []string) error {
		pid, err := strconv.Atoi(args[0])
		if err != nil {
			return err
		}
		return syscall.Kill(pid, unix.SignalNum(args[1]))
	},
}

func id([]string) error {
	groups, err := os.Getgroups()
	fmt.Printf("uid=%d euid=%d gid=%d egid=%d groups=%v\n", os.Getuid(), os.Geteuid(), os.Getgid(), os.Getegid(), groups)
	return err
}

func namespaces([]string) error {
	for _, name := range []string{"cgroup", "ipc", "mnt", "net", "pid", "user", "uts"} {
		link, err := os.Readlink("/proc/self/ns/" + name)
		if err != nil {
			return err
		}
		fmt.Println(link)
	}
	return nil
}

// openFiles prints each open descriptor but those that Go's own runtime and
// this command have opened since the start (they are close-on-exec).
func openFiles([]string) error {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	for _, e := range entries {
		fd, _ := strconv.Atoi(e.Name())
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err != nil || flags&unix.FD_CLOEXEC != 0 {
			continue
		}
		target, _ := os.Readlink("/proc/self/fd/" + e.Name())
		fmt.Println(fd, target)
	}
	return nil
}

// terminal prints, for stdin, stdout and stderr, whether it is a terminal, and
// the size of the first.
func terminal([]string) error {
	for fd := range 3 {
		size, err := unix.IoctlGetWinsize(fd, unix.TIOCGWINSZ)
		if err != nil {
			fmt.Println(fd, "no")
			continue
		}
		fmt.Println(fd, "yes", size.Row, size.Col)
	}
	return nil
}

// pids prints "pid arguments" of every process in sight.
func pids([]string) error {
	entries, err := os.ReadDir("/proc")
	for _, e := range entries {
		if _, bad := strconv.Atoi(e.Name()); bad != nil {
			continue
		}
		line, _ := os.ReadFile("/proc/" + e.Name() + "/cmdline")
		fmt.Println(e.Name(), strings.ReplaceAll(strings.TrimRight(string(line), "\x00"), "\x00", " "))
	}
	return err
}
