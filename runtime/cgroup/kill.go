package cgroup

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/opencontainers/cgroups"
	v1 "github.com/opencontainers/cgroups/fs"
	"github.com/opencontainers/cgroups/fs2"
	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/runtime/internal/flat"
)

// How long Kill and Remove wait for processes to end. A process in an
// uninterruptible sleep may take longer; then the caller learns it and tries
// again later.
const (
	killPatience   = 5 * time.Second
	removePatience = 2 * time.Second
)

// OOMEventsPath returns the file whose line "oom_kill N" counts the processes
// that the OOM killer took from the group. On v1 the count leaves out groups
// below; on v2 it has them.
func (g *Group) OOMEventsPath() string {
	if g.host.mode == V2 {
		return g.v2 + "/memory.events"
	}
	if dir := g.v1Dir("memory"); dir != "" {
		return dir + "/memory.oom_control"
	}
	return ""
}

// OOMKills reads that count.
func (g *Group) OOMKills() (uint64, error) {
	dir, file := g.v1Dir("memory"), "memory.oom_control"
	if g.host.mode == V2 {
		dir, file = g.v2, "memory.events"
	}
	var kills uint64
	err := withFile(dir, file, func(b []byte) {
		flat.Fields(b, func(key string, v uint64) {
			if key == "oom_kill" {
				kills = v
			}
		})
	})
	if err != nil {
		return 0, fmt.Errorf("cgroup %s: read OOM kills: %w", g.path, err)
	}
	return kills, nil
}

// Kill sends SIGKILL to every process of the group and of the groups below it.
// With cgroup.kill (Linux 5.14; a hybrid host's v2 group has it too) none can
// escape by forking; without, the group is frozen and killed until it is empty.
// Processes may still be ending when it returns. A group that is not there has
// no processes.
func (g *Group) Kill() error {
	if err := g.check("kill"); err != nil {
		return err
	}
	if g.v2 == "" {
		return g.killEach()
	}
	err := writeFile(g.v2, "cgroup.kill", "1")
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("cgroup %s: kill: %w", g.path, err)
	}
	if err == nil && !g.strays() {
		return nil
	}
	return g.killEach()
}

// strays says whether a hybrid host's v1 groups hold a process that the v2
// group does not, which cgroup.kill has therefore missed.
func (g *Group) strays() bool {
	pids, err := g.Pids()
	if err != nil || g.host.mode == V2 {
		return false
	}
	for _, pid := range pids {
		table, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
		if err == nil && member(table, "", g.path) && !member(table, "0::", g.path) {
			return true
		}
	}
	return false
}

// killEach kills what is in the group's process lists: everything where there
// is no cgroup.kill, and otherwise what sits in a v1 hierarchy only.
func (g *Group) killEach() error {
	deadline := time.Now().Add(killPatience)
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		late := time.Now().After(deadline)
		pids, err := g.Pids()
		if err != nil || len(pids) == 0 {
			return err
		}
		if late {
			return fmt.Errorf("cgroup %s: kill: %d processes are still there, first %d", g.path, len(pids), pids[0])
		}
		// Frozen, they cannot fork between the reading of the list and the signals.
		// Without a freezer the loop gains on anything but a fork bomb.
		frozen := g.Freeze(true) == nil
		if pids, err = g.Pids(); err == nil {
			for _, pid := range pids {
				g.killOne(pid)
			}
		}
		if frozen {
			_ = g.Freeze(false)
		}
		time.Sleep(pause)
	}
}

// killOne kills a process of the list, unless its number belongs to another
// one by now: the descriptor is taken first and the membership checked through
// the still valid number after.
func (g *Group) killOne(pid int) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	table, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil || !member(table, "", g.path) {
		return
	}
	_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
}

// member says whether a /proc/PID/cgroup table has a line, beginning with
// prefix, for the group or one below it.
func member(table []byte, prefix, group string) bool {
	for line := range bytes.Lines(table) {
		line = bytes.TrimSuffix(line, []byte("\n"))
		parts := bytes.SplitN(line, []byte(":"), 3)
		if len(parts) != 3 || !bytes.HasPrefix(line, []byte(prefix)) {
			continue
		}
		if string(parts[2]) == group || bytes.HasPrefix(parts[2], []byte(group+"/")) {
			return true
		}
	}
	return false
}

// Freeze stops or continues every process of the group and of those below.
// When it returns without an error, all of them have stopped.
func (g *Group) Freeze(frozen bool) error {
	if err := g.check("freeze"); err != nil {
		return err
	}
	state := cgroups.Thawed
	if frozen {
		state = cgroups.Frozen
	}
	var err error
	switch dir := g.v1Dir("freezer"); {
	case g.v2 != "" && unix.Access(g.v2+"/cgroup.freeze", unix.F_OK) == nil: // Linux 5.2
		var m *fs2.Manager
		if m, err = fs2.NewManager(&cgroups.Cgroup{Resources: &cgroups.Resources{}}, g.v2); err == nil {
			err = m.Freeze(state)
		}
	case dir != "":
		err = (&v1.FreezerGroup{}).Set(dir, &cgroups.Resources{Freezer: state})
	default:
		err = ErrNoController
	}
	if err != nil {
		return fmt.Errorf("cgroup %s: set %s: %w", g.path, state, err)
	}
	return nil
}

// Pids returns the processes of the group and of the groups below it, in any
// hierarchy, sorted.
func (g *Group) Pids() ([]int, error) {
	if err := g.check("list processes"); err != nil {
		return nil, err
	}
	var pids []int
	for _, dir := range g.listed() {
		err := tree(dir, func(dir string) error {
			err := withFile(dir, "cgroup.procs", func(b []byte) {
				for line := range bytes.Lines(b) {
					if n := flat.Number(line); n > 0 {
						pids = append(pids, int(n))
					}
				}
			})
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) {
				return nil
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("cgroup %s: list processes: %w", g.path, err)
		}
	}
	slices.Sort(pids)
	return slices.Compact(pids), nil
}

// listed are the hierarchies that are asked for processes: v2 and one of v1,
// the freezer's if there is one, since that is where they are stopped.
func (g *Group) listed() []string {
	var dirs []string
	if g.v2 != "" {
		dirs = append(dirs, g.v2)
	}
	for _, c := range []string{"freezer", "devices", "memory", "pids", "cpu"} {
		if dir := g.v1Dir(c); dir != "" {
			return append(dirs, dir)
		}
	}
	return dirs
}

// tree calls f for the groups below dir, deepest first, and then for dir. A
// group that is not there has none below.
func tree(dir string, f func(string) error) error {
	// A cgroup directory has two links and one more for each group below, so that
	// its two score of files need not be listed to learn that there is none.
	var st unix.Stat_t
	if unix.Stat(dir, &st) == nil && st.Nlink == 2 {
		return f(dir)
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := tree(dir+"/"+e.Name(), f); err != nil {
				return err
			}
		}
	}
	return f(dir)
}
