package main

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

var fileCommands = map[string]command{
	"cat": func(args []string) error {
		for _, name := range args {
			f, err := os.Open(name)
			if err != nil {
				return err
			}
			if _, err := io.Copy(os.Stdout, f); err != nil {
				return err
			}
			f.Close()
		}
		return nil
	},
	"ls": func(args []string) error {
		for _, name := range args {
			entries, err := os.ReadDir(name)
			if err != nil {
				return err
			}
			for _, e := range entries {
				fmt.Println(e.Name())
			}
		}
		return nil
	},
	"stat": stat,
	"write": func(args []string) error {
		return os.WriteFile(args[0], []byte(strings.Join(args[1:], " ")), 0o644)
	},
	"append": func(args []string) error {
		f, err := os.OpenFile(args[0], os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = f.WriteString(strings.Join(args[1:], " "))
		return err
	},
	// chown NAME UID GID.
	"chown": func(args []string) error {
		uid, _ := strconv.Atoi(args[1])
		gid, _ := strconv.Atoi(args[2])
		return os.Chown(args[0], uid, gid)
	},
	"mkdir":    func(args []string) error { return os.MkdirAll(args[0], 0o755) },
	"rm":       func(args []string) error { return os.Remove(args[0]) },
	"symlink":  func(args []string) error { return os.Symlink(args[0], args[1]) },
	"readlink": func(args []string) error { return printResult(os.Readlink(args[0])) },
	// label NAME... prints the SELinux label of each.
	"label": func(args []string) error {
		for _, name := range args {
			buf := make([]byte, 256)
			n, err := unix.Lgetxattr(name, "security.selinux", buf)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			fmt.Println(strings.TrimRight(string(buf[:n]), "\x00"))
		}
		return nil
	},
	// await NAME waits until the file is there.
	"await": func(args []string) error {
		for {
			_, err := os.Lstat(args[0])
			if !os.IsNotExist(err) {
				return err
			}
			time.Sleep(10 * time.Millisecond)
		}
	},
	"exists": func(args []string) error {
		_, err := os.Lstat(args[0])
		return err
	},
	// fill NAME MIB writes a file of that size.
	"fill": func(args []string) error {
		n, err := strconv.Atoi(args[1])
		if err != nil {
			return err
		}
		f, err := os.Create(args[0])
		if err != nil {
			return err
		}
		defer f.Close()
		for block := make([]byte, 1<<20); n > 0; n-- {
			if _, err := f.Write(block); err != nil {
				return err
			}
		}
		return nil
	},
	"sync": func(args []string) error { // until the file is on the disk
		f, err := os.Open(args[0])
		if err != nil {
			return err
		}
		defer f.Close()
		return f.Sync()
	},
}

// stat prints "mode uid:gid rdev size name" for each argument, without following.
func stat(args []string) error {
	for _, name := range args {
		var st unix.Stat_t
		if err := unix.Lstat(name, &st); err != nil {
			return err
		}
		fmt.Printf("%o %d:%d %d:%d %d %s\n", st.Mode, st.Uid, st.Gid,
			unix.Major(uint64(st.Rdev)), unix.Minor(uint64(st.Rdev)), st.Size, name)
	}
	return nil
}

func printResult(s string, err error) error {
	if err == nil {
		fmt.Println(s)
	}
	return err
}
