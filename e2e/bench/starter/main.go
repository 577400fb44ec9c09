// Command starter is the benchmark of runtime/container alone: it carries out
// one compiled plan again and again, as a shim does, and prints two columns of
// microseconds: until Start returned (the program has been executed), and until the
// program has exited and was reaped. It is a program of its own because the
// cost of a fork grows with the memory of the process that forks.
//
//	starter DIR N    DIR holds lower/ and the file plan (plan.Encode)
//
// What a spare shim does before it has work (NewSpace) is before the clock;
// the overlay mount, which the daemon makes, is in it.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/runtime/container"
	"github.com/varve-cri/varve/runtime/plan"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "starter:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("usage: starter DIR N")
	}
	dir := args[0]
	rounds, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	encoded, err := os.ReadFile(filepath.Join(dir, "plan"))
	if err != nil {
		return err
	}
	p, err := plan.Decode(encoded)
	if err != nil {
		return err
	}
	for i := range rounds {
		layer := filepath.Join(dir, fmt.Sprintf("%d.%d", os.Getpid(), i))
		if err := round(p, filepath.Join(dir, "lower"), layer); err != nil {
			return err
		}
	}
	return nil
}

// round starts one container on a fresh read-write layer.
func round(p *plan.Plan, lower, layer string) error {
	for _, sub := range []string{"upper", "work"} {
		if err := os.MkdirAll(filepath.Join(layer, sub), 0o755); err != nil {
			return err
		}
	}
	space, err := container.NewSpace()
	if err != nil {
		return err
	}
	defer space.Close()
	begin := time.Now()
	root, err := overlay(lower, layer)
	if err != nil {
		return fmt.Errorf("mount overlay: %w", err)
	}
	started, err := space.Start(p, root, container.Stdio{})
	root.Close()
	if err != nil {
		return err
	}
	executed := time.Since(begin)
	defer started.PIDFD.Close()
	var info unix.Siginfo
	if err := unix.Waitid(unix.P_PIDFD, int(started.PIDFD.Fd()), &info, unix.WEXITED, nil); err != nil {
		return fmt.Errorf("wait: %w", err)
	}
	fmt.Printf("%.1f %.1f\n", micro(executed), micro(time.Since(begin)))
	return nil
}

func micro(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// overlay is a detached overlay mount of the lower tree and the layer.
func overlay(lower, layer string) (*os.File, error) {
	fs, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fs)
	for _, option := range [][2]string{
		{"lowerdir", lower}, {"upperdir", filepath.Join(layer, "upper")}, {"workdir", filepath.Join(layer, "work")},
	} {
		if err := unix.FsconfigSetString(fs, option[0], option[1]); err != nil {
			return nil, fmt.Errorf("%s: %w", option[0], err)
		}
	}
	if err := unix.FsconfigSetFlag(fs, "volatile"); err != nil {
		return nil, err
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return nil, err
	}
	mount, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(mount), "overlay"), nil
}
