package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/e2e/audit"
	"github.com/varve-cri/varve/e2e/criclient"
)

// LeakError is what was left when a node's pods and daemon were gone.
type LeakError []string

func (e LeakError) Error() string { return "leaked:\n  " + strings.Join(e, "\n  ") }

// Down removes every pod, ends the daemon and its shims, looks for what they
// left, and removes all that belongs to the node in any case. The daemon should
// run, for only it can take pods down.
func (n *Node) Down() error {
	drained := n.drain()
	var children []int
	if pid := n.PID(); pid != 0 {
		children = audit.Children(pid)
	}
	stopped := n.stop()
	left := n.settle(children)
	removed := n.remove()
	if len(left) > 0 {
		drained = errors.Join(drained, LeakError(left))
	}
	return errors.Join(drained, stopped, removed)
}

func (n *Node) drain() error {
	if n.PID() == 0 {
		return nil // its pods, if it has any, will be found as leaks
	}
	client, err := criclient.Dial(n.Socket())
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), Patience(3*time.Minute))
	defer cancel()
	return client.Drain(ctx)
}

// settle waits until nothing of the node is left, and returns what is when that
// takes too long. Files are not part of it; they go with the directory. children are
// the daemon's, which end by themselves when it is gone.
func (n *Node) settle(children []int) []string {
	var left []string
	for end := time.Now().Add(Patience(time.Minute)); ; time.Sleep(20 * time.Millisecond) {
		late := time.Now().After(end)
		left = n.Take()
		for _, pid := range children {
			if !gone(pid) && !slices.ContainsFunc(left, func(s string) bool { return strings.HasPrefix(s, fmt.Sprintf("process %d ", pid)) }) {
				left = append(left, fmt.Sprintf("process %d (child of varved)", pid))
			}
		}
		if len(left) == 0 || late {
			return left
		}
	}
}

// remove takes away all that the node has, leaked or not.
func (n *Node) remove() error {
	for _, p := range n.Processes() {
		unix.Kill(p.PID, unix.SIGKILL) //nolint:errcheck // it may be gone
	}
	unmountBelow(n.Dir)
	for _, dir := range n.Dirs {
		unmountBelow(dir)
	}
	n.removeCgroups()
	errs := []error{n.removeNetwork()}
	for _, dir := range append(slices.Clone(n.Dirs), n.Dir) {
		errs = append(errs, os.RemoveAll(dir))
	}
	return errors.Join(errs...)
}

// unmountBelow detaches what is mounted below dir, the last mount first.
func unmountBelow(dir string) {
	body, _ := os.ReadFile("/proc/self/mountinfo")
	lines := strings.Split(string(body), "\n")
	slices.Reverse(lines)
	for _, line := range lines {
		fields := strings.Fields(line)
		if len(fields) > 4 && (fields[4] == dir || strings.HasPrefix(fields[4], dir+"/")) {
			unix.Unmount(fields[4], unix.MNT_DETACH) //nolint:errcheck // RemoveAll says what cannot be removed
		}
	}
}

// removeCgroups removes the node's parent and what is below it, deepest first.
// A group stays busy for a moment after its last process was killed.
func (n *Node) removeCgroups() {
	roots, _ := filepath.Glob("/sys/fs/cgroup/*/cgroup.procs")
	roots = append(roots, "/sys/fs/cgroup/cgroup.procs")
	for _, procs := range roots {
		top := filepath.Join(filepath.Dir(procs), n.CgroupParent)
		var groups []string
		filepath.WalkDir(top, func(path string, entry os.DirEntry, err error) error { //nolint:errcheck // what is gone is gone
			if err == nil && entry.IsDir() {
				groups = append(groups, path)
			}
			return nil
		})
		slices.Reverse(groups)
		for _, group := range groups {
			for range 100 {
				if err := os.Remove(group); !errors.Is(err, unix.EBUSY) {
					break
				}
				time.Sleep(10 * time.Millisecond)
			}
		}
	}
}

func (n *Node) removeNetwork() error {
	release, err := lock()
	if err != nil {
		return err
	}
	defer release()
	if err := errors.Join(n.removeBridge(), n.removeRules()); err != nil {
		return err
	}
	return sweepChains()
}
