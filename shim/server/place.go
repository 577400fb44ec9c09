package server

import (
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/shim/internal/group"
)

// place is where execs go: the container's cgroups, opened with the first exec
// and kept, because execs that recur are probes, and what each of them opened
// by path it would leave as garbage.
type place struct {
	opened bool
	dir    int   // the group in which each exec gets one of its own; noFile is none
	tasks  []int // of each v1 group
	own    int   // the index in tasks for which the exec's own stands in; -1 is none
}

// open opens the groups.
func (p *place) open(s *server) error {
	if p.opened {
		return nil
	}
	p.dir, p.own = noFile, -1
	parent := s.groupDir()
	if parent != "" {
		var err error
		if p.dir, err = unix.Open(parent, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
			return step("open cgroup", parent, err)
		}
	}
	if s.cgroup.V2 == "" {
		p.own = slices.Index(s.cgroup.V1, parent)
	}
	for _, dir := range s.cgroup.V1 {
		fd, err := group.Tasks(dir)
		if err != nil {
			p.close()
			return step("open cgroup", dir, err)
		}
		p.tasks = append(p.tasks, fd)
	}
	p.opened = true
	return nil
}

func (p *place) close() {
	closeFile(&p.dir)
	for _, fd := range p.tasks {
		_ = unix.Close(fd)
	}
	p.tasks = p.tasks[:0]
}

// enter makes the exec's own cgroup, so that all that it starts can be killed,
// in the v2 hierarchy if the container is in one, else in one of v1; and tells
// the joiner.
func (e *exec) enter(p *place, j *joiner) error {
	j.ask.CgroupV1, j.ask.Tasks, j.ask.Cgroup = e.s.cgroup.V1, p.tasks, noFile
	if p.dir == noFile {
		return nil
	}
	if err := group.MakeAt(p.dir, e.groupName()); err != nil {
		return err
	}
	e.grouped = true
	var err error
	if p.own < 0 {
		j.own, err = group.OpenAt(p.dir, e.groupName(), unix.O_PATH|unix.O_DIRECTORY)
		j.ask.Cgroup = j.own
		return err
	}
	j.own, err = group.OpenAt(p.dir, e.tasksName(), unix.O_WRONLY)
	j.tasks = append(j.tasks[:0], p.tasks...)
	j.tasks[p.own] = j.own
	j.ask.Tasks = j.tasks
	return err
}

// removed removes the exec's own cgroup and reports whether it is gone.
func (e *exec) removed() bool {
	return !e.grouped || group.RemoveAt(e.s.place.dir, e.groupName()) == nil
}

// groupDir is the path of the exec's own cgroup; empty when it has none.
func (e *exec) groupDir() string {
	if !e.grouped {
		return ""
	}
	return e.s.groupDir() + "/" + execPrefix + e.id()
}

// execPrefix begins the names of the cgroups of execs.
const execPrefix = "exec-"

// name keeps an exec's id and what is named after it, for C.
type name struct {
	text [len(execPrefix) + maxID + len("/tasks") + 1]byte
	n    int // of the id
}

func (m *name) set(id []byte) {
	*m = name{n: len(id)}
	copy(m.text[copy(m.text[:], execPrefix):], id)
}

func (m *name) bytes() []byte { return m.text[len(execPrefix) : len(execPrefix)+m.n] }

func (m *name) id() string { return string(m.bytes()) }

// groupName and tasksName end in a zero byte, and are good until the next
// call.
func (m *name) groupName() []byte {
	clear(m.text[len(execPrefix)+m.n:])
	return m.text[:len(execPrefix)+m.n+1]
}

func (m *name) tasksName() []byte {
	end := len(execPrefix) + m.n
	return m.text[:end+copy(m.text[end:], "/tasks\x00")]
}

// v1Group picks the hierarchy of v1 in which execs have groups of their own:
// one that neither accounts nor limits what a child group would take away.
func v1Group(dirs []string) string {
	for _, name := range []string{"/freezer/", "/pids/"} {
		for _, dir := range dirs {
			if strings.Contains(dir, name) {
				return dir
			}
		}
	}
	if len(dirs) > 0 {
		return dirs[0]
	}
	return ""
}
