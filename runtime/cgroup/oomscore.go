package cgroup

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// oomPasses bounds how often the list of processes is read again for some that
// were forked with the old value in the meantime.
const oomPasses = 10

// SetOOMScoreAdj gives the processes of the group and of the groups below it
// that have the oom_score_adj was a new one, which those that they fork later
// inherit. Others have chosen theirs themselves, as databases do for their
// workers, and keep it. To lower it below
// the lowest value that a process has been given by CAP_SYS_RESOURCE's holder
// is that capability's right alone (proc_pid_oom_score_adj(5)).
func (g *Group) SetOOMScoreAdj(was, adj int) error {
	if was == adj {
		return nil
	}
	old, value := []byte(strconv.Itoa(was)), []byte(strconv.Itoa(adj))
	for range oomPasses {
		pids, err := g.Pids()
		if err != nil {
			return err
		}
		changed := false
		for _, pid := range pids {
			did, err := g.setOOMScoreAdj(pid, old, value)
			if err != nil {
				return fmt.Errorf("cgroup %s: set oom_score_adj of process %d to %s: %w", g.path, pid, value, err)
			}
			changed = changed || did
		}
		if !changed {
			return nil
		}
	}
	return nil // it forks faster than we read: those that are left inherit from those that were changed
}

// setOOMScoreAdj changes one process if it has the old value. Its directory in
// /proc stays that process's whatever becomes of the number.
func (g *Group) setOOMScoreAdj(pid int, old, value []byte) (changed bool, err error) {
	dir, err := openRetry("/proc/"+strconv.Itoa(pid), unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return false, ignoreGone(err)
	}
	defer unix.Close(dir)
	table, err := readAt(dir, "cgroup")
	if err != nil || !member(table, "", g.path) {
		return false, ignoreGone(err)
	}
	now, err := readAt(dir, "oom_score_adj")
	if err != nil || !bytes.Equal(bytes.TrimSpace(now), old) {
		return false, ignoreGone(err)
	}
	fd, err := unix.Openat(dir, "oom_score_adj", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false, ignoreGone(err)
	}
	defer unix.Close(fd)
	if _, err = unix.Write(fd, value); err != nil {
		return false, ignoreGone(err)
	}
	return true, nil
}

func readAt(dir int, name string) ([]byte, error) {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	buf := make([]byte, 4096) // a line of some 100 bytes for each hierarchy
	n, err := f.Read(buf)
	return buf[:n], err
}

// ignoreGone: a process that has ended needs nothing any more.
func ignoreGone(err error) error {
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH) {
		return nil
	}
	return err
}
