package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// rootCase makes this test program be in a root of some kind and check it.
const rootCase = "VARVED_TEST_ROOT"

func TestMain(m *testing.M) {
	kind := os.Getenv(rootCase)
	if kind == "" {
		os.Exit(m.Run())
	}
	err := changeRoot(kind, os.Args[1])
	if err == nil {
		err = checkRoot()
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// changeRoot runs in a mount namespace of its own that nothing gets out of.
func changeRoot(kind, dir string) error {
	if kind == "chroot to a directory" {
		proc := dir + "/proc"
		if err := errors.Join(os.Mkdir(proc, 0o755), unix.Mount("/proc", proc, "", unix.MS_BIND|unix.MS_REC, "")); err != nil {
			return err
		}
		return unix.Chroot(dir)
	}
	// The whole tree once more, at dir.
	if err := unix.Mount("/", dir, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	switch kind {
	case "chroot to a mount":
		return unix.Chroot(dir)
	case "pivot_root":
		if err := unix.Chdir(dir); err != nil {
			return err
		}
		if err := unix.PivotRoot(".", "."); err != nil {
			return fmt.Errorf("pivot_root: %w", err)
		}
		return unix.Unmount(".", unix.MNT_DETACH)
	}
	return nil
}

func TestRoot(t *testing.T) {
	for kind, refused := range map[string]bool{
		"as it is": false, "pivot_root": false, "chroot to a mount": true, "chroot to a directory": true,
	} {
		t.Run(kind, func(t *testing.T) {
			cmd := exec.Command("/proc/self/exe", t.TempDir())
			cmd.Env = append(os.Environ(), rootCase+"="+kind)
			cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
			out, err := cmd.CombinedOutput()
			if said := strings.Contains(string(out), errChroot.Error()); said != refused || err != nil && !said {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}
